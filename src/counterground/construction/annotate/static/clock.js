// Seconds a photo is on screen; stands still while the page is hidden.

const MOST = 1e6; // more, after days, the server would refuse

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
    return Math.min(MOST, Math.round(this.total / 10) / 100);
  }

  #turn(on) {
    const now = performance.now();
    if (this.since !== null) this.total += now - this.since;
    this.since = on ? now : null;
  }
}

export function duration(seconds) {
  if (seconds < 90) return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
