// Decides like a person with a fast hand: waits for each photo, then presses a key that depends on its number.
// Every tenth time it postpones, every tenth time it takes the last decision back.
want => {
  const shown = () => document.querySelector(".view img")?.getAttribute("src") ?? "";
  const press = key => document.body.dispatchEvent(
    new KeyboardEvent("keydown", {key, code: "Key" + key.toUpperCase(), bubbles: true, cancelable: true}));
  const keys = "gwesn", made = {decide: 0, undo: 0};
  window.made = made;
  let last = null;
  const step = () => {
    const now = shown();
    const over = !document.querySelector("#end").hidden || made.decide + made.undo >= want;
    if (over) { made.over = true; return watch.disconnect(); }
    if (now && now !== last && !document.querySelector(".choice").disabled) {
      const number = Number(now.match(/\d+/)[0]), count = made.decide + made.undo;
      last = now;
      if (count % 10 === 9 && made.decide) { made.undo++; press("u"); }
      else { made.decide++; press(count % 10 === 4 ? "l" : keys[number % keys.length]); }
    }
  };
  // Keys are pressed in a task of their own, as a person's are.
  const watch = new MutationObserver(() => setTimeout(step));
  watch.observe(document.body, {subtree: true, childList: true, attributes: true});
  step();
}
