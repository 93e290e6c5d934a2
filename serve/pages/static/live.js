// SPDX-FileCopyrightText: 2026 The Myelin authors
// SPDX-License-Identifier: Apache-2.0

// A page that is open renews its marked parts ([data-part], each with an id) when the
// server says that something changed. Nothing moves while the pointer or the focus
// is in one of them, nor while it is paused. Once a minute they are renewed in any case,
// for what changes by itself. Without this, one reloads.
"use strict";
(() => {
  const status = document.querySelector("[data-status]");
  if (!status || !window.EventSource) return;
  const words = document.createElement("span");
  const news = document.createElement("span");
  const told = document.createElement("span"); // what a screen reader says at once
  const show = document.createElement("button");
  const pause = document.createElement("button");
  news.className = "news";
  news.setAttribute("role", "status");
  told.className = "unseen";
  told.setAttribute("role", "alert");
  show.type = pause.type = "button";
  show.className = pause.className = "plain";
  show.textContent = "Show";
  pause.textContent = "Pause";
  show.hidden = true;
  status.replaceChildren(words, " ", news, show, pause, told);
  const title = document.title;
  const every = 1000; // at most one renewal a second
  const atLeast = 60000;
  let as = Date.now(), changed = 0, waits = false, paused = false, open = false, busy = false, out = "", last = Date.now(), timer = 0;

  const parts = () => [...document.querySelectorAll("[data-part]")];
  const inUse = () => parts().some((e) => e.matches(":hover") || e.contains(document.activeElement));
  const say = () => {
    const age = Math.round((Date.now() - as) / 1000);
    const old = age < 2 ? "as of now" : age < 120 ? "as of " + age + " s ago" : "as of " + Math.round(age / 60) + " minutes ago";
    words.textContent = out ? out : (paused ? "Paused, " : open ? "Live, " : "Not connected, ") + old + ".";
    const text = changed === 0 ? "" : waits ? "What waits for people has changed, and is not shown yet." : changed === 1 ? "1 change is not shown yet." : changed + " changes are not shown yet.";
    if (news.textContent !== text) news.textContent = text;
    show.hidden = changed === 0;
    document.title = changed === 0 ? title : "(" + changed + ") " + title;
    for (const e of document.querySelectorAll("[data-until]")) {
      const s = Math.max(0, Math.round((Date.parse(e.dataset.until) - Date.now()) / 1000));
      const two = (n) => String(n).padStart(2, "0");
      e.textContent = (s >= 3600 ? Math.floor(s / 3600) + ":" + two(Math.floor(s / 60) % 60) : two(Math.floor(s / 60))) + ":" + two(s % 60);
    }
  };
  const leave = (why) => {
    out = why;
    source.close();
    say();
  };
  const renew = async () => {
    if (busy || out) return;
    busy = true;
    last = Date.now();
    const had = changed;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html", "Myelin-Unattended": "1" }, cache: "no-store" });
      if (answer.redirected) {
        leave("You are signed out: reload.");
      } else if (answer.status === 204) {
        leave("It does not wait any more: somebody decided, or its time is over.");
      } else if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const e of parts()) {
          const now = fresh.getElementById(e.id);
          if (!now || now.outerHTML === e.outerHTML) continue;
          if (e.id === "answer" && now.textContent !== e.textContent) told.textContent = now.textContent;
          e.replaceWith(document.adoptNode(now));
        }
        as = Date.now();
        changed -= had;
        waits &&= changed > 0;
      }
    } catch {
      // the next event, or who reads, tries again
    }
    busy = false;
    say();
    document.body.dataset.renewed = String(as);
  };
  const soon = () => {
    clearTimeout(timer);
    if (changed === 0 || paused || inUse()) return say();
    timer = setTimeout(() => (inUse() || paused ? say() : renew()), Math.max(0, last + every - Date.now()));
  };
  const source = new EventSource("/live");
  for (const what of (status.dataset.status || "verdict held").split(" ")) {
    source.addEventListener(what, () => {
      changed++;
      waits ||= what === "held";
      soon();
    });
  }
  let before = false;
  source.addEventListener("here", () => {
    open = true;
    if (before) changed++; // what came while nobody listened
    before = true;
    document.body.dataset.connected = "";
    soon();
    say();
  });
  source.addEventListener("out", () => leave("You are signed out: reload."));
  document.addEventListener("submit", () => leave("Asked; wait for the answer, or reload."));
  source.onerror = () => {
    open = false;
    say();
  };
  show.onclick = renew;
  pause.onclick = () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    soon();
    say();
  };
  document.addEventListener("pointerout", soon);
  document.addEventListener("focusout", () => setTimeout(soon));
  setInterval(() => {
    if (changed > 0) soon();
    else if (!paused && !inUse() && Date.now() - last > atLeast) renew();
    say();
  }, 1000);
  say();
})();
