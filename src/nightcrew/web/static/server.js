// Asking the server: JSON in, JSON out, errors with what to do.
import { proof } from "./proof.js";

export class Refused extends Error {
  constructor(error, status) {
    super(error.message);
    this.hint = error.hint ?? "";
    this.code = error.code ?? "";
    this.status = status;
  }
}

export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": proof() },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Refused({ message: "the server does not answer", hint: "Does nightcrew serve still run?" }, 0);
  }
  return read(answer);
}

export async function get(path) {
  return read(await fetch(path, { headers: { accept: "application/json" } }));
}

async function read(answer) {
  let said;
  try {
    said = await answer.json();
  } catch {
    throw new Refused({ message: `the server answered ${answer.status}` }, answer.status);
  }
  if (!answer.ok) throw new Refused(said.error ?? { message: `the server answered ${answer.status}` }, answer.status);
  return said;
}
