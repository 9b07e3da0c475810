"use strict";
// A table that can be sorted and searched. Without this script it is a plain table.
(() => {
  // Missing figures come last whichever way the table is turned.
  const compare = (a, b, sign) => a === "" ? (b === "" ? 0 : 1) : b === "" ? -1
    : sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, {numeric: true}) : a - b);

  const sort = (table, head) => {
    const was = head.getAttribute("aria-sort");
    const ascending = was ? was === "descending" : !head.classList.contains("num");
    const rows = [...table.tBodies[0].rows], read = row => row.cells[head.cellIndex].dataset.value;
    rows.sort((a, b) => compare(read(a), read(b), ascending ? 1 : -1));
    table.tBodies[0].append(...rows);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const controls = document.querySelector(`[data-controls="${table.id}"]`), find = controls.querySelector("input");
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head));
    }
    find.addEventListener("input", () => {
      const words = find.value.toLowerCase().split(/\s+/), rows = [...table.tBodies[0].rows];
      for (const row of rows) row.hidden = !words.every(word => row.cells[0].textContent.toLowerCase().includes(word));
      const shown = rows.filter(row => !row.hidden).length;
      controls.querySelector("[role=status]").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} models`;
    });
    controls.hidden = table.tBodies[0].rows.length < 6;
  }
})();
