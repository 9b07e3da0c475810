// Shows whether everything is saved, and keeps a second page of the same annotator from deciding too.
import { page } from "./api.js";
import { $, element, text } from "./dom.js";

let troubled = false;

export function showSaved({ waiting, refused, trouble, stored }) {
  const state = refused.length ? "refused" : !waiting ? "saved" : trouble ? "away" : "sending";
  const pill = $("saved");
  const words = {
    refused: `${refused.length} not accepted`,
    away: `${waiting} not saved yet`,
    sending: "Saving …",
    saved: "Saved",
  }[state];
  const many = `${waiting} decision${waiting === 1 ? "" : "s"}`;
  const kept = stored ? `${many} kept in this browser will be sent as soon as possible.` : "Leave this page open.";
  const more = state === "away" ? `${trouble} ${kept}` : "";
  if (!pill.hidden && pill.dataset.words === words + more) return;
  Object.assign(pill.dataset, { state, words: words + more });
  pill.hidden = false;
  pill.replaceChildren(state === "refused" ? openTrouble(words, refused) : words);
  text("away", more);
  // Only trouble and its end are read aloud: each decision is read with the next photo.
  if (state === "sending") return;
  if (state !== "saved" || troubled) $("saved-said").textContent = `${words}. ${more}`;
  troubled = state !== "saved";
}

function openTrouble(words, refused) {
  const button = element("button", { type: "button", class: "quiet" }, words);
  button.addEventListener("click", () => {
    $("trouble-list").replaceChildren(
      ...refused.map((event) => element("li", {}, `${(event.labels ?? [event.verdict ?? "undo"]).join(", ")}: ${event.error}`)),
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
    const here = element("button", { class: "primary" }, "Continue here");
    here.addEventListener("click", () => location.reload());
    const words = "Labelling continues in the tab that was opened last. Nothing is lost.";
    const box = element("dialog", {}, element("h2", {}, "Open in another tab"), element("p", {}, words), here);
    box.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(box);
    box.showModal();
  });
}
