// Live updates: one stream of events while the page is looked at; browsers allow few connections to one server.
export function whenChanged(act) {
  let source = null;
  let seen = null;

  function open() {
    if (source || document.hidden) return;
    source = new EventSource("/api/events");
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) banner("Live updates have ended. Reload; if that asks for a link, take a fresh one from the terminal.", "Reload", () => location.reload());
    });
    source.addEventListener("changed", (event) => {
      const { version } = JSON.parse(event.data);
      const first = seen === null;
      if (version !== seen) {
        seen = version;
        if (!first) act();
      }
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

export function banner(text, label, act) {
  const place = document.getElementById("changed");
  place.replaceChildren(document.createTextNode(text));
  if (label) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", act);
    place.append(button);
  }
  place.hidden = false;
}

// What a reader sees apart from times, which the page itself puts into other words.
function seen(place) {
  const copy = place.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.replaceChildren();
  for (const time of copy.querySelectorAll("time[title]")) time.removeAttribute("title");
  for (const part of copy.querySelectorAll("details[open]")) part.removeAttribute("open");
  return copy.innerHTML;
}

// How a control or a foldable part is found again in the new page.
function key(element) {
  const own = element.id || element.getAttribute("href") || element.dataset?.ack || "";
  const said = element.tagName === "DETAILS" ? (element.querySelector("summary")?.textContent ?? "").trim() : "";
  return [element.tagName, own, element.name ?? "", element.type === "checkbox" ? element.value : "", said].join("|");
}

const KEPT = "details, input, textarea, select, a, button";

// What the reader has opened, ticked and typed, and where the focus is.
function held(place) {
  const state = new Map();
  for (const element of place.querySelectorAll(KEPT)) {
    if (element.tagName === "DETAILS") state.set(key(element), { open: element.open });
    else if (element.type === "checkbox") state.set(key(element), { checked: element.checked });
    else if ("defaultValue" in element && element.value !== element.defaultValue) state.set(key(element), { value: element.value });
  }
  return { state, focus: place.contains(document.activeElement) ? key(document.activeElement) : null };
}

function restore(place, { state, focus }) {
  for (const element of place.querySelectorAll(KEPT)) {
    Object.assign(element, state.get(key(element)) ?? {});
    if (focus !== null && key(element) === focus) element.focus({ preventScroll: true });
  }
}

// Puts parts of the page as it is now on the server into the page, where they differ. What is opened, ticked and typed stays.
export async function refresh(names) {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const name of names) {
    const now = document.querySelector(`[data-live="${name}"]`);
    const then = fresh.querySelector(`[data-live="${name}"]`);
    if (!now || !then || seen(now) === seen(then)) continue;
    const before = held(now);
    now.replaceChildren(...then.childNodes);
    restore(now, before);
  }
  document.dispatchEvent(new CustomEvent("refreshed"));
  const count = document.querySelector("[data-waiting]");
  const other = fresh.querySelector("[data-waiting]");
  if (count && other) {
    count.hidden = other.hidden;
    count.replaceChildren(...other.childNodes);
  }
  document.title = fresh.title;
}
