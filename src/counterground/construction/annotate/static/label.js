// The page that shows one photo after the other: labelling, and settling disagreements.
import { page, photoAddress, post } from "./api.js";
import { Clock } from "./clock.js";
import { leaseDisagreements, leaseNext } from "./deck.js";
import { $, element, say } from "./dom.js";
import { Session } from "./session.js";

const { task } = page;
const adjudicating = document.body.classList.contains("disagreements");
const buttons = [...document.querySelectorAll(".choice")];

let marked = []; // labels chosen and not confirmed, the main one first
let several = false;
const clock = new Clock();

const session = new Session(adjudicating ? leaseDisagreements(task) : leaseNext(task), {
  kind: adjudicating ? "adjudicate" : "label",
  adjudicating,
  busy: () => marked.length > 0,
  draw(photo) {
    marked = [];
    drawFlags(photo?.flags ?? []);
    drawVotes(photo?.votes ?? []);
    drawChoices();
    if (photo) clock.start();
    return photo?.postponed ? " You postponed it." : "";
  },
  async ended(box) {
    const disputed = box.querySelector(".disputed");
    for (const link of disputed?.querySelectorAll("a") ?? []) {
      const { left } = await post("disagreements", { task: link.dataset.task }).catch(() => ({ left: 0 }));
      link.textContent = `Settle ${left} disagreement${left === 1 ? "" : "s"} (${link.dataset.task})`;
      link.hidden = !left;
      if (left) disputed.hidden = false;
    }
  },
});
const ifReady = (act) => session.ifReady(act);

function drawFlags(flags) {
  $("flags").hidden = !flags.length;
  $("flags").replaceChildren(
    ...flags.map((flag) => {
      const line = element("li", {}, element("span", {}, element("b", {}, flag.reason), ` ${flag.explanation}`));
      if (flag.row) line.append(compareButton(photoAddress(flag.row)));
      return line;
    }),
  );
}

// Shows the other photo in place of this one, and back: two are compared best by blinking.
function compareButton(src) {
  const small = element("img", { src, alt: "the other photo" });
  const attributes = { type: "button", class: "compare", "aria-pressed": "false", "aria-label": "Show the other photo" };
  const button = element("button", attributes, small);
  button.addEventListener("click", () => {
    const other = button.getAttribute("aria-pressed") !== "true";
    for (const each of document.querySelectorAll(".compare")) each.setAttribute("aria-pressed", String(each === button && other));
    session.zoom.show(other ? small.cloneNode() : session.photo?.image);
  });
  return button;
}

// Answers have keys that no label has, and no names: who gave them plays no part.
function drawVotes(votes) {
  $("votes").replaceChildren(
    ...votes.map((labels, place) => {
      const accept = element("button", { type: "button", class: "vote" });
      const key = $("votes").dataset.keys[place];
      if (key) {
        accept.append(element("kbd", { "aria-hidden": "true" }, key));
        accept.setAttribute("aria-keyshortcuts", key);
      }
      const nth = element("span", { class: "soft" }, `Answer ${place + 1}:`);
      accept.append(element("span", {}, nth, " ", element("b", {}, labels.join(", "))));
      accept.addEventListener("click", () => ifReady(() => decide(labels)));
      return element("li", {}, accept);
    }),
  );
}

function drawChoices() {
  const { photo } = session;
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

const keeps = (label) => task === "review" && label === "keep";

// A photo is kept, or discarded for reasons.
const besides = (label) => marked.filter((other) => other !== label && !keeps(other));

function press(label, further) {
  if (!further && !several) return decide(keeps(label) ? [label] : [label, ...besides(label)]);
  if (marked.includes(label)) marked = besides(label);
  else marked = keeps(label) ? [label] : [...besides(label), label];
  drawChoices();
  say(marked.length ? `Chosen: ${marked.join(", ")}.` : "Nothing chosen.");
}

function decide(labels) {
  session.decide(labels, { labels, seconds: clock.stop(), adjudicates: adjudicating });
}

function later() {
  if (!adjudicating) return decide(["later"]);
  session.deck.postpone(session.photo);
  void session.advance("Later. Next: ");
}

function confirm() {
  const labels = marked.length ? marked : session.photo.chosen;
  if (labels) decide(labels);
}

function setSeveral(on) {
  several = on;
  marked = [];
  drawChoices();
}

// --- keys and buttons

const byKey = new Map(buttons.filter((b) => b.dataset.key).map((b) => [b.dataset.key, b.dataset.label]));
const commands = {
  u: () => void session.history.undo(),
  l: () => ifReady(later),
  space: () => ifReady(later),
  enter: () => ifReady(confirm),
  escape: () => ifReady(() => setSeveral(several && marked.length > 0)),
};

for (const button of buttons) {
  button.addEventListener("click", (event) => ifReady(() => press(button.dataset.label, event.shiftKey)));
}
await session.start(
  (name, event) => {
    const label = byKey.get(name);
    if (label !== undefined) return () => ifReady(() => press(label, event.shiftKey));
    const answer = session.photo?.votes?.[$("votes").dataset.keys.indexOf(name)];
    if (answer) return () => ifReady(() => decide(answer));
    return commands[name];
  },
  {
    undo: commands.u,
    later: commands.l,
    several: () => ifReady(() => setSeveral(!several)),
    confirm: commands.enter,
  },
);
