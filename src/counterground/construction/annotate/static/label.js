// The page that shows one photo after the other: labelling, and adjudicating disagreements.
import { newToken, page, photoAddress, Refused } from "./api.js";
import { Clock } from "./clock.js";
import { Counter } from "./counter.js";
import { Deck, load, leaseDisagreements, leaseNext } from "./deck.js";
import { $, element, keepFocus, notice, say, text } from "./dom.js";
import { finish } from "./end.js";
import { History } from "./history.js";
import { listen } from "./keys.js";
import { Outbox } from "./outbox.js";
import { claimTab, showSaved } from "./saved.js";
import { Zoom } from "./zoom.js";

const { task } = page;
const adjudicating = $("main").dataset.mode === "adjudicate";
const buttons = [...document.querySelectorAll(".choice")];
const NTH = ["First", "Second", "Third", "Fourth"];
const BEAT = 45_000;

const zoom = new Zoom($("view"));
const clock = new Clock();
const outbox = new Outbox(showSaved);
const counter = new Counter(adjudicating);
const history = new History(task, outbox, counter, goBack, !adjudicating);
const deck = new Deck(adjudicating ? leaseDisagreements(task) : leaseNext(task), () => outbox.paths(), {
  changed: (answer) => counter.heard(answer, outbox.waiting.length),
  revoked: () => {
    if (marked.length) return;
    say("Somebody else has decided on this photo.");
    void advance();
  },
});

let marked = []; // labels chosen and not confirmed, the main one first
let several = false;
let shown = false; // whether the photo of `deck.current` is what is on screen

const ifReady = (act) => (shown ? act() : undefined);

// --- what is on screen

async function show(photo, saying = "") {
  shown = false;
  if (photo.state === "loading") notice("Loading …", 150);
  const problem = await photo.ready;
  if (deck.current !== photo) return;
  zoom.show(problem ? null : photo.image);
  photo.image.alt = `Photo of class ${photo.class_name}`;
  notice(problem ? `${problem} It can still be labelled.` : "");
  $("end").hidden = true;
  $("main").dataset.over = "false";
  $("class").textContent = photo.class_name;
  text("before", photo.chosen ? `Before: ${photo.chosen.join(", ")}. Choose again, or press Enter to keep it.` : "");
  drawFlags(photo.flags ?? []);
  releaseCompare();
  drawVotes(photo.votes ?? []);
  marked = [];
  drawChoices();
  shown = true;
  clock.start();
  const again = photo.postponed ? ", which you postponed" : "";
  say(`${saying}${photo.class_name}${again}. ${counter.place()}.`);
}

function drawFlags(flags) {
  $("flags").hidden = !flags.length;
  $("flags").replaceChildren(
    ...flags.map((flag) => {
      const line = element("li", {}, element("span", {}, element("b", {}, flag.reason), ` ${flag.explanation}`));
      if (flag.row) line.append(compareButton(photoAddress(flag.row), "the other photo"));
      return line;
    }),
  );
}

// Shows another picture in place of this photo, and back: two are compared best by blinking.
function compareButton(src, name) {
  const small = element("img", { src, alt: name });
  const button = element("button", { type: "button", class: "compare", "aria-pressed": "false" }, small);
  button.setAttribute("aria-label", `Show ${name}`);
  button.addEventListener("click", () => {
    const other = button.getAttribute("aria-pressed") !== "true";
    releaseCompare();
    button.setAttribute("aria-pressed", String(other));
    zoom.show(other ? small.cloneNode() : deck.current?.image);
  });
  return button;
}

function releaseCompare() {
  for (const button of document.querySelectorAll(".compare")) button.setAttribute("aria-pressed", "false");
}

// Answers have keys that no label has, and no names: who gave them plays no part.
function drawVotes(votes) {
  $("votes")?.replaceChildren(
    ...votes.map((labels, place) => {
      const accept = element("button", { type: "button", class: "vote" });
      const key = $("votes").dataset.keys[place];
      if (key) {
        accept.append(element("kbd", { "aria-hidden": "true" }, key));
        accept.setAttribute("aria-keyshortcuts", key);
      }
      const nth = element("span", { class: "soft" }, `${NTH[place] ?? `Answer ${place + 1}`}:`);
      accept.append(element("span", {}, nth, " ", element("b", {}, labels.join(", "))));
      accept.addEventListener("click", () => ifReady(() => decide(labels)));
      return element("li", {}, accept);
    }),
  );
}

function drawChoices() {
  const photo = deck.current;
  const voted = new Set((photo?.votes ?? []).flat());
  for (const button of buttons) {
    const { label } = button.dataset;
    const place = marked.indexOf(label);
    button.disabled = !photo;
    button.setAttribute("aria-pressed", String(place >= 0));
    button.dataset.place = place >= 0 && marked.length > 1 ? String(place + 1) : "";
    button.classList.toggle("was", Boolean(photo?.chosen?.includes(label)) || voted.has(label));
  }
  for (const id of ["later", "several"]) $(id).disabled = !photo;
  $("confirm").hidden = !(several || marked.length || photo?.chosen);
  $("confirm").disabled = !(marked.length || photo?.chosen);
  $("several").setAttribute("aria-pressed", String(several));
}

// --- what annotators do

function press(label, further) {
  if (further || several) toggle(label);
  else if (task === "review") decide(label === "keep" ? [label] : [label, ...marked.filter(unlike(label, "keep"))]);
  else decide([label, ...marked.filter(unlike(label))]);
}

const unlike =
  (...labels) =>
  (other) =>
    !labels.includes(other);

function toggle(label) {
  if (marked.includes(label)) marked = marked.filter(unlike(label));
  // A photo is kept, or discarded for reasons.
  else if (task === "review" && label === "keep") marked = [label];
  else if (task === "review") marked = [...marked.filter(unlike("keep")), label];
  else marked = [...marked, label];
  drawChoices();
  say(marked.length ? `Chosen: ${marked.join(", ")}.` : "Nothing chosen.");
}

function decide(labels) {
  const photo = deck.current;
  const event = {
    kind: "decide",
    token: newToken(),
    task,
    path: photo.path,
    labels,
    seconds: clock.stop(),
    adjudicates: adjudicating,
  };
  delete photo.chosen;
  delete photo.returned;
  outbox.add(event);
  history.add(photo, event, labels);
  counter.decided(labels, event.seconds);
  void advance(`${labels.join(", ")}. Next: `);
}

async function advance(saying = "") {
  shown = false;
  const photo = await deck.next((failure) => {
    zoom.show(null);
    $("class").textContent = "…";
    for (const id of ["before", "flags"]) $(id).hidden = true;
    drawVotes([]);
    drawChoices();
    notice(failure.message);
  });
  if (photo) await show(photo, saying);
  else if (photo === null) await end();
}

async function end() {
  zoom.show(null);
  notice("");
  $("main").dataset.over = "true";
  $("class").textContent = adjudicating ? "Nothing left" : "All done";
  for (const id of ["before", "flags"]) $(id).hidden = true;
  drawVotes([]);
  drawChoices();
  await finish(adjudicating, task, counter, say, () => advance());
}

function later() {
  const photo = deck.current;
  if (adjudicating) {
    deck.postpone(photo);
    void advance("Later. Next: ");
  } else {
    decide(["later"]);
  }
}

function goBack(photo, labels) {
  deck.swapIn(photo);
  photo.chosen = labels[0] === "later" ? null : labels;
  if (!photo.image) load(photo);
  void show(photo, `Undone: ${labels.join(", ")}. Back to `);
}

function confirm() {
  if (marked.length) decide(marked);
  else if (deck.current.chosen) decide(deck.current.chosen);
}

function setSeveral(on) {
  several = on;
  if (!on) marked = [];
  drawChoices();
}

function takeBack() {
  if (marked.length) say("Nothing chosen.");
  else several = false;
  marked = [];
  drawChoices();
}

// --- keys and buttons

const keysOn = $("keys-on");
const help = $("help");
const byKey = new Map(buttons.filter((b) => b.dataset.key).map((b) => [b.dataset.key, b.dataset.label]));
const commands = {
  u: () => void history.undo(),
  l: () => ifReady(later),
  space: () => ifReady(later),
  enter: () => ifReady(confirm),
  z: () => zoom.toggle(),
  in: () => zoom.by(1.4),
  out: () => zoom.by(1 / 1.4),
  help: () => help.showModal(),
  escape: () => ifReady(takeBack),
};

listen(zoom, keysOn, (name, event) => {
  const label = byKey.get(name);
  if (label !== undefined) return () => ifReady(() => press(label, event.shiftKey));
  const answer = deck.current?.votes?.[$("votes")?.dataset.keys.indexOf(name)];
  if (answer) return () => ifReady(() => decide(answer));
  return commands[name];
});

for (const button of buttons) {
  button.addEventListener("click", (event) => ifReady(() => press(button.dataset.label, event.shiftKey)));
}
const clicks = {
  undo: () => void history.undo(),
  later: () => ifReady(later),
  several: () => ifReady(() => setSeveral(!several)),
  confirm: () => ifReady(confirm),
  hints: () => setHints($("hints").getAttribute("aria-pressed") !== "true"),
  "zoom-in": () => zoom.by(1.4),
  "zoom-out": () => zoom.by(1 / 1.4),
  "zoom-fit": () => zoom.fit(),
  "zoom-full": () => zoom.full(),
  "help-open": () => help.showModal(),
  "trouble-again": () => outbox.again(),
  "trouble-drop": () => outbox.drop(),
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
keepFocus(".panel button, .zoom button");
for (const button of document.querySelectorAll(".undo-adjudication")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await outbox.ask({ kind: "undo", token: newToken(), task, of: Number(button.dataset.id) });
      location.reload();
    } catch (failure) {
      if (!(failure instanceof Refused)) throw failure;
      button.replaceWith(element("span", { role: "status" }, failure.message)); // somebody else was faster
    }
  });
}

const adjudicatedList = document.querySelector(".adjudicated");
adjudicatedList?.addEventListener("toggle", () => adjudicatedList.open && adjudicatedList.scrollIntoView({ block: "nearest" }));

// Where there is no room for the meanings of the labels, they are a tap away.
function setHints(on) {
  $("hints").setAttribute("aria-pressed", String(on));
  $("main").dataset.hints = String(on);
  try {
    localStorage.setItem(HINTS, String(on));
  } catch {
    // Storage is off: the choice holds for this page only.
  }
}

const HINTS = "counterground:hints";
try {
  setHints(localStorage.getItem(HINTS) === "true");
} catch {
  // Storage is off: the choice holds for this page only.
}

// --- one page at a time for each annotator; it renews its leases while it is visible

setInterval(() => !document.hidden && void deck.beat(), BEAT);
document.addEventListener("visibilitychange", () => !document.hidden && void deck.beat());
claimTab(adjudicating ? "adjudicate" : "label");
void outbox.flush();
await advance();
