// A mask that is drawn: strokes of a brush and polygons on top of what was there, in pixels of the photo.
// Shapes are kept as shapes, so that any of them can be taken back.

export class Drawing {
  // `base` is a picture whose alpha is the mask, or null: an empty mask.
  constructor(width, height, base) {
    this.base = base;
    this.shapes = []; // {kind: "stroke" | "polygon" | "clear", erases, size, points}
    this.canvas = document.createElement("canvas");
    this.canvas.width = width;
    this.canvas.height = height;
    this.context = this.canvas.getContext("2d");
    this.#redraw();
  }

  get changed() {
    return this.shapes.length > 0;
  }

  // --- strokes, which are seen while they grow

  begin(point, size, erases) {
    this.growing = { kind: "stroke", erases, size, points: [point] };
    this.#draw(this.growing);
  }

  extend(point) {
    const { points } = this.growing;
    const last = points.at(-1);
    if (last.x === point.x && last.y === point.y) return;
    points.push(point);
    this.#draw({ ...this.growing, points: [last, point] });
  }

  end() {
    this.shapes.push(this.growing);
    this.growing = null;
  }

  // Forgets the stroke that is growing.
  cancel() {
    if (!this.growing) return;
    this.growing = null;
    this.#redraw();
  }

  add(shape) {
    this.shapes.push(shape);
    this.#draw(shape);
  }

  undo() {
    if (!this.shapes.pop()) return false;
    this.#redraw();
    return true;
  }

  #redraw() {
    this.context.globalCompositeOperation = "source-over";
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.base) this.context.drawImage(this.base, 0, 0);
    for (const shape of this.shapes) this.#draw(shape);
  }

  #draw({ kind, erases, size, points }) {
    const { context } = this;
    if (kind === "clear") return context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.fillStyle = context.strokeStyle = "white";
    context.beginPath();
    const [{ x, y }] = points;
    if (points.length === 1) {
      context.arc(x, y, size / 2, 0, 2 * Math.PI); // a line without length is not drawn
      return context.fill();
    }
    context.moveTo(x, y);
    for (const point of points) context.lineTo(point.x, point.y);
    if (kind === "polygon") return context.fill();
    Object.assign(context, { lineWidth: size, lineCap: "round", lineJoin: "round" });
    context.stroke();
  }

  // Returns {share, png}: the fraction of the photo that is object, and the mask as a PNG in base64, white is object.
  finish() {
    const { width, height } = this.canvas;
    const flat = Object.assign(document.createElement("canvas"), { width, height });
    const context = flat.getContext("2d", { alpha: false, willReadFrequently: true });
    context.fillRect(0, 0, width, height);
    context.drawImage(this.canvas, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    let inside = 0;
    for (let place = 0; place < data.length; place += 4) inside += data[place] > 127;
    const [kind, png] = flat.toDataURL("image/png").split(",");
    if (!kind.includes("png")) throw new Error("The browser cannot draw a mask of this size.");
    return { share: inside / (width * height), png };
  }
}
