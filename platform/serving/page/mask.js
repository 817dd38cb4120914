// The brush: paints on a canvas of the image's size what may change. By mouse, finger or keys.

import { newCanvas } from "./picture.js";

const PAINT = [20, 150, 110, 140]; // red, green, blue, alpha
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Mask {
  /**
   * `canvas` lies over the picture; `size` tells how many pixels wide the brush is. `changed` is called after a stroke;
   * where keys move the brush, with words for where it is and how much is painted.
   */
  constructor(canvas, size, changed) {
    Object.assign(this, { canvas, size, changed, painted: new Set(), at: [0, 0] });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.paintUnder(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && this.paintUnder(event));
    canvas.addEventListener("keydown", (event) => this.press(event));
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.draw());
  }

  reset({ width, height }) {
    this.at = [width >> 1, height >> 1];
    Object.assign(this.canvas, { width, height });
    this.clear();
  }

  clear() {
    this.painted.clear();
    this.draw();
    this.changed();
  }

  get isEmpty() {
    return this.painted.size === 0;
  }

  paintUnder({ clientX, clientY }) {
    const { left, top, width } = this.canvas.getBoundingClientRect();
    this.moveTo([clientX - left, clientY - top].map((way) => Math.floor((way / width) * this.canvas.width)));
    this.paint();
  }

  press(event) {
    if (event.key in MOVES) {
      const [across, down] = MOVES[event.key];
      this.moveTo([this.at[0] + across, this.at[1] + down]);
      if (event.shiftKey) this.paint();
      else this.draw();
    } else if (event.key === " ") this.paint();
    else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
    const [column, row] = this.at;
    const { width, height } = this.canvas;
    this.changed(`Column ${column + 1}, row ${row + 1}. ${this.painted.size} of ${width * height} pixels may change.`);
  }

  /** The pixel there, or the nearest to it. */
  moveTo(place) {
    const last = [this.canvas.width - 1, this.canvas.height - 1];
    this.at = place.map((way, axis) => Math.min(last[axis], Math.max(0, way)));
  }

  paint() {
    const reach = this.size() / 2;
    const { width, height } = this.canvas;
    const [firstX, firstY] = this.at.map((way) => Math.max(0, Math.ceil(way - reach)));
    const [lastX, lastY] = [Math.min(width - 1, this.at[0] + reach), Math.min(height - 1, this.at[1] + reach)];
    for (let y = firstY; y <= lastY; y++) {
      for (let x = firstX; x <= lastX; x++) {
        if (Math.hypot(x - this.at[0], y - this.at[1]) < reach) this.painted.add(y * width + x);
      }
    }
    this.draw();
    this.changed();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const pixels = new ImageData(this.canvas.width, this.canvas.height);
    for (const at of this.painted) pixels.data.set(PAINT, 4 * at);
    context.putImageData(pixels, 0, 0);
    if (!this.canvas.matches(":focus-visible")) return;
    context.fillStyle = "rgb(255 255 255 / 80%)";
    context.fillRect(this.at[0], this.at[1], 1, 1);
  }

  /** Takes up what `asPicture` gave. */
  take(picture) {
    const { data } = picture.getContext("2d").getImageData(0, 0, picture.width, picture.height);
    for (let at = 0; at < data.length / 4; at++) if (data[4 * at + 3] === 0) this.painted.add(at);
    this.draw();
    this.changed();
  }

  /** As OpenAI has it: transparent where the image may change. */
  asPicture() {
    const picture = newCanvas(this.canvas);
    const pixels = new ImageData(picture.width, picture.height);
    pixels.data.fill(255);
    for (const at of this.painted) pixels.data[4 * at + 3] = 0;
    picture.getContext("2d").putImageData(pixels, 0, 0);
    return picture;
  }
}
