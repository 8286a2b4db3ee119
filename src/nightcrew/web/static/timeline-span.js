// What the address says: whose timeline, from when to when, and the part that is looked under. It is the only state.
const UNITS = { h: 3600e3, d: 86400e3 };

const time = (text) => {
  if (!text) return null;
  const found = Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`);
  return Number.isNaN(found) ? null : found;
};
export const stamp = (milliseconds) => new Date(milliseconds).toISOString();

export function read() {
  const query = new URLSearchParams(location.search);
  const span = query.get("span") ?? "6h";
  const from = time(query.get("from"));
  const to = time(query.get("to"));
  const live = from === null && to === null;
  const end = to ?? Date.now();
  const start = from ?? end - Number.parseInt(span, 10) * (UNITS[span.at(-1)] ?? UNITS.h);
  const begin = time(query.get("under_from"));
  const close = time(query.get("under_to"));
  const marked = begin === null && close === null ? null : [begin ?? start, close ?? end];
  return { subject: query.get("subject") ?? "all", step: query.get("step") ?? "", live, start, end, marked };
}

// The address with some of it changed: a null takes it out. Another part is looked at from its first page.
export function address(changes) {
  const query = new URLSearchParams(location.search);
  query.delete("page");
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, typeof value === "number" ? stamp(value) : value);
  }
  const text = query.toString().replaceAll("%3A", ":");
  return text ? `/timeline?${text}` : "/timeline";
}

export const mark = (marked) => address({ under_from: marked ? marked[0] : null, under_to: marked ? marked[1] : null });

// Moves or widens the marked part within what is seen; by a quarter of itself, at least a hundredth of what is seen.
export function moved({ start, end, marked }, by, onlyEnd) {
  const width = end - start;
  const [from, to] = marked ?? [end - width / 10, end];
  if (!marked) return [from, to];
  const step = by * Math.max((to - from) / 4, width / 100);
  if (onlyEnd) return [from, Math.min(end, Math.max(from + width / 300, to + step))];
  const shift = Math.min(end - to, Math.max(start - from, step));
  return [from + shift, to + shift];
}

// What is seen after zooming about the marked part, or about the middle.
export function zoomed({ start, end, marked }, factor) {
  const width = Math.min(3650 * UNITS.d, Math.max(120e3, (end - start) * factor));
  const middle = marked ? (marked[0] + marked[1]) / 2 : (start + end) / 2;
  return { from: middle - width / 2, to: middle + width / 2 };
}
