// Controls without a name, texts whose contrast is too low, targets that are too small, pages that are too wide.
() => {
  const seen = e => e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && e.getClientRects().length;
  const name = e => (e.getAttribute("aria-label") ?? "") || [...(e.labels ?? [])].map(l => l.textContent).join() ||
    (e.getAttribute("aria-labelledby") ? document.getElementById(e.getAttribute("aria-labelledby")).textContent : "") ||
    e.textContent || e.getAttribute("alt") || "";
  const controls = [...document.querySelectorAll("a, button, input, textarea, summary, progress, [role=group]")];
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const contrast = e => {
    const [one, other] = [luminance(rgba(getComputedStyle(e).color)), luminance(behind(e))];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  };
  const texts = [...document.body.querySelectorAll("*")].filter(e => seen(e) && !e.closest(":disabled") &&
    [...e.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  const targets = [...document.querySelectorAll("a, button, input")].filter(e => seen(e) && !e.closest("p"));
  const headings = [...document.querySelectorAll("h1")].filter(seen);
  return {
    nameless: controls.filter(e => seen(e) && !name(e).trim()).map(e => e.outerHTML.slice(0, 80)),
    faint: texts.filter(e => contrast(e) < 4.5).map(e => `${contrast(e).toFixed(2)} ${e.outerHTML.slice(0, 80)}`),
    small: targets.map(e => [e.getBoundingClientRect(), e]).filter(([box]) => box.height < 24 || box.width < 24)
      .map(([, e]) => e.outerHTML.slice(0, 80)),
    headings: headings.length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    unnamedPictures: [...document.querySelectorAll("img:not([alt])")].length,
    language: document.documentElement.lang,
  };
}
