// Registering a passkey, and admitting one that waits.
import { refresh, whenChanged } from "./live.js";
import "./page.js";
import { available, make, sign } from "./passkey.js";
import { post } from "./server.js";

function say(form, kind, text, more = "") {
  const result = form.querySelector(".result");
  result.className = `result ${kind}`;
  result.replaceChildren(document.createTextNode(text));
  if (more) {
    const small = document.createElement("small");
    small.textContent = more;
    result.append(small);
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

async function signed(form, { payload, publicKey }, ask) {
  say(form, "", ask);
  const credential = await sign(publicKey);
  say(form, "", "Checking the signature...");
  return post("/api/enrolments", { payload, credential });
}

async function register(form) {
  const reviewer = form.elements.reviewer.value.trim();
  const { standing, publicKey } = await post("/api/passkeys/options", { reviewer });
  say(form, "", "Make the passkey: your browser asks for a touch.");
  const credential = await make(publicKey);
  const made = await post("/api/passkeys", { reviewer, credential });
  localStorage.setItem("nightcrew-reviewer", reviewer);
  if (made.state === "waits") {
    say(form, "good", `Registered. Key ${made.key_id.slice(0, 16)} waits for the signature of an enrolled reviewer.`, `On this page, or in a terminal: nightcrew reviewer admit ${reviewer}`);
    return fresh();
  }
  const ask = standing === "first" ? "Once more: the new passkey signs its own enrolment." : "Now sign with a passkey that you have already.";
  await signed(form, made.to_sign, ask);
  say(form, "good", `${reviewer} may decide now.`);
  if (standing === "first") setTimeout(() => location.reload(), 1200);
  else await fresh();
}

async function admit(form) {
  const to_sign = await post("/api/enrolments/prepare", { key_id: form.dataset.key, by: form.elements.by.value });
  await signed(form, to_sign, "Touch your passkey to admit this key.");
  await fresh();
}

async function fresh() {
  await refresh(["keys"]);
  ready();
}

async function run(form, act) {
  const button = form.querySelector(".sign");
  button.disabled = true;
  try {
    await act(form);
  } catch (error) {
    say(form, "bad", sentence(error.message), error.hint);
  } finally {
    button.disabled = false;
  }
}

function ready() {
  for (const button of document.querySelectorAll("form .sign")) button.disabled = !available();
}

document.addEventListener("submit", (event) => {
  const act = event.target.id === "register" ? register : event.target.matches(".admit") ? admit : null;
  if (!act) return;
  event.preventDefault();
  run(event.target, act);
});
ready();
if (!available()) {
  const form = document.getElementById("register");
  say(form, "bad", "This browser has no passkeys at this address.", "Open the page at http://localhost or over https.");
}
whenChanged(async () => {
  if (document.activeElement?.closest(".admit")) return;
  await fresh();
});
