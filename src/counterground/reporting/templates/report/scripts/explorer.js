"use strict";
// The scatter that can be hovered and filtered. Without this script a still picture stands in its place.
(() => {
  const parse = id => JSON.parse(document.getElementById(id).textContent);

  // Everything is written as text: a name is never read as markup.
  const fill = (tip, facts) => {
    const list = document.createElement("dl");
    for (const [name, value] of Object.entries(facts)) {
      if (name === "title") continue;
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      list.append(term, text);
    }
    const title = document.createElement("strong");
    title.textContent = facts.title;
    tip.replaceChildren(title, list);
  };

  const place = (tip, figure, x, y) => {
    tip.hidden = false;
    const room = figure.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const left = x - room.left + 14, top = y - room.top + 14;
    tip.style.left = `${Math.max(0, Math.min(left, room.width - size.width - 4))}px`;
    tip.style.top = `${top + size.height > room.height && top - size.height - 28 > 0 ? top - size.height - 28 : top}px`;
  };

  // An empty group of marks, such as the paper's models at first, has no name to announce.
  const tidy = chart => {
    for (const group of chart.querySelectorAll("g.role-mark[aria-roledescription]")) {
      if (group.childElementCount) group.removeAttribute("aria-hidden");
      else group.setAttribute("aria-hidden", "true");
    }
  };
  const run = async (chart, view) => { await view.runAsync(); tidy(chart); };

  const draw = async chart => {
    const section = chart.dataset.section, figure = chart.closest("figure");
    const tip = document.getElementById(`tip${section}`), spec = parse(`spec${section}`);
    const side = () => Math.max(240, Math.min(chart.clientWidth, 640));
    spec.width = spec.height = side();
    const hover = (handler, event, item, value) => {
      if (!value) { tip.hidden = !tip.dataset.kept; return; }
      delete tip.dataset.kept;
      fill(tip, item.datum.tip);
      place(tip, figure, event.clientX, event.clientY);
    };
    const holder = document.createElement("div");
    const {view} = await vegaEmbed(holder, spec, {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: hover,
    });
    chart.replaceChildren(holder);
    tidy(chart);
    chart.dataset.drawn = "1";
    new ResizeObserver(() => {
      if (Math.abs(view.width() - side()) > 1) run(chart, view.width(side()).height(side()));
    }).observe(chart);
    return {view, tip, figure};
  };

  const drawn = chart => [...chart.querySelectorAll("path[aria-roledescription]")].filter(path => path.__data__?.datum?.tip);
  const marks = chart => drawn(chart).filter(path => path.__data__.datum.id);

  // One stop for the tab key; arrows walk through the models.
  const keys = (chart, {view, tip, figure}) => {
    let at = -1;
    const show = async () => {
      const id = marks(chart)[at]?.__data__.datum.id ?? 0;
      await run(chart, view.signal("hover", id));
      const path = marks(chart)[at];
      delete tip.dataset.kept;
      if (!path) { tip.hidden = true; return; }
      const box = path.getBoundingClientRect();
      fill(tip, path.__data__.datum.tip);
      place(tip, figure, box.right, box.bottom);
    };
    chart.addEventListener("keydown", event => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
      const count = marks(chart).length;
      if (event.key === "Escape") at = -1;
      else if (step && count) at = at < 0 ? (step > 0 ? 0 : count - 1) : (at + step + count) % count;
      else return;
      event.preventDefault();
      show();
    });
    chart.addEventListener("blur", () => { at = -1; show(); });
    // A finger neither hovers nor presses keys: a tap opens the tip, a tap elsewhere closes it.
    chart.addEventListener("click", event => {
      const [path] = drawn(chart).map(each => {
        const box = each.getBoundingClientRect();
        return [each, Math.hypot(event.clientX - (box.left + box.right) / 2, event.clientY - (box.top + box.bottom) / 2)];
      }).reduce((a, b) => b[1] < a[1] ? b : a, [null, 24]);
      delete tip.dataset.kept;
      if (!path) { tip.hidden = true; return; }
      tip.dataset.kept = "1";
      fill(tip, path.__data__.datum.tip);
      place(tip, figure, event.clientX, event.clientY);
    });
    const table = document.getElementById(`table${chart.dataset.section}`);
    const row = event => Number(event.target.closest("tbody tr")?.dataset.id ?? 0);
    table.addEventListener("mouseover", event => run(chart, view.signal("hover", row(event))));
    table.addEventListener("mouseleave", () => run(chart, view.signal("hover", 0)));
  };

  const filters = (chart, {view}) => {
    const controls = document.querySelector(`[data-filters="${chart.id}"]`);
    const boxes = [...controls.querySelectorAll("[data-family]")], paper = controls.querySelector("[data-paper]");
    controls.addEventListener("change", () => {
      const chosen = boxes.length ? boxes.filter(box => box.checked).map(box => box.dataset.family) : null;
      if (chosen) view.signal("families", chosen);
      const beside = Boolean(paper?.checked);
      run(chart, view.signal("paper", beside));
      const figure = chart.closest("figure");
      for (const part of [controls, figure].flatMap(each => [...each.querySelectorAll("[data-of-paper]")])) part.hidden = !beside;
      const lines = [...figure.querySelectorAll("[data-lines] li")];
      for (const box of figure.querySelectorAll("[data-lines]")) box.hidden = lines.every(line => line.hidden);
      const table = document.getElementById(`table${chart.dataset.section}`);
      if (chosen) table.dispatchEvent(new CustomEvent("families", {detail: chosen}));
    });
    controls.hidden = false;
  };

  const start = async chart => {
    try {
      const parts = await draw(chart);
      keys(chart, parts);
      filters(chart, parts);
    } catch (error) {
      console.error(error);
    }
  };

  // The tables can be read before this much script starts.
  const charts = document.querySelectorAll(".chart");
  requestAnimationFrame(() => setTimeout(() => charts.forEach(start)));
})();
