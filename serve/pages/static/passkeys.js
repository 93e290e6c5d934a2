// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Forms that a passkey fills in: the server asks, the authenticator answers, the form
// is sent. Browsers that cannot do this do not see them.
"use strict";
for (const form of document.querySelectorAll("form[data-passkey]")) {
  const make = form.dataset.passkey === "create";
  const parse = window.PublicKeyCredential && (make ? PublicKeyCredential.parseCreationOptionsFromJSON : PublicKeyCredential.parseRequestOptionsFromJSON);
  if (!parse) continue;
  form.hidden = false;
  const status = form.querySelector("[role=status]");
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    status.textContent = "Your device asks you now.";
    try {
      const asked = await fetch(form.dataset.ask, { method: "POST", headers: { Accept: "application/json" } });
      const said = await asked.json();
      if (!asked.ok) {
        status.textContent = said.detail;
        return;
      }
      const publicKey = parse.call(PublicKeyCredential, said.publicKey);
      const key = await (make ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
      form.elements.answer.value = JSON.stringify(key);
      form.submit();
    } catch (err) {
      status.textContent = err.name === "InvalidStateError" ? "This device has a passkey for you already." : "Nothing happened: it was cancelled, or took too long. Try again.";
    }
  });
}
