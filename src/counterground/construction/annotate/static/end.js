// What is shown when no photo is left.
import { duration } from "./clock.js";
import { post, Refused, Unreachable } from "./api.js";

const some = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export async function finish(settling, task, counter, say, goOn) {
  const end = document.getElementById("end");
  end.replaceChildren(document.getElementById("finished").content.cloneNode(true));
  end.hidden = false;
  end.focus({ preventScroll: true });
  const at = (name) => end.querySelector(`.${name}`);
  at("again")?.addEventListener("click", () => {
    end.hidden = true;
    void goOn();
  });
  if (settling) return say("Nothing is in dispute.");
  const pace = counter.pace === null ? "" : `, ${duration(counter.pace)} a photo`;
  at("session").textContent = counter.session
    ? `You decided on ${some(counter.session, "photo")} now, on ${counter.done.toLocaleString("en")} in all${pace}.`
    : `You decided on ${some(counter.done, "photo")} in all.`;
  say(`That was the last photo. ${at("session").textContent}`);
  const rest = await post("rest", { task }).catch((failure) => {
    if (failure instanceof Refused || failure instanceof Unreachable) return null;
    throw failure;
  });
  if (!rest || end.hidden) return;
  const lines = [];
  if (rest.waiting) lines.push(`${some(rest.waiting, "photo")} of yours wait${rest.waiting === 1 ? "s" : ""} for a second annotator.`);
  if (rest.elsewhere) lines.push(`${some(rest.elsewhere, "photo is", "photos are")} on somebody else's screen.`);
  at("rest").textContent = lines.join(" ");
  at("rest").hidden = !lines.length;
  at("another").hidden = !rest.waiting;
  at("disputed").hidden = !rest.disputed;
  at("disputed").firstElementChild.textContent = `Settle ${some(rest.disputed, "disagreement")}`;
  at("again").hidden = !rest.elsewhere;
}
