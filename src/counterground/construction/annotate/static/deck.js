// The photos to come: fetched and decoded ahead, so that the next one is there when it is wanted.
import { pause, photoAddress, post, Unreachable } from "./api.js";

const AHEAD = 6;
const LEAST = 4; // asks for more when fewer are ahead: not with every photo

// Starts to load and decode; `photo.ready` resolves with "" or with why the photo cannot be shown.
// A photo with the address of a mask has the same for that: `photo.maskImage`, `photo.maskReady`.
export function load(photo) {
  photo.image = newImage();
  photo.state = "loading";
  photo.ready = decode(photo.image, photoAddress(photo.row)).then((problem) => {
    photo.state = problem ? "broken" : "ready";
    return problem;
  });
  if (!photo.mask) return;
  photo.maskImage = newImage();
  photo.maskReady = decode(photo.maskImage, photo.mask);
}

function newImage() {
  const image = new Image();
  image.draggable = false;
  image.alt = "";
  return image;
}

const decodes = (bytes) =>
  createImageBitmap(bytes).then(
    (bitmap) => (bitmap.close(), true),
    () => false,
  );

async function decode(image, address) {
  for (let tries = 0; ; tries++) {
    image.src = address;
    try {
      await image.decode();
      return "";
    } catch {
      try {
        const answer = await fetch(address);
        if (answer.ok) {
          // The server may have come back since: what it sends now decides.
          const bytes = await answer.blob();
          if (tries > 4 || !(await decodes(bytes))) return "The browser cannot decode this picture.";
        } else if (![401, 409].includes(answer.status)) {
          return (await answer.json()).error;
        }
      } catch {
        // The server is away: the photo is asked for again until it is back.
      }
      await pause(Math.min(3000, 300 * (tries + 1)));
      image.removeAttribute("src");
    }
  }
}

export class Deck {
  // `fetch(leased, count)` returns {photos, revoked, done, left, pace}; `unsent()` the paths decided but not sent.
  constructor(fetch, unsent, { changed, revoked }) {
    this.fetch = fetch;
    this.unsent = unsent;
    this.changed = changed;
    this.currentRevoked = revoked;
    this.current = null;
    this.upcoming = [];
    this.filling = null;
    this.turn = 0;
  }

  // Moves on to the next photo; null when there is none, undefined when the annotator has gone back.
  // Waits while the server is away.
  async next(waiting) {
    const turn = ++this.turn;
    let rounds = 0;
    this.current = null;
    while (!this.upcoming.length) {
      try {
        const unsent = this.unsent().length;
        await this.fill();
        // A photo that was just postponed may come again: only an answer given after that decision ends the queue.
        if (!this.upcoming.length && !unsent) return turn === this.turn ? null : undefined;
        if (!this.upcoming.length) {
          if (++rounds === 10) waiting(new Unreachable("Waiting until the last decision is saved …"));
          await pause(50);
        }
      } catch (failure) {
        if (!(failure instanceof Unreachable)) throw failure;
        waiting(failure);
        await pause(700);
      }
      if (turn !== this.turn) return undefined;
    }
    this.current = this.upcoming.shift();
    this.#prepare();
    if (this.upcoming.length < LEAST) this.fill().catch(() => {});
    return this.current;
  }

  // Puts the photo on screen back, and another one in its place.
  swapIn(photo) {
    this.turn++;
    photo.returned = true;
    this.upcoming = this.upcoming.filter((other) => other.path !== photo.path);
    if (this.current && this.current.path !== photo.path) this.upcoming.unshift(this.current);
    this.current = photo;
    if (!photo.image) load(photo);
  }

  postpone(photo) {
    this.upcoming.push(photo);
  }

  fill() {
    this.filling ??= this.#fill(AHEAD - this.upcoming.length).finally(() => (this.filling = null));
    return this.filling;
  }

  // Tells the server that this page is still there.
  async beat() {
    if (!this.filling) await this.#fill(0).catch(() => {});
  }

  #leased() {
    return [this.current, ...this.upcoming].filter(Boolean).map((photo) => photo.path);
  }

  async #fill(count) {
    const leased = [...new Set([...this.#leased(), ...this.unsent()])];
    const answer = await this.fetch(leased, Math.max(0, count));
    const known = new Set([...this.#leased(), ...this.unsent()]);
    this.upcoming.push(...answer.photos.filter((photo) => !known.has(photo.path)));
    // The server may not have heard yet that a decision was undone: its photo stays.
    const revoked = new Set(answer.revoked ?? []);
    const isRevoked = (photo) => revoked.has(photo.path) && !photo.returned;
    this.upcoming = this.upcoming.filter((photo) => !isRevoked(photo));
    this.#prepare();
    this.changed(answer);
    if (this.current && isRevoked(this.current)) this.currentRevoked();
  }

  #prepare() {
    for (const photo of this.upcoming.slice(0, AHEAD)) if (!photo.image) load(photo);
  }
}

// `more()` returns further fields of the request.
export const leaseNext = (task, more = () => ({})) => (leased, count) => post("next", { task, leased, count, ...more() });

// All disagreements come at once; nothing comes after them.
export function leaseDisagreements(task) {
  let asked = false;
  return async () => {
    if (asked) return { photos: [] };
    const answer = await post("disagreements", { task });
    asked = true;
    return answer;
  };
}
