"use strict";
// Tables that can be sorted and searched. Without this script they are plain tables.
(() => {
  const number = text => text === "" || text === undefined ? null : Number(text);
  // Missing figures come last whichever way the table is turned.
  const compare = (a, b, sign) => a === null ? (b === null ? 0 : 1) : b === null ? -1
    : sign * (typeof a === "string" ? a.localeCompare(b, undefined, {numeric: true}) : a - b);

  const sort = (table, key, ascending) => {
    const heads = [...table.tHead.rows[0].cells];
    const column = heads.findIndex(head => head.dataset.key === key);
    const read = row => key === "model" ? row.cells[column].dataset.value : number(row.cells[column].dataset.value);
    const body = table.tBodies[0];
    const rows = [...body.rows].map(row => [read(row), row]);
    rows.sort(([a], [b]) => compare(a, b, ascending ? 1 : -1));
    body.append(...rows.map(([, row]) => row));
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
    announce(table, key, ascending);
  };

  // Phones have a menu and a button in place of the heads.
  const controlsOf = table => document.querySelector(`[data-controls="${table.id}"]`);
  const announce = (table, key, ascending) => {
    const controls = controlsOf(table), menu = controls.querySelector("[data-sort]");
    if ([...menu.options].some(option => option.value === key)) menu.value = key;
    controls.querySelector("[data-turn]").textContent = key === "model" ? (ascending ? "A to Z" : "Z to A")
      : ascending ? "Smallest first" : "Largest first";
  };

  const filter = (table, controls) => {
    const words = controls.querySelector("[data-find]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    let shown = 0;
    for (const row of rows) {
      const text = row.cells[0].textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    controls.querySelector("[data-status]").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} models`;
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const controls = controlsOf(table);
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const was = head.getAttribute("aria-sort");
        sort(table, head.dataset.key, was ? was === "descending" : head.dataset.key === "model");
      });
    }
    const menu = controls.querySelector("[data-sort]");
    menu.addEventListener("change", () => sort(table, menu.value, menu.value === "model"));
    controls.querySelector("[data-turn]").addEventListener("click", () => {
      const sorted = table.tHead.querySelector("[aria-sort]");
      sort(table, sorted.dataset.key, sorted.getAttribute("aria-sort") === "descending");
    });
    controls.querySelector("[data-find]").addEventListener("input", () => filter(table, controls));
    controls.hidden = table.tBodies[0].rows.length < 2;
  }
})();
