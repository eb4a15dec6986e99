"use strict";
// Talks to a security key for one form on the page: the begin address gives what is asked, the answer goes back.
const form = document.getElementById("key");
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const send = async (to, body) => {
  const answer = await fetch(to, {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  });
  const found = await answer.json().catch(() => ({ error: "That did not work. Load the page again." }));
  if (!answer.ok || found.error) throw new Error(found.error || "That did not work. Load the page again.");
  return found;
};
const ids = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

async function use() {
  const pending = form.dataset.pending;
  const options = await send(form.dataset.begin, { pending: pending || "" });
  options.challenge = bytes(options.challenge);
  let response, key;
  if (pending) {
    options.allowCredentials = ids(options.allowCredentials);
    key = await navigator.credentials.get({ publicKey: options });
    response = {
      clientDataJSON: text(key.response.clientDataJSON),
      authenticatorData: text(key.response.authenticatorData),
      signature: text(key.response.signature),
      userHandle: key.response.userHandle ? text(key.response.userHandle) : null,
    };
  } else {
    options.user.id = bytes(options.user.id);
    options.excludeCredentials = ids(options.excludeCredentials);
    key = await navigator.credentials.create({ publicKey: options });
    response = {
      clientDataJSON: text(key.response.clientDataJSON),
      attestationObject: text(key.response.attestationObject),
    };
  }
  const credential = { id: key.id, rawId: text(key.rawId), type: key.type, response };
  if (pending) {
    location.assign((await send(form.dataset.to, { pending, credential })).to);
  } else {
    form.elements.credential.value = JSON.stringify(credential);
    form.submit();
  }
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    use().catch((problem) => { document.getElementById("key-problem").textContent = problem.message; });
  });
}
