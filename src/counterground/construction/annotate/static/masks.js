// The page on which masks are accepted, rejected or redrawn, one photo after the other.
import { page } from "./api.js";
import { leaseNext } from "./deck.js";
import { $, notice, say, text } from "./dom.js";
import { Drawing } from "./drawing.js";
import { Overlay } from "./overlay.js";
import { Session } from "./session.js";
import { Tools } from "./tools.js";

const VIEWS = { all: "tint", outline: "outline", none: "photo" };
const buttons = [...document.querySelectorAll(".choice")];

let skipped = []; // paths of photos that come last

const session = new Session(leaseNext(page.task, () => ({ skipped })), {
  kind: "masks",
  busy: () => tools.drawing?.changed || tools.open,
  draw(photo, problem) {
    if (drawing()) tools.stop();
    if (photo) {
      photo.hasMask = Boolean(photo.mask) && !photo.maskProblem;
      photo.possible = { accepted: photo.hasMask && photo.acceptable, rejected: true, redrawn: !problem };
    }
    overlay.mask = photo?.hasMask ? photo.maskImage : null;
    overlay.draw();
    text("reason", photo?.reason ? `Fails a check: ${photo.reason}` : "");
    text("origin", photo?.hasMask ? `Mask: ${photo.origin}` : "");
    drawTools();
    return photo?.reason ? ` Fails a check: ${photo.reason}.` : "";
  },
});
const overlay = new Overlay($("overlay"), session.zoom);
const tools = new Tools(session.zoom, overlay, drawTools);
const drawing = () => tools.drawing !== null;
const ifReady = (act) => session.ifReady(act);

function drawTools() {
  const on = drawing();
  const { photo } = session;
  $("tools").hidden = !on;
  for (const button of buttons) {
    button.disabled = !session.shown || !photo?.possible[button.dataset.verdict];
    button.hidden = on;
  }
  $("later").hidden = on;
  $("later").disabled = !photo;
  $("mask-said").textContent = VIEWS[overlay.shown];
  if (!on) return;
  for (const kind of ["brush", "polygon", "move"]) press(`tool-${kind}`, tools.kind === kind);
  press("erases", tools.erasing);
  $("size").disabled = tools.kind !== "brush";
  $("size").value = $("size-said").value = tools.size;
  $("save").lastChild.textContent = tools.open ? " Close" : " Save";
}

const press = (id, on) => $(id).setAttribute("aria-pressed", String(on));

function showMask() {
  const all = Object.keys(VIEWS);
  overlay.shown = all[(all.indexOf(overlay.shown) + 1) % all.length];
  overlay.draw();
  drawTools();
  say(`View: ${VIEWS[overlay.shown]}.`);
}

// --- what annotators do

function choose(verdict) {
  if (!session.photo.possible[verdict]) return;
  if (verdict === "redrawn") redraw();
  else decide(verdict, null);
}

function decide(verdict, mask) {
  const { judged } = session.photo;
  session.decide([verdict], { verdict, mask, judged });
}

function redraw() {
  const { photo } = session;
  const { width, height } = session.zoom.size;
  photo.drawing ??= new Drawing(width, height, photo.hasMask ? photo.maskImage : null);
  if (overlay.shown === "none") overlay.shown = "all";
  tools.start(photo.drawing);
  say("Drawing. Brush.");
}

function save() {
  if (tools.open) return tools.close();
  tools.settle();
  try {
    const { share, png } = session.photo.drawing.finish();
    if (share === 0) return warn("The mask is empty: draw the object, or go back and reject the photo.");
    if (share === 1) return warn("The mask covers the whole photo: erase the background.");
    tools.stop();
    decide("redrawn", png);
  } catch (failure) {
    warn(failure.message);
  }
}

function warn(words) {
  notice(words);
  setTimeout(() => $("notice").textContent === words && notice(""), 5000);
}

// What was drawn stays: drawing again goes on from there.
function back() {
  if (tools.open) return tools.abandon();
  tools.stop();
  overlay.mask = session.photo.hasMask ? session.photo.maskImage : null;
  overlay.draw();
  notice("");
}

function later() {
  const { path } = session.photo;
  skipped = [...skipped.filter((other) => other !== path), path].slice(-2000);
  void session.advance("Later. Next: ");
}

function undo() {
  if (!drawing()) return void session.history.undo();
  if (!tools.undo()) say("There is nothing to undo in this drawing.");
}

// --- keys and buttons

const reviewing = {
  u: undo,
  o: showMask,
  a: () => ifReady(() => choose("accepted")),
  r: () => ifReady(() => choose("rejected")),
  d: () => ifReady(() => choose("redrawn")),
  l: () => ifReady(later),
  space: () => ifReady(later),
};
const whileDrawing = {
  u: undo,
  o: showMask,
  b: () => tools.choose("brush"),
  p: () => tools.choose("polygon"),
  m: () => tools.choose("move"),
  e: () => tools.erase(!tools.erasing),
  c: () => tools.clear(),
  "[": () => tools.resize(tools.size / 1.2 - 0.5),
  "]": () => tools.resize(tools.size * 1.2 + 0.5),
  backspace: undo,
  enter: () => ifReady(save),
  escape: () => ifReady(back),
};

for (const button of buttons) button.addEventListener("click", () => ifReady(() => choose(button.dataset.verdict)));
$("size").addEventListener("input", () => tools.resize($("size").valueAsNumber));
$("size").addEventListener("pointerup", () => $("size").blur()); // keys are the page's again
addEventListener("beforeunload", (leaving) => {
  if (session.photo?.drawing?.changed || tools.open) leaving.preventDefault();
});

await session.start((name) => (drawing() ? whileDrawing : reviewing)[name], {
  undo,
  later: reviewing.l,
  "mask-shown": showMask,
  "tool-brush": whileDrawing.b,
  "tool-polygon": whileDrawing.p,
  "tool-move": whileDrawing.m,
  erases: whileDrawing.e,
  clear: whileDrawing.c,
  save: whileDrawing.enter,
  cancel: whileDrawing.escape,
});
