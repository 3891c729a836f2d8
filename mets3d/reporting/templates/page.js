"use strict";

/* A table of class `sortable` sorts by the headings of its last heading row. A column whose heading has class `n`
   holds numbers; a cell's `data-v` is what it is sorted by, where its text is not. What has no value comes last. */
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const text = (row, at) => (row.cells[at].dataset.v ?? row.cells[at].textContent).trim();
  const amount = (value) => {
    const digits = value.replaceAll(",", "").replace("\u2212", "-").replace(/\s*%$/, "");
    return digits === "" || Number.isNaN(Number(digits)) ? null : Number(digits);
  };
  const key = (row, at) => {
    const value = text(row, at);
    return heads[at].classList.contains("n") ? amount(value) : value === "" || value === "–" ? null : value;
  };
  const order = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row, at), row]);
      const known = rows.filter(([value]) => value !== null).sort(([a], [b]) => up ? order(a, b) : order(b, a));
      body.append(...[...known, ...rows.filter(([value]) => value === null)].map(([, row]) => row));
    });
  });
}

/* A table with `data-filter`, which says what its rows are, gets a field above it: rows are shown that hold every
   word. The field stands before the box that the table scrolls in. */
for (const table of document.querySelectorAll("table[data-filter]")) {
  const rows = [...table.tBodies[0].rows];
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const field = document.createElement("p"), label = document.createElement("label");
  const input = document.createElement("input"), said = document.createElement("span");
  field.className = "filter";
  input.type = "search";
  said.setAttribute("role", "status");
  label.append(`Filter ${table.dataset.filter} `, input);
  field.append(label, " ", said);
  (table.closest(".wide") ?? table).before(field);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !wanted.every((word) => words.get(row).includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    said.textContent = wanted.length ? `${shown} of ${rows.length} shown` : "";
  });
}

/* The list of contents marks the part that is read, and closes above the page once a part is chosen. */
{
  const links = [...document.querySelectorAll(".contents a")];
  const heads = [...document.querySelectorAll("main h2[id]")];
  const mark = () => {
    const passed = heads.filter((head) => head.getBoundingClientRect().top < 120);
    const current = `#${(passed.at(-1) ?? heads[0])?.id}`;
    for (const link of links) {
      if (link.getAttribute("href") === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  if (links.length) {
    let waiting = false;
    addEventListener("scroll", () => {
      if (!waiting) requestAnimationFrame(() => { waiting = false; mark(); });
      waiting = true;
    }, { passive: true });
    mark();
  }
  for (const link of links) {
    link.addEventListener("click", () => { const folded = link.closest("details"); if (folded) folded.open = false; });
  }
}

/* A button with `data-copies`, the id of a text, copies it: by the clipboard where the browser lets a file use it, else
   by the selection, which stays for the reader to copy. */
for (const button of document.querySelectorAll("button[data-copies]")) {
  const text = document.getElementById(button.dataset.copies), said = button.parentElement.querySelector("[role=status]");
  button.addEventListener("click", async () => {
    const range = document.createRange();
    range.selectNodeContents(text);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    let copied = document.execCommand("copy");
    if (!copied && navigator.clipboard) {
      copied = await navigator.clipboard.writeText(text.textContent).then(() => true, () => false);
    }
    said.textContent = copied ? "Copied." : "Selected: copy it with Ctrl+C or Cmd+C.";
  });
}

/* On paper nothing can be unfolded: what is folded is printed open, but for parts of class `screen`. */
{
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open]):not(.screen)")];
    for (const folded of opened) folded.open = true;
  });
  addEventListener("afterprint", () => { for (const folded of opened) folded.open = false; });
}
