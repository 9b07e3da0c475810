// How many photos are decided, and how many are left.

export class Counter {
  constructor() {
    this.done = this.left = this.session = 0;
  }

  // Takes over the server's figures, unless it has not heard of everything yet.
  heard({ done = this.done, left }, unsent) {
    if (left !== undefined && !unsent) this.#set(done, left, this.session);
  }

  decided(labels) {
    if (labels[0] !== "later") this.#set(this.done + 1, Math.max(0, this.left - 1), this.session + 1);
  }

  undone(labels) {
    if (labels[0] !== "later") this.#set(Math.max(0, this.done - 1), this.left + 1, Math.max(0, this.session - 1));
  }

  #set(done, left, session) {
    Object.assign(this, { done, left, session });
    const bar = document.getElementById("bar");
    bar.max = Math.max(1, done + left);
    bar.value = done;
    const words = `${done.toLocaleString("en")} of ${(done + left).toLocaleString("en")}`;
    document.getElementById("count").textContent = words;
  }

  place() {
    return `Photo ${this.done + 1} of ${this.done + this.left}`;
  }
}
