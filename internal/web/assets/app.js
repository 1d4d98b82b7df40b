// Relative times, filters that apply at once, menus, lists that refresh.
// Everything works without it.
"use strict";

(function () {
  // Relative times, in the words of the server and by the server's clock, so
  // that a wrong clock of the reader's machine changes nothing.
  const loaded = performance.now();
  const serverNow = Date.parse(document.body.dataset.now);

  function span(sec) {
    const n = function (v, unit) { return v + "\u00a0" + unit; };
    const two = function (a, ua, b, ub) { return b === 0 ? n(a, ua) : n(a, ua) + "\u00a0" + n(b, ub); };
    if (sec < 60) return n(sec, "s");
    if (sec < 3600) return n(Math.floor(sec / 60), "min");
    if (sec < 86400) return two(Math.floor(sec / 3600), "h", Math.floor(sec / 60) % 60, "min");
    if (sec < 864000) return two(Math.floor(sec / 86400), "d", Math.floor(sec / 3600) % 24, "h");
    return n(Math.floor(sec / 86400), "d");
  }

  function tick() {
    const now = serverNow + (performance.now() - loaded);
    for (const t of document.querySelectorAll("time[data-ago]")) {
      const sec = Math.floor((now - Date.parse(t.dateTime)) / 1000);
      let text = "in " + span(-sec);
      if (sec > -5) text = sec < 5 ? "just now" : span(sec) + " ago";
      if (t.textContent !== text) t.textContent = text;
    }
  }
  window.setInterval(tick, 15000);

  // Filters apply when one is chosen; empty ones stay out of the address.
  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.addEventListener("change", function (e) {
      if (e.target.tagName === "SELECT") form.requestSubmit();
    });
    form.addEventListener("submit", function () {
      for (const f of form.elements) if (f.name && f.value === "") f.disabled = true;
    });
  }
  window.addEventListener("pageshow", function () {
    for (const f of document.querySelectorAll("form[data-auto] :disabled")) f.disabled = false;
  });

  // Keys: "/" goes to the search, Escape closes menus. One menu at a time.
  document.addEventListener("keydown", function (e) {
    if (e.key === "Escape") {
      for (const d of document.querySelectorAll("details.menu[open]")) {
        d.open = false;
        d.querySelector("summary").focus();
      }
      return;
    }
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    const field = document.querySelector("[data-key='/']");
    if (e.key === "/" && !typing && field && !e.ctrlKey && !e.metaKey) {
      e.preventDefault();
      field.focus();
    }
  });
  document.addEventListener("toggle", function (e) {
    if (!e.target.matches("details.menu") || !e.target.open) return;
    for (const d of document.querySelectorAll("details.menu[open]")) if (d !== e.target) d.open = false;
    const field = e.target.querySelector("textarea, input:not([type=hidden]), select");
    if (field) field.focus();
  }, true);
  document.addEventListener("click", function (e) {
    for (const d of document.querySelectorAll("details.menu[open]")) if (!d.contains(e.target)) d.open = false;
  });

  // Live refresh: a hint makes the page fetch itself and replace what changed,
  // but never while somebody writes or has a menu open.
  if (!document.body.hasAttribute("data-live") || !document.querySelector("[data-refresh]") || !window.EventSource) return;
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("casement", { createHTML: function (s) { return s; } })
    : { createHTML: function (s) { return s; } };
  const note = document.getElementById("live");
  let wanted = false;
  let busy = false;

  function occupied() {
    if (document.hidden || document.querySelector("details.menu[open]")) return true;
    const a = document.activeElement;
    return Boolean(a && a.closest("[data-refresh]") && a.tagName !== "BODY");
  }

  function planHash(el) {
    const field = el.querySelector("[name=plan_hash]");
    return field ? field.value : "";
  }

  async function refresh() {
    busy = true;
    wanted = false;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) return;
      // Our own page, from our own server, parsed without running anything.
      const fresh = new DOMParser().parseFromString(policy.createHTML(await answer.text()), "text/html");
      for (const part of document.querySelectorAll("[data-refresh]")) {
        const other = fresh.querySelector("[data-refresh='" + part.dataset.refresh + "']");
        if (!other) continue;
        // An approval card that changed under the reader is announced, not
        // swapped: what she approves is what she read.
        if (part.dataset.refresh === "approval") {
          if (planHash(part) !== planHash(other)) note.textContent = "This request changed: reload to see it.";
          continue;
        }
        part.replaceWith(document.adoptNode(other));
      }
      const nav = fresh.querySelector("header.top nav");
      if (nav) document.querySelector("header.top nav").replaceWith(document.adoptNode(nav));
      tick();
    } catch (_) {
      wanted = true; // the server is away: look again with the next beat
    } finally {
      busy = false;
    }
  }

  const stream = new EventSource("/events");
  stream.addEventListener("changed", function () { wanted = true; });
  window.setInterval(function () { if (wanted && !busy && !occupied()) refresh(); }, 1000);
  window.addEventListener("pagehide", function () { stream.close(); });
})();
