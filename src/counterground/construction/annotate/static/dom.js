// Small helpers of the pages that show one photo after the other.

export const $ = (id) => document.getElementById(id);

export const say = (words) => ($("said").textContent = words);

export function text(id, words) {
  $(id).textContent = words;
  $(id).hidden = !words;
}

let timer = 0;
export function notice(words, after = 0) {
  clearTimeout(timer);
  if (after) timer = setTimeout(() => notice(words), after);
  else text("notice", words);
}

export function element(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

// A click leaves the focus where it was, so that Space continues to mean what it does on the page.
export function keepFocus(buttons) {
  for (const button of document.querySelectorAll(buttons)) {
    button.addEventListener("pointerdown", (event) => event.pointerType === "mouse" && event.preventDefault());
    button.addEventListener("mousedown", (event) => event.preventDefault());
  }
}
