// Web Authentication: options and credentials between JSON and bytes. Browsers of 2024 and later do it themselves.

export function available() {
  return typeof window.PublicKeyCredential === "function" && Boolean(navigator.credentials);
}

export async function sign(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON?.(options) ?? {
    ...options,
    challenge: bytes(options.challenge),
    allowCredentials: options.allowCredentials.map((one) => ({ ...one, id: bytes(one.id) })),
  };
  return plain(await told(navigator.credentials.get({ publicKey })));
}

export async function make(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON?.(options) ?? {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: options.excludeCredentials.map((one) => ({ ...one, id: bytes(one.id) })),
  };
  return plain(await told(navigator.credentials.create({ publicKey })));
}

async function told(asked) {
  try {
    return await asked;
  } catch (error) {
    const said = {
      NotAllowedError: "The passkey did not sign: it was cancelled, or took too long.",
      InvalidStateError: "This authenticator has a passkey for this page already.",
      SecurityError: "The browser allows no passkey at this address.",
    };
    throw new Error(said[error.name] ?? `The passkey did not sign: ${error.message}`);
  }
}

function plain(credential) {
  if (typeof credential.toJSON === "function") {
    try {
      return credential.toJSON();
    } catch {
      // Some password managers put objects of their own here, whose toJSON throws.
    }
  }
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response,
    clientExtensionResults: credential.getClientExtensionResults?.() ?? {},
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
  };
}

function bytes(base64url) {
  const binary = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function text(buffer) {
  const binary = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
