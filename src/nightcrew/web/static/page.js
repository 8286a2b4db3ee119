// What every page has: the proof of the session, the help, times in the reader's own words, and moving by keys.
import "./proof.js";

const help = document.getElementById("help");
const button = document.querySelector("[data-help]");
if (help && button) {
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());
}

const typing = (target) => target.closest?.("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");
const go = (path) => () => location.assign(path);
const acts = {
  "?": () => help?.showModal(),
  u: go(document.querySelector(".crumbs a")?.getAttribute("href") ?? "/"),
  h: go("/"),
  i: go("/inbox"),
  t: go("/tickets"),
  s: go("/sessions"),
  p: go("/pipelines"),
  m: go("/timeline"),
  l: go("/ledger"),
};

// The menu closes when something else is meant.
const menu = document.querySelector("details.menu");
document.addEventListener("click", (event) => menu?.open && !menu.contains(event.target) && (menu.open = false));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// Adds shortcuts. None acts while somebody types, in a dialog, or with a modifier: those are the browser's.
export function shortcuts(more) {
  Object.assign(acts, more);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
  if (document.querySelector("dialog[open]") || !Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
});

const FORMAT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const UNITS = [["day", 86400, 2], ["hour", 3600, 2], ["minute", 60, 1]];

function words(seconds) {
  for (const [unit, size, least] of UNITS) {
    const count = Math.floor(Math.abs(seconds) / size);
    if (count >= least) {
      const said = `${count} ${unit}${count === 1 ? "" : "s"}`;
      return seconds > 0 ? `in ${said}` : `${said} ago`;
    }
  }
  return "now";
}

function times() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    const at = new Date(time.dateTime);
    time.textContent = words((at - Date.now()) / 1000);
    time.title = FORMAT.format(at);
  }
}
times();
setInterval(times, 30_000);
