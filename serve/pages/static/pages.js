// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// Everything works without this. "/" goes to the search box.
"use strict";
document.addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select")) return;
  const box = document.querySelector("input[type=search]");
  if (box) {
    e.preventDefault();
    box.focus();
  }
});
