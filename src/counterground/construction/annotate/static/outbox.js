// Events on their way to the server: kept in the browser until the server has confirmed each, in order.
import { page, pause, post, Refused } from "./api.js";

const PREFIX = `counterground:events:${page.pool}:${page.annotator}:`;
const AT_ONCE = 50;
const LENGTH = 500_000; // what is longer goes alone: a drawn mask
const WAITS = [300, 700, 1500, 3000];

// The first events, as many as go into one request.
function together(events) {
  let length = 0;
  const fits = (event) => (length += JSON.stringify(event).length) <= LENGTH;
  const first = events.slice(0, AT_ONCE);
  const end = first.findIndex((event) => !fits(event));
  return end < 0 ? first : first.slice(0, Math.max(1, end));
}

export class Outbox {
  // `notify` is called with {waiting, refused, trouble, stored} whenever that changes.
  constructor(notify) {
    this.events = new Map(); // token -> event, in order
    this.results = new Map(); // token -> {resolve, reject}
    this.dropped = new Set(); // tokens of what was refused and given up
    this.stored = true;
    this.trouble = null;
    this.tries = 0;
    this.running = null;
    this.wake = () => {};
    this.notify = notify;
    this.#load();
    if (this.events.size) this.#report();
    addEventListener("online", () => this.wake());
    document.addEventListener("visibilitychange", () => this.wake());
    addEventListener("beforeunload", (leaving) => {
      if (!this.stored && this.events.size) leaving.preventDefault();
    });
  }

  #load() {
    try {
      const found = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
      const events = found.map((key) => JSON.parse(localStorage.getItem(key)));
      events.sort((one, other) => one.order - other.order);
      for (const event of events) this.events.set(event.token, event);
    } catch {
      this.stored = false;
    }
  }

  #keep(event) {
    try {
      localStorage.setItem(PREFIX + event.token, JSON.stringify(event));
    } catch {
      this.stored = false;
    }
  }

  #forget(token) {
    this.events.delete(token);
    try {
      localStorage.removeItem(PREFIX + token);
    } catch {
      this.stored = false;
    }
  }

  add(event) {
    const last = [...this.events.values()].at(-1)?.order ?? 0;
    const kept = { ...event, order: Math.max(Date.now(), last + 1) };
    this.events.set(kept.token, kept);
    this.#keep(kept);
    this.#report();
    void this.flush();
  }

  // Resolves with the server's answer to the event.
  ask(event) {
    const answer = new Promise((resolve, reject) => this.results.set(event.token, { resolve, reject }));
    this.add(event);
    return answer;
  }

  get waiting() {
    return [...this.events.values()].filter((event) => !event.error);
  }

  get refused() {
    return [...this.events.values()].filter((event) => event.error);
  }

  paths() {
    return this.waiting.filter((event) => event.kind === "decide").map((event) => event.path);
  }

  // Forgets an event that the server refused; what it accepted needs an event that undoes it.
  takeBack(token) {
    if (this.dropped.delete(token)) return true;
    if (!this.events.get(token)?.error) return false;
    this.#forget(token);
    this.#report();
    return true;
  }

  again() {
    for (const event of this.refused) {
      delete event.error;
      this.#keep(event);
    }
    void this.flush();
  }

  drop() {
    for (const { token } of this.refused) {
      this.dropped.add(token);
      this.#forget(token);
    }
    this.#report();
  }

  // Sends until nothing waits; returns when the box is empty.
  flush() {
    this.running ??= this.#run().finally(() => {
      this.running = null;
      if (this.waiting.length) void this.flush();
    });
    return this.running;
  }

  async #run() {
    for (let batch = this.waiting; batch.length; batch = this.waiting) {
      batch = together(batch);
      try {
        const { results } = await post("events", { events: batch.map(({ order, error, ...sent }) => sent) });
        this.trouble = null;
        this.tries = 0;
        for (const result of results) this.#confirm(result);
      } catch (failure) {
        if (failure instanceof Refused) {
          for (const event of batch) this.#confirm({ token: event.token, ok: false, error: failure.message });
        } else {
          this.trouble = failure;
          this.#report();
          await this.#wait();
          continue;
        }
      }
      this.#report();
    }
  }

  #confirm(result) {
    const asked = this.results.get(result.token);
    this.results.delete(result.token);
    if (result.ok) {
      this.#forget(result.token);
      asked?.resolve(result);
    } else if (asked) {
      this.#forget(result.token);
      asked.reject(new Refused(result.error));
    } else {
      const event = this.events.get(result.token);
      const undo = event && this.waiting.find(({ of }) => of === event.token);
      if (undo) {
        // It was taken back before the answer came: neither counts.
        this.#forget(event.token);
        this.#forget(undo.token);
      } else if (event) {
        event.error = result.error;
        this.#keep(event);
      }
    }
  }

  #wait() {
    const wait = WAITS[Math.min(this.tries++, WAITS.length - 1)];
    return Promise.race([pause(wait), new Promise((wake) => (this.wake = wake))]);
  }

  #report() {
    this.notify({
      waiting: this.waiting.length,
      refused: this.refused,
      trouble: this.trouble?.message ?? "",
      stored: this.stored,
    });
  }
}
