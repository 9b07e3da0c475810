// How many photos, how fast, and how long it will take.
import { duration, median } from "./clock.js";

const disagreements = (left) => `${left.toLocaleString("en")} disagreement${left === 1 ? "" : "s"} left`;

export class Counter {
  constructor(adjudicating) {
    this.adjudicating = adjudicating;
    this.done = 0;
    this.left = 0;
    this.pace = null;
    this.seconds = [];
    this.session = 0;
  }

  // Takes over the server's figures, unless it has not heard of everything yet.
  heard(answer, unsent) {
    if (answer.left === undefined) return;
    if (!unsent) {
      this.done = answer.done ?? this.done;
      this.left = answer.left;
    }
    this.pace ??= answer.pace ?? null;
    this.draw();
  }

  decided(labels, seconds) {
    if (labels[0] === "later") return;
    this.done++;
    this.left = Math.max(0, this.left - 1);
    this.session++;
    this.seconds.push(seconds);
    this.pace = median(this.seconds.slice(-50));
    this.draw();
  }

  undone(labels) {
    if (labels[0] === "later") return;
    this.done = Math.max(0, this.done - 1);
    this.left++;
    this.session = Math.max(0, this.session - 1);
    this.seconds.pop();
    this.draw();
  }

  place() {
    return this.adjudicating ? disagreements(this.left) : `Photo ${this.done + 1} of ${this.done + this.left}`;
  }

  draw() {
    const bar = document.getElementById("bar");
    bar.max = Math.max(1, this.done + this.left);
    bar.value = this.done;
    const all = (this.done + this.left).toLocaleString("en");
    const parts = this.adjudicating
      ? [disagreements(this.left)]
      : [`${this.done.toLocaleString("en")} of ${all}`];
    if (this.pace !== null) {
      parts.push(`${duration(this.pace)} per photo`);
      if (this.left) parts.push(`about ${duration(this.pace * this.left)} left`);
    }
    document.getElementById("count").textContent = parts.join(" · ");
  }
}
