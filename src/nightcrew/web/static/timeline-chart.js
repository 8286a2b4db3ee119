// The chart: what the server gives as one figure of Plotly, lanes over one axis, in the page's own colours.
const SHAPES = ["", "/", "x", "\\", ".", "-", "+", "|"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const MARKS = ["circle", "square", "diamond", "cross", "triangle-up", "x"];
const STATES = { accepted: 0, fallback: 2, in_review: 4, waiting_retry: 1, quarantined: 6 };
const RANKS = { p50: 0, p95: 1, p99: 6 };
const ROWS = [["alert", "alerts"], ["deployment", "deployed"], ["drift", "drift"], ["shift", "shifts"], ["session", "sessions"]];
const TRACKS = 3;
const CLASSES = [1, 6, 4, 3, 2, 7, 5, 0];
let drawn = 0;

export function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    lines: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => of(`--t-${number}`)),
    ink: of("--ink"), quiet: of("--quiet"), line: of("--line"), card: of("--card"), mark: of("--t-mark"), bad: of("--bad"), font: of("--sans"),
  };
}

// Times of the buckets' beginnings; Plotly takes text without an offset for what it is, and that is UTC here.
const plain = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 23).replace("T", " ");

export function figure(data, marked, { phone, drag }) {
  const look = colours();
  const lanes = data.lanes.filter((lane) => lane.lines.length);
  const rows = rowsOf(data);
  const begin = Date.parse(data.axis.start);
  const step = data.axis.step * 1000;
  const starts = Array.from({ length: data.axis.count }, (_, index) => begin + index * step);
  const sizes = place(lanes, rows, phone);
  const traces = [];
  const layout = {
    height: sizes.height,
    margin: { l: phone ? 54 : 72, r: phone ? 10 : 20, t: 6, b: 44 },
    paper_bgcolor: look.card, plot_bgcolor: look.card,
    font: { color: look.ink, family: look.font, size: 12 },
    barmode: "stack", bargap: 0.08, hovermode: "x unified", hoversubplots: phone ? "single" : "axis",
    hoverlabel: { bgcolor: look.card, bordercolor: look.quiet, font: { color: look.ink, size: 12 } },
    dragmode: drag ? "select" : false, selectdirection: "h",
    newselection: { line: { color: look.mark, width: 2, dash: "solid" } },
    selections: [], selectionrevision: ++drawn, // What was dragged over is marked by a shape over all lanes instead.
    showlegend: !phone, annotations: [], shapes: [],
    xaxis: {
      type: "date", range: [plain(Date.parse(data.start)), plain(Date.parse(data.end))], anchor: sizes.last,
      gridcolor: look.line, linecolor: look.quiet, tickcolor: look.quiet, ticks: "outside", fixedrange: true, nticks: phone ? 5 : 12,
      showspikes: true, spikemode: "across", spikesnap: "cursor", spikecolor: look.quiet, spikethickness: 1, spikedash: "solid",
      hoverformat: "%Y-%m-%d %H:%M:%S UTC",
    },
  };
  lanes.forEach((lane, index) => {
    const { domain } = sizes.lanes[index];
    const axis = index ? `y${index + 1}` : "y";
    layout[index ? `yaxis${index + 1}` : "yaxis"] = {
      domain, gridcolor: look.line, zerolinecolor: look.quiet, rangemode: "tozero", fixedrange: true, nticks: 4, tickfont: { size: 11 }, exponentformat: "SI",
    };
    layout.annotations.push(title(`${lane.title} (${lane.unit})`, domain[1] + sizes.title, look));
    layout[index ? `legend${index + 1}` : "legend"] = {
      orientation: "h", traceorder: "normal", x: 1, xanchor: "right", y: domain[1] + sizes.legend, yanchor: "bottom",
      bgcolor: "rgba(0,0,0,0)", font: { size: 11, color: look.ink }, itemclick: false, itemdoubleclick: false,
    };
    lane.lines.forEach((line, place) => traces.push(trace(lane, line, place, { axis, legend: index ? `legend${index + 1}` : "legend", starts, step, look })));
  });
  if (rows.length) happenings(data, rows, lanes.length, sizes, layout, traces, look, phone);
  span(layout, marked, look);
  return { traces, layout, lanes, rows };
}

// How the room is shared out, in parts of the height: above each lane is a line for its title and legend.
function place(lanes, rows, phone) {
  const [lane, gap] = phone ? [76, 28] : [92, 32];
  const events = rows.length ? 20 * rows.length + 14 : 0;
  const inner = lanes.length * (lane + gap) + (events ? events + gap : 0) || 200;
  const height = inner + 50;
  let top = 1;
  const placed = lanes.map(() => {
    top -= gap / inner;
    const domain = [Math.max(0, top - lane / inner), top];
    top = domain[0];
    return { domain };
  });
  const count = lanes.length + (events ? 1 : 0);
  return {
    height, lanes: placed, events: [0, Math.max(0.02, top - gap / inner)], last: count > 1 ? `y${count}` : "y",
    title: 6 / inner, legend: 1 / inner,
  };
}

function title(text, y, look) {
  return { text, x: 0, xref: "paper", xanchor: "left", y, yref: "paper", yanchor: "bottom", showarrow: false, font: { size: 12, color: look.ink, weight: 700 } };
}

function trace(lane, line, place, { axis, legend, starts, step, look }) {
  const name = line.name.replaceAll("_", " ");
  const number = numbered(lane, line, place);
  const colour = look.lines[number];
  const common = { name, xaxis: "x", yaxis: axis, legend, showlegend: true };
  const hover = lane.unit === "s" ? "%{y:.3~s}s" : `%{y:.3~g} ${lane.unit}`;
  const selection = { selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } }, selectedpoints: null };
  if (lane.stacked) {
    return {
      ...common, ...selection, type: "bar", x: starts.map((at) => plain(at + step / 2)), y: line.values, width: step * 0.94, hovertemplate: hover,
      marker: { color: colour, line: { width: 0 }, pattern: { shape: SHAPES[number], fillmode: "overlay", fgcolor: look.card, fgopacity: 0.75, size: 5, solidity: 0.35 } },
    };
  }
  return {
    ...common, ...selection, type: "scatter", mode: "lines+markers", x: starts.map((at) => plain(at + step / 2)), y: line.values, hovertemplate: hover,
    line: { color: colour, width: 2, dash: DASHES[place % DASHES.length] }, marker: { size: 5, color: colour, symbol: MARKS[place % MARKS.length] },
  };
}

export const GLYPHS = ["●", "■", "◆", "✚", "▲", "✖"]; // MARKS, as letters

// Which colour and mark a line has: the same for the same thing wherever it is.
export function numbered(lane, line, place) {
  const known = { throughput: STATES, seconds: RANKS }[lane.key]?.[line.name];
  return known ?? (lane.key === "errors" ? CLASSES : [0, 1, 2, 3, 4, 5, 6, 7])[place % 8];
}

// The rows of what happened: intervals of one kind that overlap lie in rows of their own, as long as there are few.
function rowsOf(data) {
  const first = Date.parse(data.start);
  const last = Date.parse(data.end);
  const now = Math.min(Date.parse(data.now), last);
  return ROWS.flatMap(([kind, label]) => {
    const tracks = [];
    for (const event of data.events.filter((one) => one.kind === kind)) {
      const at = Math.max(Date.parse(event.start), first);
      const end = Math.max(at, event.end ? Math.min(Date.parse(event.end), last) : now);
      let track = tracks.find((one) => one.end <= at);
      if (!track && tracks.length < TRACKS) tracks.push((track = { events: [], end: 0 }));
      track ??= tracks.at(-1);
      track.events.push({ ...event, at, until: end });
      track.end = end;
    }
    return tracks.map((track, number) => ({ kind, label: number ? "" : label, events: track.events }));
  });
}

// Alerts, deployments and the rest as marks in a lane of their own; the first two also across all lanes, with labels.
// Times that overlap as one: bands one over the other would drown the lines.
function together(events) {
  const merged = [];
  for (const { at, until } of [...events].sort((one, other) => one.at - other.at)) {
    const last = merged.at(-1);
    if (last && at <= last.until) last.until = Math.max(last.until, until);
    else merged.push({ at, until });
  }
  return merged;
}

function happenings(data, rows, index, sizes, layout, traces, look, phone) {
  const axis = index ? `y${index + 1}` : "y";
  layout[index ? `yaxis${index + 1}` : "yaxis"] = {
    domain: sizes.events, range: [-0.6, rows.length - 0.4], tickvals: rows.map((_, row) => rows.length - 1 - row), ticktext: rows.map((row) => row.label),
    showgrid: false, zeroline: false, fixedrange: true, tickfont: { size: 10 },
  };
  layout.annotations.push(title("What happened", sizes.events[1] + sizes.title, look));
  const first = Date.parse(data.start);
  const width = Date.parse(data.end) - first;
  const across = (event, shape) => layout.shapes.push({ xref: "x", yref: "paper", x0: plain(event.at), x1: plain(event.until), y0: 0, y1: 1, ...shape });
  const alerts = rows.filter(({ kind }) => kind === "alert").flatMap(({ events }) => events);
  for (const event of together(alerts)) {
    across(event, { type: "rect", fillcolor: look.lines[6], opacity: 0.1, line: { width: 0 }, layer: "below" });
  }
  rows.forEach(({ kind, label, events }, row) => {
    const y = rows.length - 1 - row;
    const colour = { alert: look.lines[6], deployment: look.lines[7], drift: look.lines[3] }[kind] ?? look.lines[5];
    const xs = [], ys = [], said = [];
    let room = 0;
    for (const event of events) {
      const text = `${event.label}: ${event.detail}`.slice(0, 70);
      for (const at of event.until > event.at ? [event.at, event.until, null] : [event.at, null]) {
        xs.push(at === null ? null : plain(at));
        ys.push(at === null ? null : y);
        said.push(text);
      }
      if (kind === "deployment") across(event, { type: "line", line: { color: colour, width: 1.5, dash: "dashdot" } });
      // A label stands where it fits: its letters are some seven pixels wide.
      const place = (event.at - first) / width;
      const long = (event.label.length * 7 + 16) / (phone ? 300 : Math.max(600, document.body.clientWidth - 180));
      if (place < room || place + long > 1.04) continue;
      room = place + long;
      layout.annotations.push({
        text: event.label.replaceAll("<", "‹"), x: plain(event.at), xref: "x", y, yref: axis, xanchor: "left", yanchor: "middle", xshift: 9, showarrow: false,
        font: { size: 11, color: look.ink }, bgcolor: look.card, borderpad: 1,
      });
    }
    traces.push({
      type: "scatter", mode: "lines+markers", name: label || kind, x: xs, y: ys, text: said, xaxis: "x", yaxis: axis, showlegend: false, connectgaps: false,
      hovertemplate: "%{text}", selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 1 } }, selectedpoints: null,
      line: { width: kind === "alert" ? 9 : 5, color: colour },
      marker: { size: 10, color: colour, symbol: { alert: "square", deployment: "triangle-up", drift: "x" }[kind] ?? "circle" },
    });
  });
}

// The marked part, over all lanes.
export function span(layout, marked, look = colours()) {
  layout.shapes = (layout.shapes ?? []).filter((shape) => shape.name !== "marked");
  if (!marked) return;
  layout.shapes.push({
    name: "marked", type: "rect", xref: "x", yref: "paper", x0: plain(marked[0]), x1: plain(marked[1]), y0: 0, y1: 1,
    fillcolor: look.mark, opacity: 0.16, line: { color: look.mark, width: 2 }, layer: "above",
  });
}
