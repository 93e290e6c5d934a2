// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Everything works without this. Keys, which the page of help lists and turns off (WCAG
// 2.2, success criterion 2.1.4), and what copies a line.
"use strict";
const keys = { off: false, g: false };
try {
  keys.off = localStorage.getItem("keys") === "off";
} catch {
  // no storage: they stay on
}
const row = (step) => {
  const rows = [...document.querySelectorAll("main tbody tr")].filter((r) => r.querySelector("th a, td a"));
  const at = rows.findIndex((r) => r.contains(document.activeElement));
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
  if (next) next.querySelector("th a, td a").focus();
};
document.addEventListener("keydown", (e) => {
  if (keys.off || e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input:not([type=checkbox]), textarea, select")) return;
  const to = keys.g && document.querySelector('nav a[data-key="' + CSS.escape(e.key) + '"]');
  keys.g = e.key === "g";
  if (to) to.click();
  else if (e.key === "/") document.querySelector("input[type=search]")?.focus();
  else if (e.key === "?") document.querySelector("a[data-help]")?.click();
  else if (e.key === "j") row(1);
  else if (e.key === "k") row(-1);
  else if (e.key === "x") document.activeElement.closest("tr")?.querySelector("input[type=checkbox]")?.click();
  else return;
  e.preventDefault();
});
for (const p of document.querySelectorAll("[data-keys]")) {
  const button = p.querySelector("button");
  const say = () => {
    button.setAttribute("aria-pressed", String(keys.off));
  };
  button.onclick = () => {
    keys.off = !keys.off;
    try {
      localStorage.setItem("keys", keys.off ? "off" : "on");
    } catch {
      // for this page then
    }
    say();
  };
  p.hidden = false;
  say();
}
if (navigator.clipboard) {
  for (const code of document.querySelectorAll("code.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = "Copy";
    button.onclick = async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    };
    code.after(" ", button);
  }
}
