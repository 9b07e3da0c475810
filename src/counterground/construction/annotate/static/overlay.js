// A mask over its photo: everything but the object is tinted, and the object has an outline, at every zoom.
// The polygon that is not closed yet and the brush are drawn on top.

const TINT = "rgb(214 0 122 / .5)"; // a colour that photos seldom have
const DARK = "rgb(20 20 20 / .85)";
const LIGHT = "#fff";
const EIGHT = [[1, 0], [-1, 0], [0, 1], [0, -1], [0.7, 0.7], [-0.7, 0.7], [0.7, -0.7], [-0.7, -0.7]];

export class Overlay {
  constructor(canvas, zoom) {
    this.canvas = canvas;
    this.zoom = zoom;
    this.mask = null; // anything that can be drawn, whose alpha is the mask
    this.shown = "all"; // "outline", "none"
    this.path = []; // corners of a polygon, in pixels of the photo
    this.pointer = null; // where the pen is, in pixels of the frame
    this.brush = 0; // its diameter there
    this.asked = 0;
    this.silhouette = document.createElement("canvas");
    this.line = document.createElement("canvas");
    zoom.placed = () => this.draw();
  }

  // Draws with the next frame, however often it is called.
  draw() {
    this.asked ||= requestAnimationFrame(() => {
      this.asked = 0;
      this.#draw();
    });
  }

  #draw() {
    const { zoom, canvas } = this;
    const ratio = devicePixelRatio || 1;
    const width = Math.round(zoom.view.clientWidth * ratio);
    const height = Math.round(zoom.view.clientHeight * ratio);
    for (const each of [canvas, this.silhouette, this.line]) {
      if (each.width !== width) each.width = width;
      if (each.height !== height) each.height = height;
    }
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!zoom.image) return;
    if (this.mask && this.shown !== "none") this.#drawMask(context, ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#drawPath(context);
    this.#drawBrush(context);
  }

  #drawMask(context, ratio) {
    const { zoom, silhouette, line } = this;
    const { width, height } = zoom.size;
    const place = [zoom.x, zoom.y, width * zoom.scale, height * zoom.scale].map((length) => length * ratio);
    const inside = fresh(silhouette);
    inside.drawImage(this.mask, ...place);
    if (this.shown === "all") {
      const outside = fresh(line);
      outside.fillStyle = TINT;
      outside.fillRect(...place);
      outside.globalCompositeOperation = "destination-out";
      outside.drawImage(silhouette, 0, 0);
      context.drawImage(line, 0, 0);
    }
    for (const [colour, radius] of [[DARK, 2.5], [LIGHT, 1.5]]) {
      const around = fresh(line);
      for (const [x, y] of EIGHT) around.drawImage(silhouette, x * radius * ratio, y * radius * ratio);
      around.globalCompositeOperation = "destination-out";
      around.drawImage(silhouette, 0, 0);
      around.globalCompositeOperation = "source-in";
      around.fillStyle = colour;
      around.fillRect(0, 0, line.width, line.height);
      context.drawImage(line, 0, 0);
    }
  }

  #drawPath(context) {
    const corners = this.path.map((point) => this.zoom.toFrame(point));
    if (!corners.length) return;
    context.beginPath();
    for (const { x, y } of this.pointer ? [...corners, this.pointer] : corners) context.lineTo(x, y);
    outline(context, 2);
    corners.forEach(({ x, y }, place) => {
      context.beginPath();
      context.arc(x, y, place ? 4 : 7, 0, 2 * Math.PI); // the first is where it closes
      context.fillStyle = place ? LIGHT : TINT;
      context.fill();
      outline(context, 1);
    });
  }

  #drawBrush(context) {
    if (!this.pointer || !this.brush) return;
    context.beginPath();
    context.arc(this.pointer.x, this.pointer.y, this.brush / 2, 0, 2 * Math.PI);
    outline(context, 1.5);
  }
}

// Strokes the path in light on dark: it is seen on any photo.
function outline(context, width) {
  for (const [strokeStyle, lineWidth] of [[DARK, width + 2], [LIGHT, width]]) {
    Object.assign(context, { strokeStyle, lineWidth, lineJoin: "round" });
    context.stroke();
  }
}

function fresh(canvas) {
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}
