// The page on which masks are accepted, rejected or redrawn, one photo after the other.
import { newToken, page } from "./api.js";
import { Clock } from "./clock.js";
import { Counter } from "./counter.js";
import { Deck, leaseNext, load } from "./deck.js";
import { $, element, keepFocus, notice, say, text } from "./dom.js";
import { Drawing } from "./drawing.js";
import { History } from "./history.js";
import { listen } from "./keys.js";
import { Outbox } from "./outbox.js";
import { Overlay } from "./overlay.js";
import { claimTab, showSaved } from "./saved.js";
import { Tools } from "./tools.js";
import { Zoom } from "./zoom.js";

const { task } = page;
const BEAT = 45_000;
const VIEWS = { all: "tint", outline: "outline", none: "photo" };
const TIPS = {
  brush: "Drag to draw. Two fingers zoom.",
  polygon: "Click corners; the first one closes it.",
  move: "Drag to move, click to zoom.",
};
const buttons = [...document.querySelectorAll(".choice")];

class Progress extends Counter {
  draw() {
    super.draw();
    $("left").textContent = `${this.left.toLocaleString("en")} left`;
  }
}

const zoom = new Zoom($("view"));
const overlay = new Overlay($("overlay"), zoom);
const tools = new Tools(zoom, overlay, drawTools);
const clock = new Clock();
const outbox = new Outbox(showSaved);
const counter = new Progress(false);
const history = new History(task, outbox, counter, goBack);
let skipped = []; // paths of photos that come last
const started = new Map(); // what was drawn on those: path -> {judged, shapes}
let shown = false; // whether the photo of `deck.current` is what is on screen
let saving = false;

const deck = new Deck(leaseNext(task, () => ({ skipped })), () => outbox.paths(), {
  changed: (answer) => counter.heard(answer, outbox.waiting.length),
  revoked: () => {
    if (tools.drawing?.changed || tools.open || saving) return;
    say("Somebody else has decided on this photo.");
    void advance();
  },
});

const drawing = () => tools.drawing !== null;
const ifReady = (act) => (shown && !saving ? act() : undefined);

// --- what is on screen

async function show(photo, saying = "") {
  shown = false;
  if (drawing()) tools.stop();
  if (photo.state === "loading") notice("Loading …", 150);
  const problem = await photo.ready;
  const maskProblem = photo.mask ? await photo.maskReady : "";
  if (deck.current !== photo) return;
  photo.shows = !problem;
  photo.hasMask = Boolean(photo.mask) && !maskProblem;
  photo.canBeAccepted = photo.hasMask && photo.acceptable;
  overlay.mask = photo.hasMask ? photo.maskImage : null;
  photo.image.alt = `Photo of class ${photo.class_name}`;
  zoom.show(problem ? null : photo.image);
  notice(problem ? `${problem} It can still be rejected.` : maskProblem);
  $("end").hidden = true;
  $("main").dataset.over = "false";
  $("class").textContent = photo.class_name;
  drawReason(photo.reason);
  text("origin", photo.hasMask ? `Mask: ${photo.origin}` : "");
  text("before", photo.chosen ? `Before: ${photo.chosen}. Choose again.` : "");
  shown = true;
  drawTools();
  clock.start();
  const why = photo.reason ? ` Fails a check: ${photo.reason}.` : "";
  say(`${saying}${photo.class_name}.${why} ${counter.place()}.`);
}

function drawReason(reason) {
  $("reason").hidden = !reason;
  $("reason").replaceChildren(...(reason ? [element("b", {}, "Fails a check:"), ` ${reason}`] : []));
}

function drawTools() {
  const on = drawing();
  const photo = deck.current;
  $("main").dataset.doing = on ? "draw" : "review";
  $("tools").hidden = !on;
  for (const button of buttons) {
    const { verdict } = button.dataset;
    const possible = { accepted: photo?.canBeAccepted, rejected: true, redrawn: photo?.shows }[verdict];
    button.disabled = !photo || !shown || !possible;
    button.hidden = on;
  }
  $("later").hidden = on;
  $("later").disabled = !photo;
  $("mask-said").textContent = VIEWS[overlay.shown];
  if (!on) return;
  for (const kind of ["brush", "polygon", "move"]) press(`tool-${kind}`, tools.kind === kind);
  press("adds", !tools.erasing);
  press("erases", tools.erasing);
  $("size").disabled = tools.kind !== "brush";
  $("size").value = $("size-said").value = tools.size;
  $("tip").textContent = tools.open ? "Enter or the first corner closes it." : TIPS[tools.kind];
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
  if (buttons.find((button) => button.dataset.verdict === verdict).disabled) return;
  if (verdict === "redrawn") redraw();
  else decide(verdict, null);
}

function decide(verdict, mask) {
  const photo = deck.current;
  const event = { kind: "decide", token: newToken(), task, path: photo.path, verdict, mask, judged: photo.judged };
  delete photo.chosen;
  delete photo.returned;
  started.delete(photo.path);
  outbox.add(event);
  history.add(photo, event, [verdict]);
  counter.decided([verdict], clock.stop());
  void advance(`${verdict}. Next: `);
}

function redraw() {
  const photo = deck.current;
  const { width, height } = zoom.size;
  const before = started.get(photo.path);
  const shapes = before?.judged === photo.judged ? before.shapes : []; // else the mask has been made again
  photo.drawing ??= new Drawing(width, height, photo.hasMask ? photo.maskImage : null, shapes);
  if (overlay.shown === "none") overlay.shown = "all";
  tools.start(photo.drawing);
  say("Drawing. Brush.");
}

async function save() {
  if (tools.open) return tools.close();
  tools.settle();
  const photo = deck.current;
  saving = true;
  notice("Saving the drawing …", 150);
  try {
    const { share, png } = await photo.drawing.finish();
    if (share === 0) return warn("The mask is empty: draw the object, or go back and reject the photo.");
    if (share === 1) return warn("The mask covers the whole photo: erase the background.");
    notice("");
    tools.stop();
    decide("redrawn", png);
  } catch (failure) {
    warn(failure.message);
  } finally {
    saving = false;
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
  overlay.mask = deck.current.hasMask ? deck.current.maskImage : null;
  overlay.draw();
  notice("");
}

async function advance(saying = "") {
  shown = false;
  const photo = await deck.next((failure) => {
    zoom.show(null);
    overlay.draw();
    $("class").textContent = "…";
    for (const id of ["reason", "origin", "before"]) $(id).hidden = true;
    drawTools();
    notice(failure.message);
  });
  if (photo) await show(photo, saying);
  else if (photo === null) end();
}

function end() {
  zoom.show(null);
  overlay.draw();
  notice("");
  drawTools();
  $("main").dataset.over = "true";
  $("class").textContent = "All done";
  for (const id of ["reason", "origin", "before"]) $(id).hidden = true;
  const box = $("end");
  box.replaceChildren($("finished").content.cloneNode(true));
  box.hidden = false;
  box.focus({ preventScroll: true });
  const { session, done } = counter;
  const mine = session ? `You decided on ${session.toLocaleString("en")} in this session. ` : "";
  box.querySelector(".session").textContent = `${mine}${done.toLocaleString("en")} ${done === 1 ? "photo is" : "photos are"} decided${counter.left ? `, ${counter.left.toLocaleString("en")} ${counter.left === 1 ? "is" : "are"} on somebody else's screen` : ""}.`;
  box.querySelector(".again").addEventListener("click", () => {
    box.hidden = true;
    void advance();
  });
  say(`That was the last photo. ${mine}`);
}

function later() {
  const { path, judged, drawing } = deck.current;
  if (drawing?.changed) started.set(path, { judged, shapes: drawing.shapes });
  skipped = [...skipped.filter((other) => other !== path), path].slice(-2000);
  void advance("Later. Next: ");
}

function goBack(photo, [verdict]) {
  deck.swapIn(photo);
  photo.chosen = verdict;
  if (!photo.image) load(photo);
  void show(photo, `Undone: ${verdict}. Back to `);
}

function undo() {
  if (saving) return;
  if (!drawing()) return void history.undo();
  if (!tools.undo()) say("There is nothing to undo in this drawing.");
}

// --- keys and buttons

const keysOn = $("keys-on");
const help = $("help");
const always = {
  u: undo,
  o: showMask,
  z: () => zoom.toggle(),
  in: () => zoom.by(1.4),
  out: () => zoom.by(1 / 1.4),
  help: () => help.showModal(),
};
const reviewing = {
  a: () => ifReady(() => choose("accepted")),
  r: () => ifReady(() => choose("rejected")),
  d: () => ifReady(() => choose("redrawn")),
  l: () => ifReady(later),
  space: () => ifReady(later),
};
const whileDrawing = {
  b: () => tools.choose("brush"),
  p: () => tools.choose("polygon"),
  m: () => tools.choose("move"),
  e: () => tools.erase(!tools.erasing),
  c: () => tools.clear(),
  "[": () => tools.resize(tools.size / 1.2 - 0.5),
  "]": () => tools.resize(tools.size * 1.2 + 0.5),
  backspace: undo,
  enter: () => ifReady(() => void save()),
  escape: () => ifReady(back),
};
listen(zoom, keysOn, (name) => (drawing() ? whileDrawing : reviewing)[name] ?? always[name]);

for (const button of buttons) button.addEventListener("click", () => ifReady(() => choose(button.dataset.verdict)));
const clicks = {
  undo,
  later: reviewing.l,
  "mask-shown": showMask,
  "tool-brush": whileDrawing.b,
  "tool-polygon": whileDrawing.p,
  "tool-move": whileDrawing.m,
  adds: () => tools.erase(false),
  erases: () => tools.erase(true),
  clear: whileDrawing.c,
  save: whileDrawing.enter,
  cancel: whileDrawing.escape,
  "zoom-in": always.in,
  "zoom-out": always.out,
  "zoom-fit": () => zoom.fit(),
  "zoom-full": () => zoom.full(),
  "help-open": always.help,
  "trouble-again": () => outbox.again(),
  "trouble-drop": () => outbox.drop(),
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", () => act());
keepFocus(".panel button, .zoom button");
$("size").addEventListener("input", () => tools.resize($("size").valueAsNumber));
$("size").addEventListener("pointerup", () => $("size").blur()); // keys are the page's again

addEventListener("beforeunload", (leaving) => {
  if (deck.current?.drawing?.changed || tools.open || started.size) leaving.preventDefault();
});

// --- one page at a time for each annotator; it renews its leases while it is visible

setInterval(() => !document.hidden && void deck.beat(), BEAT);
document.addEventListener("visibilitychange", () => !document.hidden && void deck.beat());
claimTab("masks");
void outbox.flush();
await advance();
