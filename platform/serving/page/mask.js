// The brush: paints on a canvas of the model's size what may change. By mouse, finger or keys.

const PAINT = "rgb(20 150 110 / 55%)";
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Mask {
  /**
   * `canvas` lies over the picture; `size` tells how many pixels wide the brush is. `changed` is called after a stroke;
   * where keys move the brush, with words for where it is and how much is painted.
   */
  constructor(canvas, size, changed) {
    Object.assign(this, { canvas, size, changed, side: 0, painted: new Set(), at: [0, 0] });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.paintUnder(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && this.paintUnder(event));
    canvas.addEventListener("keydown", (event) => this.press(event));
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.draw());
  }

  reset(side) {
    Object.assign(this, { side, at: [side >> 1, side >> 1] });
    Object.assign(this.canvas, { width: side, height: side });
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
    this.at = [clientX - left, clientY - top].map((way) => this.within(Math.floor((way / width) * this.side)));
    this.paint();
  }

  press(event) {
    if (event.key in MOVES) {
      const [across, down] = MOVES[event.key];
      this.at = [this.within(this.at[0] + across), this.within(this.at[1] + down)];
      if (event.shiftKey) this.paint();
      else this.draw();
    } else if (event.key === " ") this.paint();
    else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
    const [column, row] = this.at;
    this.changed(`Column ${column + 1}, row ${row + 1}. ${this.painted.size} of ${this.side ** 2} pixels may change.`);
  }

  within(place) {
    return Math.min(this.side - 1, Math.max(0, place));
  }

  paint() {
    const reach = this.size() / 2;
    for (let y = 0; y < this.side; y++) {
      for (let x = 0; x < this.side; x++) {
        if (Math.hypot(x - this.at[0], y - this.at[1]) < reach) this.painted.add(y * this.side + x);
      }
    }
    this.draw();
    this.changed();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, this.side, this.side);
    context.fillStyle = PAINT;
    for (const at of this.painted) context.fillRect(at % this.side, Math.floor(at / this.side), 1, 1);
    if (!this.canvas.matches(":focus-visible")) return;
    context.fillStyle = "rgb(255 255 255 / 80%)";
    context.fillRect(this.at[0], this.at[1], 1, 1);
  }

  /** Takes up what `asPicture` gave. */
  take(picture) {
    const { data } = picture.getContext("2d").getImageData(0, 0, this.side, this.side);
    for (let at = 0; at < this.side ** 2; at++) if (data[4 * at + 3] === 0) this.painted.add(at);
    this.draw();
    this.changed();
  }

  /** As OpenAI has it: transparent where the image may change. */
  asPicture() {
    const pixels = new Uint8ClampedArray(4 * this.side ** 2).fill(255);
    for (const at of this.painted) pixels[4 * at + 3] = 0;
    const canvas = Object.assign(document.createElement("canvas"), { width: this.side, height: this.side });
    canvas.getContext("2d").putImageData(new ImageData(pixels, this.side, this.side), 0, 0);
    return canvas;
  }
}
