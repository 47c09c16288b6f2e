"use strict";
(() => {
  const root = document.documentElement;
  const one = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // Filter: rows of tables, layers of trees and cards, by all the words that were typed.
  const input = one("#filter");
  const found = one("#found");
  const rows = all("tbody tr, .leaf, .card").map((row) => ({ row, text: "" }));
  const branches = all(".tree details").reverse(); // inner ones first
  const opened = new Map();

  // A layer in the tree shows its own name only; it is found by those of its scopes too.
  const scopes = (row) => {
    let path = "";
    for (let fold = row.closest(".tree details"); fold; fold = fold.parentElement.closest(".tree details")) {
      path = `${one("code", fold).textContent}/${path}`;
    }
    return path;
  };

  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const each of rows) {
      each.text ||= (scopes(each.row) + each.row.textContent).toLowerCase();
      each.row.hidden = !words.every((word) => each.text.includes(word));
      shown += !each.row.hidden;
    }
    for (const branch of branches) {
      if (words.length && !opened.has(branch)) opened.set(branch, branch.open);
      const item = branch.parentElement;
      item.hidden = words.length > 0 && !one(".leaf:not([hidden])", branch);
      if (words.length) branch.open = !item.hidden;
      else if (opened.has(branch)) branch.open = opened.get(branch);
    }
    if (!words.length) opened.clear();
    found.textContent = words.length ? `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows` : "";
  };
  input.addEventListener("input", filter);
  input.form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && event.target !== input) {
      event.preventDefault();
      input.focus();
      input.select();
    } else if (event.key === "Escape" && (input.value || event.target === input)) {
      input.value = "";
      filter();
      input.blur();
    }
  });

  // Sort: by the number that a cell carries or shows, else by its text; what has neither comes last.
  const text = new Intl.Collator("en", { numeric: true });
  const plain = /^-?[\d.,]+(e[-+]?\d+)?$/;
  const key = (cell) => {
    const shown = cell.dataset.v ?? cell.textContent.trim();
    return plain.test(shown) ? Number(shown.replaceAll(",", "")) : shown;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b || 0 : text.compare(a, b));
  for (const button of all("thead button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const body = head.closest("table").tBodies[0];
      const was = head.getAttribute("aria-sort");
      const keyed = [...body.rows].map((row) => [key(row.cells[head.cellIndex]), row]);
      const falling = was === "none" ? keyed.some(([value]) => typeof value === "number") : was === "ascending";
      for (const other of all("[aria-sort]", head.parentElement)) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      keyed.sort(([a], [b]) => (a === "") - (b === "") || (falling ? compare(b, a) : compare(a, b)));
      body.append(...keyed.map(([, row]) => row));
    });
  }

  // Fold and unfold; paper cannot, so everything is unfolded for it.
  const folds = all("details");
  const set = (open) => folds.forEach((fold) => { fold.open = open; });
  for (const name of ["#unfold", "#fold"]) one(name).hidden = !folds.length;
  one("#unfold").addEventListener("click", () => set(true));
  one("#fold").addEventListener("click", () => set(false));
  let before = [];
  addEventListener("beforeprint", () => { before = folds.map((fold) => fold.open); set(true); });
  addEventListener("afterprint", () => before.forEach((open, place) => { folds[place].open = open; }));

  // Theme: the reader's own until the button is used; not stored.
  const theme = one("#theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const tell = () => theme.setAttribute("aria-pressed", String(isDark()));
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; tell(); });
  dark.addEventListener("change", tell);
  tell();
})();
