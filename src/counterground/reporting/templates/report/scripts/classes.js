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
  const figure = value => value.toFixed(1).replace("-", "−");
  const nameOf = (shared, index) => shared.names[index] ?? "no matching class";
  const photosOf = side => `${side === "common" ? "Common" : "Counter"} photos`;

  // "On grass: 3 of 12 correct; 7 predicted Arctic fox, 2 another class."
  const sentence = (shared, data, side, cell) => {
    const where = side === "all" ? "All photos" : data[side] ? `On ${data[side]}` : photosOf(side);
    if (!cell) return `${where}: no photos.`;
    const [n, right, wrong] = cell;
    if (!wrong.length) return `${where}: ${n === 1 ? "the only photo is" : `all ${n}`} correct.`;
    const named = wrong.map(([name, times]) => `${times} predicted ${nameOf(shared, name)}`);
    const rest = n - right - wrong.reduce((sum, [, times]) => sum + times, 0);
    return `${where}: ${right} of ${n} correct; ${named.join(", ")}${rest ? `, ${rest} another class` : ""}.`;
  };

  const photo = (shared, data, entry, model) => {
    const outcome = entry.by[model], item = make("li"), image = make("img");
    const box = make("figure", undefined, outcome && !outcome[1] ? "wrong" : ""), caption = make("figcaption");
    Object.assign(image, {src: entry.picture, loading: "lazy", decoding: "async", title: entry.path});
    image.alt = `${data.name}${entry.where ? ` on ${entry.where}` : ""}`;
    if (outcome) {
      const [name, right, confidence] = outcome;
      image.alt += right ? ", correct" : `, predicted ${nameOf(shared, name)}`;
      caption.append(make("b", `${right ? "✓" : "✗"} ${nameOf(shared, name)}`));
      if (confidence !== null) caption.append(`confidence ${Math.round(100 * confidence)} %`);
    } else caption.append("not evaluated with this model");
    if (entry.credit) caption.append(make("br"), `© ${entry.credit}`);
    box.append(image, caption);
    item.append(box);
    return item;
  };

  // Errors on counter photos and right answers on common ones first, the most confident first.
  const gallery = (shared, data, side, model) => {
    const informative = entry => {
      const outcome = entry.by[model];
      if (!outcome) return -1;
      const fits = Boolean(outcome[1]) === (side === "common");
      return (fits ? 2 : 0) + (fits ? 1 : -1) * (outcome[2] ?? 0);
    };
    const photos = data.photos.filter(entry => entry.side === side).sort((a, b) => informative(b) - informative(a));
    const column = make("section"), list = make("ul", undefined, "gallery");
    column.append(make("h5", side === "all" ? "Photos" : shared.titles ? data[side] : `${photosOf(side)}${data[side] ? `: ${data[side]}` : ""}`));
    if (!photos.length) column.append(make("p", "No photos to show.", "soft"));
    list.append(...photos.map(entry => photo(shared, data, entry, model)));
    column.append(list);
    return column;
  };

  const show = (page, shared, index, model) => {
    const data = parse(`data${page.dataset.section}-${index}`);
    const sides = data.predicted.all && !data.predicted.counter && !data.predicted.common ? ["all"] : ["common", "counter"];
    const [drop, low, high] = data.drops[model];
    const interval = low === null ? "" : ` [${figure(low)}, ${figure(high)}]`;
    const title = drop === null ? data.name
      : `${data.name}: ${shared.titles ? shared.titles[2] : "drop"} ${figure(drop)} points${interval} with ${shared.models[model]}`;
    const parts = [make("h4", title)];
    for (const side of [...sides].reverse()) parts.push(make("p", sentence(shared, data, side, data.predicted[side]?.[model])));
    if (data.photos.length) {
      const both = make("div", undefined, sides.length > 1 ? "sides" : "sides one");
      both.append(...sides.map(side => gallery(shared, data, side, model)));
      parts.push(both);
    }
    page.querySelector("[data-body]").replaceChildren(...parts);
  };

  for (const plain of document.querySelectorAll("[data-plain]")) plain.remove();
  for (const page of document.querySelectorAll(".classpage")) {
    const section = page.dataset.section, shared = parse(`shared${section}`);
    const classes = page.querySelector("[data-pick=class]"), models = page.querySelector("[data-pick=model]");
    const draw = () => show(page, shared, classes.value, Number(models.value));
    classes.addEventListener("change", draw);
    models.addEventListener("change", draw);
    for (const button of page.querySelectorAll("[data-step]")) button.addEventListener("click", () => {
      const count = classes.options.length;
      classes.selectedIndex = (classes.selectedIndex + Number(button.dataset.step) + count) % count;
      draw();
    });
    // Class names in the chart of drops lead here.
    for (const name of document.querySelectorAll(`[data-class][data-of="${section}"]`)) {
      const link = make("button", undefined, "open");
      link.type = "button";
      link.append(...name.childNodes);
      name.append(link);
      link.addEventListener("click", () => {
        classes.value = name.dataset.class;
        draw();
        page.scrollIntoView({block: "start"});
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
