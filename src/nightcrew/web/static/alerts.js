// Alerts: acknowledge one, silence a rule, end a silence.
import "./page.js";
import { post } from "./server.js";

const place = document.getElementById("alert-result");

function say(where, kind, text) {
  if (!where) return;
  where.className = `result ${kind}`;
  where.textContent = text;
}

async function act(path, body, where, done) {
  try {
    await post(path, body);
    say(where, "good", done);
    setTimeout(() => location.reload(), 900);
  } catch (error) {
    say(where, "bad", [error.message, error.hint].filter(Boolean).join(". "));
  }
}

function enable() {
  for (const button of document.querySelectorAll("[data-ack]:disabled, [data-unsilence]:disabled, .silence button:disabled")) {
    button.disabled = false;
  }
}

document.addEventListener("click", (event) => {
  const { ack, unsilence } = event.target.closest?.("button")?.dataset ?? {};
  const comment = document.getElementById("ack")?.elements.comment.value ?? "";
  if (ack) act("/api/alerts/ack", { alerts: [ack], comment }, place, `${ack} is acknowledged.`);
  if (unsilence) act("/api/alerts/unsilence", { silence: unsilence }, place, `${unsilence} has ended.`);
});
document.addEventListener("submit", (event) => {
  const form = event.target.closest(".silence");
  event.preventDefault();
  if (!form) return;
  const { rule, subject, minutes, comment } = form.elements;
  const wanted = { rule: rule.value, subject: subject.value, minutes: Number(minutes.value), comment: comment.value };
  act("/api/alerts/silence", wanted, form.querySelector(".result"), "Nobody is told for that long.");
});
// What a live update brings in begins disabled, as without JavaScript.
new MutationObserver(enable).observe(document.getElementById("main"), { childList: true, subtree: true });
enable();
