// Shows whether everything is saved, and keeps a second page of the same annotator from deciding too.
import { page } from "./api.js";

const $ = (id) => document.getElementById(id);

const SLOW = 1500; // what is saved faster than this is not read aloud
let timer = 0;
let troubled = false;

export function showSaved({ waiting, refused, why, message, stored }) {
  const state = refused.length ? "refused" : !waiting ? "saved" : why === null ? "sending" : "away";
  const pill = $("saved");
  const words = {
    refused: `${refused.length} not accepted`,
    away: `${waiting} not saved yet`,
    sending: "Saving …",
    saved: "Saved",
  }[state];
  const many = `${waiting} decision${waiting === 1 ? "" : "s"}`;
  const kept = stored ? `${many} kept in this browser will be sent as soon as possible.` : "Leave this page open.";
  const more = state === "away" ? `${message} ${kept}` : "";
  if (!pill.hidden && pill.dataset.words === words + more) return;
  Object.assign(pill.dataset, { state, words: words + more });
  pill.hidden = false;
  pill.replaceChildren(state === "refused" ? openTrouble(words, refused) : words);
  if ($("away")) {
    $("away").textContent = more;
    $("away").hidden = !more;
  }
  clearTimeout(timer);
  timer = setTimeout(() => speak(state, `${words}. ${more}`), SLOW);
}

// Only trouble and its end are read aloud: each decision is read with the next photo.
function speak(state, words) {
  const trouble = state !== "saved";
  if (trouble || troubled) $("saved-said").textContent = words;
  troubled = trouble;
}

function element(name, words) {
  const made = document.createElement(name);
  made.textContent = words;
  return made;
}

function openTrouble(words, refused) {
  const button = element("button", words);
  button.type = "button";
  button.className = "quiet";
  button.addEventListener("click", () => {
    $("trouble-list").replaceChildren(
      ...refused.map((event) => element("li", `${(event.labels ?? [event.verdict ?? "undo"]).join(", ")}: ${event.error}`)),
    );
    $("trouble").showModal();
  });
  for (const id of ["trouble-again", "trouble-drop"]) $(id).onclick = () => $("trouble").close();
  return button;
}

// Of several pages of one annotator the one opened last labels; it makes the others stand still.
export function claimTab(kind) {
  const channel = new BroadcastChannel(`counterground:${page.pool}:${page.annotator}:${page.task}:${kind}`);
  channel.postMessage("opened");
  channel.addEventListener("message", () => {
    channel.close();
    const box = document.createElement("dialog");
    box.append(
      element("h2", "Open in another tab"),
      element("p", "Labelling continues in the tab that was opened last. Nothing is lost."),
    );
    const here = element("button", "Continue here");
    here.className = "primary";
    here.addEventListener("click", () => location.reload());
    box.append(here);
    box.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(box);
    box.showModal();
  });
}
