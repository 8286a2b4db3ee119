// A list: refreshes itself, and moves by j and k. Each item has one link that opens it.
import { refresh, whenChanged } from "./live.js";
import { shortcuts } from "./page.js";

const links = () =>
  [...document.querySelectorAll("[data-item]")].map((item) => item.querySelector("[data-open], h2 a, a")).filter(Boolean);
const parts = () => [...document.querySelectorAll("[data-live]")].map((part) => part.dataset.live);

function step(by) {
  const all = links();
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
  next?.focus();
}

shortcuts({
  j: () => step(1),
  k: () => step(-1),
  "/": () => document.querySelector("input[type=search]")?.focus(),
});
whenChanged(() => refresh(parts()));
addEventListener("pageshow", (event) => event.persisted && refresh(parts()));
