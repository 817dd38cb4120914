// Pictures as the model sees them: of its size, pixel by pixel.

/** A file's content as an address. */
export function addressOf(file) {
  return new Promise((resolve, reject) => {
    const reader = Object.assign(new FileReader(), { onload: () => resolve(reader.result), onerror: reject });
    reader.readAsDataURL(file);
  });
}

/** A canvas of the model's size with the middle of a picture, scaled where it is larger or smaller. */
export async function fitted(source, side) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = newCanvas(side);
  const cut = Math.min(image.naturalWidth, image.naturalHeight);
  const [left, top] = [(image.naturalWidth - cut) / 2, (image.naturalHeight - cut) / 2];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, left, top, cut, cut, 0, 0, side, side);
  return { canvas, isOwnSize: image.naturalWidth === side && image.naturalHeight === side };
}

export function newCanvas(side) {
  return Object.assign(document.createElement("canvas"), { width: side, height: side });
}

export function asPng(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** Draws where two pictures differ: the more, the lighter; the largest difference is white. */
export async function drawDifference(target, before, after, side) {
  const [first, second] = await Promise.all([before, after].map((source) => pixelsOf(source, side)));
  const changes = new Uint8ClampedArray(first.length);
  let most = 1;
  for (let at = 0; at < first.length; at++) if (at % 4 < 3) most = Math.max(most, Math.abs(first[at] - second[at]));
  for (let at = 0; at < first.length; at++) {
    changes[at] = at % 4 === 3 ? 255 : (255 * Math.abs(first[at] - second[at])) / most;
  }
  Object.assign(target, { width: side, height: side });
  target.getContext("2d").putImageData(new ImageData(changes, side, side), 0, 0);
}

async function pixelsOf(source, side) {
  const { canvas } = await fitted(source, side);
  return canvas.getContext("2d").getImageData(0, 0, side, side).data;
}
