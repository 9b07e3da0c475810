// Which command a key stands for, whatever the layout of the keyboard.

const NAMED = { " ": "space", Enter: "enter", Escape: "escape", "?": "help", "+": "in", "=": "in", "-": "out", "[": "[", "]": "]" };
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export const arrow = (event) => ARROWS[event.key] ?? null;

// "a" to "z" and "0" to "9" stand for themselves, with or without Shift.
export function keyName(event) {
  if (event.key in NAMED) return NAMED[event.key];
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  if (digit) return digit[1];
  const key = event.key.toLowerCase();
  if (/^[a-z]$/.test(key)) return key;
  const letter = /^Key([A-Z])$/.exec(event.code); // a layout without Latin letters
  return letter ? letter[1].toLowerCase() : key;
}

// Text fields need every key, buttons their own two, and an open dialog has them all.
export function isTaken(event) {
  const at = event.target;
  if (document.querySelector("dialog[open]")) return true;
  if (event.ctrlKey || event.metaKey || event.isComposing || event.defaultPrevented) return true;
  // On many layouts brackets are typed with Alt or AltGr; nothing else that these type is a command.
  if ((event.altKey || event.getModifierState("AltGraph")) && !/^[[\]]$/.test(event.key)) return true;
  if (at.closest?.("input, textarea, select, [contenteditable], [popover]:popover-open")) return true;
  return (event.key === " " || event.key === "Enter") && Boolean(at.closest?.("button, a, summary"));
}

// Does what `find(name, event)` returns for a key; arrows move a zoomed photo. Single keys can be switched off.
export function listen(zoom, keysOn, find) {
  document.addEventListener("keydown", (event) => {
    // A button is pressed again and again while Enter is held on it: one photo after the other would be decided.
    if (event.repeat && event.key === "Enter" && event.target.closest?.("button")) return event.preventDefault();
    if (isTaken(event)) return;
    const way = arrow(event);
    if (way) {
      if (zoom.fitted) return;
      zoom.pan(way[0] * 80, way[1] * 80);
      return event.preventDefault();
    }
    const name = keyName(event);
    const act = find(name, event);
    const single = /^[a-z0-9]$|^space$/.test(name);
    if (!act || (single && !keysOn.checked)) return;
    event.preventDefault();
    if (!event.repeat || REPEATED.has(name)) act();
  });
  try {
    keysOn.checked = localStorage.getItem(KEYS) !== "off";
    keysOn.addEventListener("change", () => localStorage.setItem(KEYS, keysOn.checked ? "on" : "off"));
  } catch {
    // Storage is off: the choice holds for this page only.
  }
}

const KEYS = "counterground:keys";
const REPEATED = new Set(["in", "out", "[", "]"]);
