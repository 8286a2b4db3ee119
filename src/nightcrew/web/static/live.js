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

// Puts parts of the page as it is now on the server into the page, where they differ. What is typed stays.
export async function refresh(names) {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const name of names) {
    const now = document.querySelector(`[data-live="${name}"]`);
    const then = fresh.querySelector(`[data-live="${name}"]`);
    if (!now || !then || now.innerHTML === then.innerHTML) continue;
    const focused = now.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    now.replaceChildren(...then.childNodes);
    if (focused) [...now.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  }
  const count = document.querySelector("[data-waiting]");
  const other = fresh.querySelector("[data-waiting]");
  if (count && other) {
    count.hidden = other.hidden;
    count.replaceChildren(...other.childNodes);
  }
  document.title = fresh.title;
}
