// The list: refreshes itself, and moves by j and k.
import { refresh, whenChanged } from "./live.js";
import { shortcuts } from "./page.js";

const links = () => [...document.querySelectorAll("[data-item] h2 a")];

function step(by) {
  const all = links();
  const at = all.indexOf(document.activeElement);
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
  next?.focus();
}

shortcuts({
  j: () => step(1),
  k: () => step(-1),
  "/": () => document.querySelector("input[type=search]").focus(),
});
whenChanged(() => refresh(["list", "summary"]));
addEventListener("pageshow", (event) => event.persisted && refresh(["list", "summary"]));
