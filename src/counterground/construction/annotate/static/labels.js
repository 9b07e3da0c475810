// Editing the label space and the guidance texts.
import { post, Refused, Unreachable } from "./api.js";

const lines = document.getElementById("lines");
const said = document.getElementById("labels-said");
let before = read().map((line) => line.name);
let saved = JSON.stringify(read());

function read() {
  return [...lines.children].map((line) => ({
    name: line.querySelector(".name").value.trim(),
    meaning: line.querySelector(".meaning").value.trim(),
  }));
}

const changed = () => {
  said.textContent = JSON.stringify(read()) === saved ? "" : "Not saved yet.";
  drawMoves();
};

function drawMoves() {
  for (const line of lines.children) {
    line.querySelector(".up").disabled = line === lines.firstElementChild;
    line.querySelector(".down").disabled = line === lines.lastElementChild;
  }
}

// Returns what went wrong, or null.
async function sent(name, body) {
  try {
    await post(name, body);
    return null;
  } catch (failure) {
    if (failure instanceof Refused || failure instanceof Unreachable) return failure.message;
    throw failure;
  }
}

lines.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const line = button?.closest("li");
  if (!line) return;
  if (button.classList.contains("remove")) {
    (line.nextElementSibling ?? line.previousElementSibling)?.querySelector(".name").focus();
    line.remove();
  }
  if (button.classList.contains("up")) line.previousElementSibling?.before(line);
  if (button.classList.contains("down")) line.nextElementSibling?.after(line);
  changed();
  if (line.isConnected) (button.disabled ? line.querySelector(".moves button:enabled") : button)?.focus();
});
lines.addEventListener("input", changed);

document.getElementById("add").addEventListener("click", () => {
  lines.append(document.getElementById("line").content.cloneNode(true));
  lines.lastElementChild.querySelector(".name").focus();
  changed();
});

document.getElementById("save").addEventListener("click", async () => {
  const now = read();
  const labels = now.map((line) => line.name);
  const meanings = Object.fromEntries(now.map((line) => [line.name, line.meaning]));
  const problem = await sent("labels", { before, labels, meanings });
  if (problem) {
    said.textContent = problem;
    return;
  }
  before = labels;
  saved = JSON.stringify(now);
  location.reload();
});
drawMoves();

for (const form of document.querySelectorAll("form.class")) {
  const field = form.querySelector("textarea");
  const button = form.querySelector("button");
  const status = form.querySelector(".said");
  let kept = field.value;
  field.addEventListener("input", () => {
    button.hidden = field.value === kept;
    status.textContent = "";
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = field.value.trim();
    const problem = await sent("guidance", { class_name: form.dataset.class, before: kept, text });
    status.textContent = problem ?? "Saved.";
    if (problem) return;
    kept = text;
    if (field.value.trim() === text) field.value = text; // else somebody has typed on
    button.hidden = field.value === kept;
  });
}

const unsaved = () => document.querySelector("form.class button:not([hidden])");
addEventListener("beforeunload", (event) => {
  if (JSON.stringify(read()) !== saved || unsaved()) event.preventDefault();
});
