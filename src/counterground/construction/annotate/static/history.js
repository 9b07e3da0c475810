// What an annotator decided last, and how it is taken back.
import { newToken, page, Refused, Unreachable } from "./api.js";
import { say } from "./dom.js";

const LENGTH = 5; // photos that are kept decoded, to go back to

export class History {
  // `back(photo, labels)` shows a photo again whose decision was undone.
  constructor(outbox, counter, back, adjudicating = false) {
    Object.assign(this, { outbox, counter, back, adjudicating });
    this.made = []; // {photo, event, labels}
    this.running = false;
  }

  add(photo, event, labels) {
    this.made.push({ photo, event, labels });
    const old = this.made.at(-LENGTH - 1)?.photo;
    if (old) for (const heavy of ["image", "maskImage", "drawing"]) delete old[heavy];
  }

  async undo() {
    if (this.running) return;
    this.running = true;
    try {
      const last = this.made.pop();
      if (last) this.#undoHere(last);
      else await this.#undoThere();
    } finally {
      this.running = false;
    }
  }

  #event(of) {
    const more = this.adjudicating ? { adjudicates: true } : {};
    return { kind: "undo", token: newToken(), task: page.task, of, ...more };
  }

  #undoHere({ photo, event, labels }) {
    if (!this.outbox.takeBack(event.token)) this.outbox.add(this.#event(event.token));
    this.counter.undone(labels);
    this.back(photo, labels);
  }

  // After a reload only the server knows the last decision. The undo reaches it after the decisions that are not
  // sent yet, and before those made meanwhile.
  async #undoThere() {
    try {
      const { undone } = await this.outbox.ask(this.#event(null));
      if (!undone) return say("There is nothing to undo.");
      if (this.adjudicating) return location.reload(); // the photo is among the disagreements again
      this.counter.undone(undone.labels);
      this.back(undone.photo, undone.labels);
    } catch (failure) {
      if (!(failure instanceof Refused || failure instanceof Unreachable)) throw failure;
      say(failure.message);
    }
  }
}
