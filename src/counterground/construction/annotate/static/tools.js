// The tools that draw a mask: a brush and a polygon, each adding or erasing. Works with mouse, touch and pen.

const CLOSE = 14; // pixels of the frame within which a click closes a polygon
const TWICE = 4;

export class Tools {
  // `changed` is called when the drawing or a choice has changed.
  constructor(zoom, overlay, changed) {
    Object.assign(this, { zoom, overlay, changed });
    this.drawing = null;
    this.kind = "brush"; // "polygon", "move"
    this.erasing = false;
    this.size = 24; // of the brush, in pixels of the frame
  }

  // Ends the growing stroke where it is: another command came before the pen was lifted.
  settle() {
    if (this.drawing?.growing) this.drawing.end();
  }

  start(drawing) {
    this.drawing = drawing;
    this.overlay.mask = drawing.canvas;
    this.choose("brush");
  }

  stop() {
    this.settle();
    this.drawing = this.zoom.tool = this.overlay.pointer = null;
    this.overlay.path = [];
    this.overlay.brush = 0;
    this.zoom.view.dataset.tool = "";
    this.changed();
  }

  choose(kind) {
    this.settle();
    if (kind !== "polygon") this.overlay.path = [];
    this.kind = kind;
    this.zoom.tool = { brush: this.#brush, polygon: this.#polygon, move: null }[kind];
    this.zoom.view.dataset.tool = kind;
    if (kind === "move") this.overlay.pointer = null;
    this.#update();
  }

  erase(on) {
    this.erasing = on;
    this.#update();
  }

  resize(size) {
    this.size = Math.round(Math.min(200, Math.max(2, size)));
    this.#update();
  }

  // Takes back the last corner of a polygon that is not closed, else the last shape.
  undo() {
    this.settle();
    if (this.overlay.path.pop()) return this.#update(), true;
    const undone = this.drawing.undo();
    this.#update();
    return undone;
  }

  clear() {
    this.settle();
    this.overlay.path = [];
    this.drawing.add({ kind: "clear" });
    this.#update();
  }

  get open() {
    return this.overlay.path.length > 0;
  }

  get canClose() {
    return this.overlay.path.length > 2;
  }

  close() {
    if (!this.canClose) return;
    this.drawing.add({ kind: "polygon", erases: this.erasing, points: this.overlay.path });
    this.overlay.path = [];
    this.#update();
  }

  abandon() {
    this.overlay.path = [];
    this.#update();
  }

  #update() {
    this.overlay.brush = this.kind === "brush" ? this.size : 0;
    this.overlay.draw();
    this.changed();
  }

  #hover(point) {
    this.overlay.pointer = point;
    this.overlay.draw();
  }

  #brush = {
    leave: () => this.#hover(null),
    down: (point, erases) => {
      this.#hover(point);
      this.drawing.begin(this.zoom.toPhoto(point), this.size / this.zoom.scale, erases || this.erasing);
    },
    move: (point) => {
      if (this.drawing.growing) this.drawing.extend(this.zoom.toPhoto(point));
      this.#hover(point);
    },
    up: () => {
      if (this.drawing.growing) this.drawing.end();
      this.#update();
    },
    cancel: () => {
      this.drawing.cancel();
      this.#update();
    },
  };

  #polygon = {
    leave: () => this.#hover(null),
    down: (point) => this.#hover(point),
    move: (point) => this.#hover(point),
    up: (point) => {
      const { path } = this.overlay;
      const near = (corner, limit = CLOSE) => Math.hypot(corner.x - point.x, corner.y - point.y) < limit;
      if (this.canClose && near(this.zoom.toFrame(path[0]))) return this.close();
      // The second click of two on one place ends it, too.
      if (path.length && near(this.zoom.toFrame(path.at(-1)), TWICE)) return this.close();
      path.push(this.zoom.toPhoto(point));
      this.#update();
    },
    cancel: () => this.#hover(null),
  };
}
