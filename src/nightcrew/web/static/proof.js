// The session's proof: handed over once in the fragment of the address that a one-time link leads to. It is kept in
// storage that belongs to this origin alone, port included; the cookie, which other ports get too, is not enough.
const KEY = "nightcrew-proof";

const given = new URLSearchParams(location.hash.slice(1)).get("proof");
if (given) {
  localStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname + location.search);
}

export function proof() {
  return localStorage.getItem(KEY) ?? "";
}
