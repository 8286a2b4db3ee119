// One review or record: choose, write why, sign. Nothing is decided without the touch of a passkey.
import { banner, whenChanged } from "./live.js";
import { shortcuts } from "./page.js";
import { available, sign } from "./passkey.js";
import { get, post } from "./server.js";

const { review, stamp, before, after } = document.body.dataset;
const form = document.getElementById("decide-form");
const button = form?.querySelector(".sign");
const result = form?.querySelector(".result");
const LABELS = { approve: "Approve", reject: "Reject", escalate: "Escalate", ask: "Ask" };
let busy = false;

const chosen = () => form.elements.decision?.value ?? "";
const ticked = () => [...document.querySelectorAll("input[name=also]:checked")];

function show() {
  const decision = chosen();
  const others = ticked().length;
  for (const field of form.querySelectorAll("[data-only]")) field.hidden = field.dataset.only !== decision;
  const hint = form.querySelector("[data-comment-hint]");
  hint.textContent = decision === "ask" ? "your question; the agent answers it" : hint.dataset.commentHint;
  form.elements.comment.required = decision === "ask";
  if (!button) return;
  button.classList.remove("approve", "reject");
  if (["approve", "reject"].includes(decision)) button.classList.add(decision);
  const option = form.elements.reviewer.selectedOptions[0];
  const may = option?.dataset.may !== "no" || !["approve", "reject"].includes(decision);
  const alone = others === 0 || ["approve", "reject"].includes(decision);
  button.disabled = busy || !decision || !may || !alone || !available();
  if (!available()) button.textContent = "This browser has no passkeys here";
  else if (!decision) button.textContent = "Choose first";
  else if (!may) button.textContent = `${option.value} may not decide this`;
  else if (!alone) button.textContent = "Several: approve or reject only";
  else button.textContent = `${LABELS[decision]}${others ? ` all ${others + 1}` : ""} with passkey`;
}

function choose(decision) {
  const radio = form?.querySelector(`input[value=${decision}]`);
  if (!radio) return;
  radio.checked = true;
  show();
  document.getElementById("decide").scrollIntoView({ block: "nearest" });
  (decision === "ask" ? form.elements.comment : button ?? radio).focus({ preventScroll: false });
}

function say(kind, text, more = "") {
  result.className = `result ${kind}`;
  result.replaceChildren(document.createTextNode(text));
  if (more) {
    const small = document.createElement("small");
    small.textContent = more;
    result.append(small);
  }
}

async function decide(event) {
  event.preventDefault();
  if (busy || !button || button.disabled) return;
  busy = true;
  const decision = chosen();
  const { kind, id, digest } = form.dataset;
  const wanted = {
    decision,
    reviewer: form.elements.reviewer.value,
    comment: form.elements.comment.value,
    escalate_to: (decision === "escalate" && form.elements.escalate_to?.value) || null,
  };
  if (kind === "record") wanted.records = [{ name: id, digest }];
  else wanted.reviews = [{ id, digest }, ...ticked().map((one) => ({ id: one.value, digest: one.dataset.digest }))];
  try {
    say("", "Writing the decision down...");
    show();
    const { payload, publicKey } = await post("/api/decisions/prepare", wanted);
    say("", "Touch your passkey.");
    const credential = await sign(publicKey);
    say("", "Checking the signature...");
    const records = (wanted.records ?? []).map((one) => one.name);
    const done = await post("/api/decisions", { payload, credential, records });
    sessionStorage.removeItem(draft);
    localStorage.setItem(ME, wanted.reviewer);
    finished(decision, done);
  } catch (error) {
    busy = false;
    say("bad", sentence(error.message), error.hint);
    if (error.status === 409) banner("What you looked at has changed.", "Load it again", () => location.reload());
    show();
  }
}

function finished(decision, done) {
  const said = { approve: "Approved.", reject: "Rejected.", escalate: "Handed on.", ask: "Asked." }[decision];
  const state = done.reviews[0]?.state;
  const waits = decision === "approve" && state === "escalated" ? " It waits for another person's approval." : "";
  say("good", said + waits, after ? "The next review opens in a moment." : "");
  const next = ticked().length ? "/inbox" : (after ?? "/inbox");
  setTimeout(() => location.assign(decision === "ask" ? location.pathname : next), 1400);
}

const ME = "nightcrew-reviewer";
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
const draft = `draft:${location.pathname}`;

if (form) {
  form.elements.comment.value ||= sessionStorage.getItem(draft) ?? "";
  form.elements.comment.addEventListener("input", () => sessionStorage.setItem(draft, form.elements.comment.value));
  const own = [...(form.elements.reviewer?.options ?? [])].find((one) => one.value === localStorage.getItem(ME));
  if (own) own.selected = true;
  form.addEventListener("change", show);
  for (const box of document.querySelectorAll("input[name=also]")) box.addEventListener("change", show);
  form.addEventListener("submit", decide);
  for (const link of document.querySelectorAll("[data-choose]")) {
    link.addEventListener("click", () => choose(link.dataset.choose));
  }
  const all = document.querySelector("[data-all]");
  if (all) {
    all.hidden = false;
    all.addEventListener("click", () => {
      for (const box of document.querySelectorAll("input[name=also]")) box.checked = true;
      show();
    });
  }
  show();
  shortcuts({
    a: () => choose("approve"),
    r: () => choose("reject"),
    e: () => choose("escalate"),
    q: () => choose("ask"),
    c: () => form.elements.comment.focus(),
  });
}
shortcuts({
  j: () => after && location.assign(after),
  k: () => before && location.assign(before),
});

if (review) {
  whenChanged(async () => {
    if (busy) return;
    try {
      const now = await get(`/api/reviews/${review}`);
      if (now.stamp !== stamp) banner("This review has changed.", "Load it again", () => location.reload());
    } catch {
      // The stream comes back by itself, and says it again.
    }
  });
}
