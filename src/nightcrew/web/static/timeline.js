// The timeline's page: draws the chart, and keeps address, chart and lists in step, whoever changed one of them.
import { refresh, whenChanged } from "./live.js";
import { get } from "./server.js";
import { GLYPHS, figure, numbered } from "./timeline-chart.js";
import { address, mark, moved, read, stamp, zoomed } from "./timeline-span.js";

const chart = document.getElementById("chart");
const problem = document.getElementById("chart-problem");
const phone = matchMedia("(max-width: 47.99rem)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)");
const SOON = 350;
const EVERY = 15_000;
let plotly = null;
let data = null;
let dragging = !coarse.matches;
let pressed = false;
let asked = 0;

function tell(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

// Plotly as it is installed. What it brings for maps adds a style element to the page, which the page's policy forbids
// and no chart here needs: it is given an element that does nothing.
async function load() {
  if (!chart.dataset.plotly) throw new Error("plotly is not installed with nightcrew");
  const create = document.createElement.bind(document);
  document.createElement = (name, ...more) => create(name === "style" ? "template" : name, ...more);
  const script = create("script");
  script.src = chart.dataset.plotly;
  try {
    await new Promise((resolve, reject) => {
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error("the chart's library could not be loaded")));
      document.head.append(script);
    });
  } finally {
    delete document.createElement;
  }
  return window.Plotly;
}

async function fetched(state) {
  const query = new URLSearchParams({ subject: state.subject, from: stamp(state.start), to: stamp(state.end) });
  if (state.step) query.set("step", state.step);
  return get(`/api/timeline?${query}`);
}

async function draw({ again = true } = {}) {
  const mine = ++asked;
  const state = read();
  try {
    const found = again || !data ? await fetched(state) : data;
    if (mine !== asked || pressed) return;
    data = found;
    const { traces, layout, lanes, rows } = figure(data, state.marked, { phone: phone.matches, drag: dragging });
    await plotly.react(chart, traces, layout, { displayModeBar: false, responsive: true, doubleClick: false, showTips: false, scrollZoom: false });
    name(lanes);
    chart.dataset.drawn = String(Number(chart.dataset.drawn ?? 0) + 1);
    tell(lanes.length || rows.length ? "" : "Nothing was measured, and nothing happened, in this time.");
  } catch (error) {
    tell(`${error.message}${error.hint ? `: ${error.hint}` : ""}`);
  }
}

// On a phone there is no room for names in the chart: they stand below it.
function name(lanes) {
  const made = (tag, text, look) => {
    const element = document.createElement(tag);
    if (look) element.className = look;
    element.append(text);
    return element;
  };
  document.getElementById("names").replaceChildren(
    ...lanes.flatMap((lane) => [
      made("dt", lane.title),
      ...lane.lines.map((line, place) => {
        const entry = made("dd", made("span", line.name.replaceAll("_", " ")), `line-${numbered(lane, line, place) + 1}`);
        if (!lane.stacked) entry.dataset.mark = GLYPHS[place % GLYPHS.length];
        return entry;
      }),
    ]),
  );
}

async function list() {
  await refresh(["under", "table", "span"]);
  const summary = document.querySelector("[data-summary]");
  document.getElementById("said").textContent = summary ? summary.textContent.trim() : "";
  document.querySelector('[data-do="live"]').hidden = read().live;
}

let waiting = 0;
function go(to, { push = true, again = false } = {}) {
  history[push ? "pushState" : "replaceState"](null, "", to);
  clearTimeout(waiting);
  waiting = setTimeout(list, push ? 0 : SOON);
  return draw({ again });
}

function wire() {
  chart.on("plotly_selected", (event) => {
    pressed = false;
    const range = event?.range?.x ?? Object.entries(event?.range ?? {}).find(([name]) => name.startsWith("x"))?.[1];
    if (!range) return;
    const [from, to] = range.map((text) => Date.parse(`${String(text).replace(" ", "T")}Z`)).sort((one, other) => one - other);
    if (to > from) go(mark([Math.floor(from), Math.ceil(to)]));
  });
  chart.addEventListener("pointerdown", () => (pressed = dragging));
  addEventListener("pointerup", () => setTimeout(() => (pressed = false), SOON));
  chart.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const state = read();
    const acts = {
      ArrowLeft: () => go(mark(moved(state, -1, event.shiftKey)), { push: false }),
      ArrowRight: () => go(mark(moved(state, 1, event.shiftKey)), { push: false }),
      "+": () => go(address(zoomed(state, 0.5)), { again: true }),
      "-": () => go(address(zoomed(state, 2)), { again: true }),
      Escape: () => go(mark(null)),
    };
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  });
  document.querySelector(".tools").addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    const state = read();
    const half = (state.end - state.start) / 2;
    const acts = {
      drag: () => {
        dragging = !dragging;
        button.setAttribute("aria-pressed", String(dragging));
        draw({ again: false });
      },
      in: () => go(address(zoomed(state, 0.5)), { again: true }),
      out: () => go(address(zoomed(state, 2)), { again: true }),
      back: () => go(address({ from: state.start - half, to: state.end - half }), { again: true }),
      on: () => go(address({ from: state.start + half, to: state.end + half }), { again: true }),
      live: () => go(address({ from: null, to: null }), { again: true }),
    };
    acts[button.dataset.do]();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-go]");
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(link.getAttribute("href"));
    if (link.hash) document.querySelector(link.hash)?.focus();
  });
  addEventListener("popstate", () => {
    list();
    draw();
  });
  for (const media of [dark, phone]) media.addEventListener("change", () => draw({ again: false }));
}

// While something is written: at most every two seconds; else the axis moves on by itself.
let last = 0;
function later() {
  const wait = Math.max(0, last + 2000 - Date.now());
  clearTimeout(later.timer);
  later.timer = setTimeout(() => {
    last = Date.now();
    if (document.hidden || pressed) return;
    draw();
    list();
  }, wait);
}

try {
  plotly = await load();
  chart.hidden = false;
  for (const tool of document.querySelectorAll("[data-tools]")) tool.hidden = false;
  document.querySelector('[data-do="drag"]').setAttribute("aria-pressed", String(dragging));
  await draw();
  wire();
  whenChanged(later);
  setInterval(() => read().live && !document.hidden && !pressed && draw(), EVERY);
} catch (error) {
  tell(`${error.message}. The table below has the numbers.`);
  document.querySelector(".astable")?.setAttribute("open", "");
}
