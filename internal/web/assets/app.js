// Relative times, filters that apply at once, lists that refresh. Everything
// works without it.
(() => {
  "use strict";
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const ago = (then) => {
    const s = Math.round((Date.now() - then) / 1000), n = Math.abs(s);
    for (const [size, word] of units) {
      if (n >= size || size === 1) {
        const text = Math.floor(n / size) + " " + word;
        return s >= 0 ? text + " ago" : "in " + text;
      }
    }
  };
  const times = () => document.querySelectorAll("time[data-ago]").forEach((t) => {
    t.textContent = ago(Date.parse(t.dateTime));
  });
  setInterval(times, 15000);

  document.querySelectorAll("form[data-auto] select").forEach((x) =>
    x.addEventListener("change", () => x.form.requestSubmit()));

  document.addEventListener("keydown", (e) => {
    if (e.key !== "/" || e.target.closest("input, textarea, select")) return;
    const box = document.querySelector("[data-key='/']");
    if (box) { e.preventDefault(); box.focus(); }
  });

  // A hint that something changed: fetch the page again, swap what refreshes.
  if (!document.body.hasAttribute("data-live") || !document.querySelector("[data-refresh]")) return;
  let waiting = false;
  const refresh = async () => {
    waiting = false;
    if (document.querySelector("details[open]") || document.activeElement?.closest("form")) return;
    const r = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!r.ok) return;
    const next = new DOMParser().parseFromString(await r.text(), "text/html");
    const old = document.querySelectorAll("[data-refresh]"), fresh = next.querySelectorAll("[data-refresh]");
    if (old.length === fresh.length) old.forEach((x, i) => x.replaceWith(fresh[i]));
  };
  new EventSource("/events").onmessage = () => {
    if (!waiting) { waiting = true; setTimeout(refresh, 400); }
  };
})();
