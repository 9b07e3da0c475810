// What is shown when no photo is left.
import { duration } from "./clock.js";
import { post, Refused, Unreachable } from "./api.js";

const some = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export async function finish(adjudicating, task, counter, say, goOn) {
  const end = document.getElementById("end");
  end.replaceChildren(document.getElementById("finished").content.cloneNode(true));
  end.hidden = false;
  end.focus({ preventScroll: true });
  const at = (name) => end.querySelector(`.${name}`);
  at("again")?.addEventListener("click", () => {
    end.hidden = true;
    void goOn();
  });
  if (adjudicating) return say("There are no disagreements left.");
  const pace = counter.pace === null ? "" : `, ${duration(counter.pace)} per photo`;
  at("session").textContent = counter.session
    ? `You decided on ${some(counter.session, "photo")} in this session, ${counter.done.toLocaleString("en")} in total${pace}.`
    : `You decided on ${some(counter.done, "photo")} in total.`;
  say(`That was the last photo. ${at("session").textContent}`);
  const remaining = await post("remaining", { task }).catch((failure) => {
    if (failure instanceof Refused || failure instanceof Unreachable) return null;
    throw failure;
  });
  if (!remaining || end.hidden) return;
  const lines = [];
  if (remaining.waiting) lines.push(`${remaining.waiting.toLocaleString("en")} of your photos await${remaining.waiting === 1 ? "s" : ""} a second annotator.`);
  if (remaining.elsewhere) lines.push(`${some(remaining.elsewhere, "photo is", "photos are")} on somebody else's screen.`);
  at("remaining").textContent = lines.join(" ");
  at("remaining").hidden = !lines.length;
  at("alone").hidden = !remaining.alone;
  at("another").hidden = !(remaining.alone || remaining.waiting);
  for (const link of at("disputed").querySelectorAll("a")) {
    const count = remaining.disagreements[link.dataset.task];
    link.textContent = `Settle ${some(count, "disagreement")} (${link.dataset.task})`;
    link.hidden = !count;
    if (count) at("disputed").hidden = false;
  }
  at("next")?.classList.toggle("primary", at("disputed").hidden);
  at("again").hidden = !remaining.elsewhere;
}
