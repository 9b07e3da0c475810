// One photo in a frame: fitted, or larger, and then moved about.
//
// `tool` draws on it: {down(point, erases), move(point), up(point), leave(), cancel()}, points in pixels of the frame.
// One finger, the left button or a pen are then the tool's; two fingers, the middle button and the wheel are not.
// `placed` is called whenever the photo has moved.

const MOST = 12;
const MOST_FIT = 4; // small photos are enlarged to be seen, but not to a blur

export class Zoom {
  constructor(view) {
    this.view = view;
    this.image = null;
    this.fitted = true;
    this.pointers = new Map();
    this.tool = null;
    this.drawing = null; // the pointer that draws
    this.placed = () => {};
    new ResizeObserver(() => (this.fitted ? this.fit() : this.#place())).observe(view);
    view.addEventListener("pointerdown", (event) => this.#down(event));
    view.addEventListener("pointermove", (event) => this.#move(event));
    view.addEventListener("pointerleave", () => this.tool?.leave());
    for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, (event) => this.#up(event));
    view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  show(image) {
    this.image = image;
    this.view.replaceChildren(...(image ? [image] : []));
    if (image) this.fit();
  }

  get size() {
    return { width: this.image?.naturalWidth || 1, height: this.image?.naturalHeight || 1 };
  }

  get fitScale() {
    const { width, height } = this.size;
    return Math.min(this.view.clientWidth / width, this.view.clientHeight / height, MOST_FIT);
  }

  fit() {
    this.fitted = true;
    this.scale = this.fitScale;
    this.x = this.y = 0;
    this.#place();
  }

  toggle(point = null) {
    if (!this.fitted) this.fit();
    else this.#to(Math.max(1, 2 * this.fitScale), point);
  }

  by(factor, point = null) {
    this.#to(this.scale * factor, point);
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#place();
  }

  // A point of the frame in pixels of the photo, and back.
  toPhoto({ x, y }) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  toFrame({ x, y }) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }

  // Keeps the point of the photo under `point` (relative to the frame's corner) where it is.
  #to(wanted, point) {
    if (!this.image) return;
    const least = Math.min(1, this.fitScale);
    const scale = Math.min(MOST, Math.max(least, wanted));
    const at = point ?? { x: this.view.clientWidth / 2, y: this.view.clientHeight / 2 };
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = Math.abs(scale - this.fitScale) < 1e-3;
    this.#place();
  }

  #place() {
    if (!this.image) return;
    const { width, height } = this.size;
    this.x = clamp(this.x, this.view.clientWidth, width * this.scale);
    this.y = clamp(this.y, this.view.clientHeight, height * this.scale);
    const style = this.image.style;
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.view.dataset.zoomed = String(!this.fitted);
    this.placed();
  }

  #point(event) {
    const box = this.view.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #down(event) {
    if (event.button !== 0 && !(this.tool && [1, 5].includes(event.button))) return; // 1: middle, 5: a pen's eraser
    this.view.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#point(event));
    if (this.tool && event.button !== 1) {
      if (this.pointers.size === 1) {
        this.drawing = event.pointerId;
        return this.tool.down(this.#point(event), event.button === 5);
      }
      this.tool.cancel(); // a second finger: they zoom
      this.drawing = null;
    }
    this.moved = this.pointers.size > 1;
    this.start = this.#point(event);
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    const now = this.#point(event);
    if (this.tool && (!before || this.drawing === event.pointerId)) {
      const all = event.getCoalescedEvents?.() ?? [];
      for (const each of all.length ? all : [event]) this.tool.move(this.#point(each));
      if (before) this.pointers.set(event.pointerId, now);
    }
    if (!before || this.drawing === event.pointerId) return;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    if (Math.hypot(now.x - this.start.x, now.y - this.start.y) > 5) this.moved = true;
    if (others.length) {
      const [fixed] = others;
      const factor = distance(now, fixed) / Math.max(1, distance(before, fixed));
      this.by(factor, { x: (now.x + fixed.x) / 2, y: (now.y + fixed.y) / 2 });
      if (!this.fitted) this.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    } else if (!this.fitted && this.moved) {
      this.pan(now.x - before.x, now.y - before.y);
    }
    this.pointers.set(event.pointerId, now);
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.drawing === event.pointerId) {
      this.drawing = null;
      if (event.type === "pointercancel") this.tool?.cancel();
      else this.tool?.up(this.#point(event));
      return;
    }
    if (this.tool) return;
    if (event.type === "pointerup" && !this.moved && !this.pointers.size) this.toggle(this.#point(event));
  }

  #wheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    this.by(Math.exp(-pixels * 0.0015), this.#point(event));
  }
}

const distance = (one, other) => Math.hypot(one.x - other.x, one.y - other.y);

// A photo smaller than its frame stands in the middle, a larger one never leaves a gap.
function clamp(at, frame, length) {
  return length <= frame ? (frame - length) / 2 : Math.min(0, Math.max(frame - length, at));
}
