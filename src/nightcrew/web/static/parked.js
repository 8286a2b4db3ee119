// Quarantine: release or discard what is ticked, or the one record of this page.
import { post } from "./server.js";

const form = document.getElementById("parked");
const boxes = () => [...document.querySelectorAll("input[name=record]")];
const buttons = [...(form?.querySelectorAll("[data-act]") ?? [])];
const result = form?.querySelector(".result");
const chosen = () => (form.dataset.name ? [form.dataset.name] : boxes().filter((one) => one.checked).map((one) => one.value));
let busy = false;

function show() {
  const count = chosen().length;
  for (const button of buttons) {
    button.disabled = busy || count === 0;
    const label = button.dataset.act === "release" ? "Release" : "Discard";
    button.textContent = form.dataset.name || count === 0 ? label : `${label} ${count}`;
  }
}

function say(kind, text) {
  result.className = `result ${kind}`;
  result.textContent = text;
}

async function act(what) {
  if (busy || !chosen().length) return;
  busy = true;
  show();
  try {
    const done = await post(`/api/records/${what}`, { records: chosen(), reason: form.elements.reason.value });
    say("good", `${done.count} ${done.count === 1 ? "record" : "records"} ${what === "release" ? "released" : "discarded"}.`);
    setTimeout(() => location.reload(), 900);
  } catch (error) {
    busy = false;
    say("bad", [error.message, error.hint].filter(Boolean).join(". "));
    show();
  }
}

if (form) {
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of buttons) button.addEventListener("click", () => act(button.dataset.act));
  document.addEventListener("change", (event) => event.target.name === "record" && show());
  form.querySelector("[data-all]")?.addEventListener("click", () => {
    const all = boxes().every((one) => one.checked);
    for (const one of boxes()) one.checked = !all;
    show();
  });
  document.addEventListener("refreshed", show);
  show();
}
