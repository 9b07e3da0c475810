"use strict";
// One class at a time, read and drawn on demand. All texts are set as texts.
(() => {
  const parse = id => JSON.parse(document.getElementById(id).textContent);
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const figure = value => value === null ? "–" : value.toFixed(1).replace("-", "−");
  const ordinal = n => `${n}${n % 10 === 1 && n % 100 !== 11 ? "st" : n % 10 === 2 && n % 100 !== 12 ? "nd" : n % 10 === 3 && n % 100 !== 13 ? "rd" : "th"}`;
  const NO_NAME = "no matching class";

  const where = (data, side) => side === "all" ? "All photos" : data[side] ? `On ${data[side]}` : `${side === "common" ? "Common" : "Counter"} photos`;

  // "On grass: 3 of 12 correct; 7 predicted Arctic fox, 2 another class."
  const sentence = (shared, data, side, cell) => {
    if (!cell) return `${where(data, side)}: no photos.`;
    const [n, right, wrong] = cell;
    if (!wrong.length) return `${where(data, side)}: ${n === 1 ? "the only photo is" : `all ${n}`} correct.`;
    const named = wrong.map(([name, times]) => `${times} predicted ${shared.names[name] ?? NO_NAME}`);
    const rest = n - right - wrong.reduce((sum, [, times]) => sum + times, 0);
    return `${where(data, side)}: ${right} of ${n} correct; ${named.join(", ")}${rest ? `, ${rest} another class` : ""}.`;
  };

  const photo = (shared, data, entry, model) => {
    const outcome = entry.by[model], item = make("li"), box = make("figure", undefined, outcome && !outcome[1] ? "wrong" : "");
    const image = make("img"), caption = make("figcaption");
    const name = outcome ? shared.names[outcome[0]] ?? NO_NAME : "";
    image.src = entry.picture;
    image.loading = "lazy";
    image.decoding = "async";
    image.alt = `${data.name}${entry.where ? ` on ${entry.where}` : ""}${outcome ? (outcome[1] ? ", correct" : `, predicted ${name}`) : ""}`;
    image.title = entry.path;
    if (outcome) {
      caption.append(make("b", `${outcome[1] ? "✓" : "✗"} ${name}`));
      const notes = [];
      if (outcome[2] !== null) notes.push(`confidence ${Math.round(100 * outcome[2])} %`);
      if (outcome[3] !== null) notes.push(`margin ${outcome[3]}`);
      if (!outcome[1] && outcome[4] !== null) notes.push(`true class ranked ${ordinal(outcome[4] + 1)}`);
      caption.append(notes.join(", "));
    } else caption.append("not evaluated with this model");
    if (entry.credit) caption.append(make("br"), `© ${entry.credit}`);
    box.append(image, caption);
    item.append(box);
    return item;
  };

  // Errors on counter photos and right answers on common ones first, the most confident first.
  const order = (photos, side, model) => {
    const informative = entry => {
      const outcome = entry.by[model];
      if (!outcome) return -1;
      const fits = Boolean(outcome[1]) === (side === "common");
      return (fits ? 2 : 0) + (fits ? 1 : -1) * (outcome[2] ?? 0);
    };
    return photos.filter(entry => entry.side === side).sort((a, b) => informative(b) - informative(a));
  };

  const gallery = (shared, data, side, model) => {
    const photos = order(data.photos, side, model);
    const column = make("section");
    const title = side === "all" ? "Photos" : shared.titles ? data[side] : `${side === "common" ? "Common" : "Counter"}${data[side] ? `: ${data[side]}` : ""}`;
    column.append(make("h5", title));
    if (!photos.length) column.append(make("p", "No photos to show.", "soft"));
    const list = make("ul", undefined, "gallery");
    list.append(...photos.map(entry => photo(shared, data, entry, model)));
    column.append(list);
    return column;
  };

  const numbers = (shared, data) => {
    const details = make("details"), table = make("table"), head = make("tr");
    details.append(make("summary", `${data.name}: all models`));
    const grouped = data.rows.some(row => row[3] !== null || row[4] !== null);
    const [left, right, drop] = shared.titles ?? ["Common", "Counter", "Drop"];
    const titles = grouped ? ["Model", drop, "95 %", left, right] : ["Model", "Accuracy", "n"];
    titles.forEach((title, k) => {
      const cell = make("th", title, k ? "num" : "");
      cell.scope = "col";
      head.append(cell);
    });
    const body = make("tbody");
    data.rows.forEach((row, k) => {
      const [difference, low, high, common, counter, all, nCommon, nCounter, n] = row;
      const line = make("tr"), name = make("th", shared.models[k].label);
      name.scope = "row";
      const cells = grouped
        ? [figure(difference), low === null ? "" : `[${figure(low)}, ${figure(high)}]`, `${figure(common)} (${nCommon})`, `${figure(counter)} (${nCounter})`]
        : [figure(all), String(n)];
      line.append(name, ...cells.map(text => make("td", text, "num")));
      body.append(line);
    });
    const top = make("thead");
    top.append(head);
    table.append(make("caption", "Percent and points; photos in brackets."), top, body);
    const scroll = make("div", undefined, "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", `${data.name}: all models`);
    scroll.append(table);
    details.append(scroll);
    return details;
  };

  const show = (page, shared, index, model) => {
    const data = parse(`data${page.dataset.section}-${index}`);
    const sides = data.predicted.all && !data.predicted.counter && !data.predicted.common ? ["all"] : ["common", "counter"];
    const [drop, low, high] = data.rows[model];
    const title = drop === null ? data.name
      : `${data.name}: ${shared.titles ? shared.titles[2] : "drop"} ${figure(drop)} points${low === null ? "" : ` [${figure(low)}, ${figure(high)}]`} with ${shared.models[model].label}`;
    const parts = [make("h4", title)];
    for (const side of [...sides].reverse()) parts.push(make("p", sentence(shared, data, side, data.predicted[side]?.[model])));
    if (data.photos.length) {
      const both = make("div", undefined, sides.length > 1 ? "sides" : "sides one");
      both.append(...sides.map(side => gallery(shared, data, side, model)));
      parts.push(both);
    }
    parts.push(numbers(shared, data));
    page.querySelector("[data-body]").replaceChildren(...parts);
  };

  for (const plain of document.querySelectorAll("[data-plain]")) plain.remove();
  for (const page of document.querySelectorAll(".classpage")) {
    const section = page.dataset.section, shared = parse(`shared${section}`);
    const classes = page.querySelector("[data-pick=class]"), models = page.querySelector("[data-pick=model]");
    const draw = () => show(page, shared, classes.value, Number(models.value));
    const go = index => { classes.value = index; draw(); };
    classes.addEventListener("change", draw);
    models.addEventListener("change", draw);
    for (const button of page.querySelectorAll("[data-step]")) button.addEventListener("click", () => {
      const count = classes.options.length;
      classes.selectedIndex = (classes.selectedIndex + Number(button.dataset.step) + count) % count;
      draw();
    });
    // Class names elsewhere on the page link here.
    for (const name of document.querySelectorAll(`[data-class][data-of="${section}"]`)) {
      let link = name;
      if (name.tagName !== "A") {
        link = make("button", undefined, "open");
        link.type = "button";
        link.append(...name.childNodes);
        name.append(link);
      }
      link.addEventListener("click", () => {
        go(name.dataset.class);
        if (link !== name) page.scrollIntoView({block: "start"});
        classes.focus({preventScroll: true});
      });
    }
    page.hidden = false;
    // Drawn when it comes near the window, so that a page of many photos opens at once.
    const first = () => { if (!page.querySelector("[data-body]").childElementCount) draw(); };
    new IntersectionObserver((entries, watch) => {
      if (entries.some(entry => entry.isIntersecting)) { watch.disconnect(); first(); }
    }, {rootMargin: "400px"}).observe(page);
    // Paper has no window: the class that is chosen is printed, with all its photos.
    window.addEventListener("beforeprint", () => {
      first();
      for (const image of page.querySelectorAll("img")) image.loading = "eager";
    });
  }
})();
