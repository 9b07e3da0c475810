// Seconds a photo is on screen; stands still while the page is hidden.

export class Clock {
  constructor() {
    this.total = 0;
    this.since = null;
    document.addEventListener("visibilitychange", () => this.#turn(!document.hidden && this.running));
  }

  start() {
    this.total = 0;
    this.since = null;
    this.running = true;
    this.#turn(!document.hidden);
  }

  // Returns the seconds since the start, to the hundredth.
  stop() {
    this.#turn(false);
    this.running = false;
    return Math.round(this.total / 10) / 100;
  }

  #turn(on) {
    const now = performance.now();
    if (this.since !== null) this.total += now - this.since;
    this.since = on ? now : null;
  }
}
