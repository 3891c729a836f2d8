"use strict";

/* A table of class `sortable` sorts by the headings of its last heading row. A column whose heading has class `n`
   holds numbers; a cell's `data-v` is what it is sorted by, where its text is not. A heading with `data-adds` has cells
   like 5/2/1, found, missed and false, and sorts by the last two together. What has no value comes last. */
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const text = (row, at) => (row.cells[at].dataset.v ?? row.cells[at].textContent).trim();
  const wrong = (value) => value === "–" ? null
    : value.split("/").slice(1).reduce((sum, part) => sum + (amount(part) ?? 0), 0);
  const amount = (value) => {
    const digits = value.replaceAll(",", "").replace("\u2212", "-").replace(/\s*%$/, "");
    return digits === "" || Number.isNaN(Number(digits)) ? null : Number(digits);
  };
  const key = (row, at) => {
    const value = text(row, at);
    if (heads[at].dataset.adds !== undefined) return wrong(value);
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
   word. The field stands before the box that the table scrolls in. One with `data-parts`, the first words of its rows,
   gets a choice among them too, and shows the first part at first. */
for (const table of document.querySelectorAll("table[data-filter]")) {
  const rows = [...table.tBodies[0].rows];
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const field = document.createElement("p"), label = document.createElement("label");
  const input = document.createElement("input"), said = document.createElement("span");
  field.className = "filter";
  input.type = "search";
  said.setAttribute("role", "status");
  label.append(`Filter ${table.dataset.filter} `, input);
  const parts = table.dataset.parts?.split(" ") ?? [], part = document.createElement("select");
  const choice = document.createElement("label");
  for (const name of [...parts, "all"]) part.append(new Option(name, name === "all" ? "" : name));
  choice.append("Region ", part);
  field.append(...(parts.length > 1 ? [choice, " "] : []), label, " ", said);
  (table.closest(".wide") ?? table).before(field);
  const show = () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean), chosen = part.value && `${part.value} `;
    let shown = 0;
    for (const row of rows) {
      const text = words.get(row);
      row.hidden = !(row.cells[0].textContent.startsWith(chosen) && wanted.every((word) => text.includes(word)));
      shown += !row.hidden;
    }
    said.textContent = shown < rows.length || wanted.length ? `${shown} of ${rows.length} shown` : "";
  };
  input.addEventListener("input", show);
  part.addEventListener("input", show);
  if (parts.length > 1) show();
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
