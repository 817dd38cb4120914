// Pictures as the model sees them: of one of its sizes, pixel by pixel.

/** Width and height in pixels, of what the endpoint writes as `1280x768`. */
export function sizeOf(said) {
  const [width, height] = said.split("x").map(Number);
  return { width, height };
}

/** A file's content as an address. */
export function addressOf(file) {
  return new Promise((resolve, reject) => {
    const reader = Object.assign(new FileReader(), { onload: () => resolve(reader.result), onerror: reject });
    reader.readAsDataURL(file);
  });
}

/** A canvas of that of the sizes which least is cut off for: the middle of a picture, scaled where it is not as large. */
export async function fitted(source, sizes) {
  const image = await decoded(source);
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const size = nearest(width / height, sizes);
  const scale = Math.min(width / size.width, height / size.height);
  const [across, down] = [scale * size.width, scale * size.height];
  const canvas = newCanvas(size);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (width - across) / 2, (height - down) / 2, across, down, 0, 0, size.width, size.height);
  return { canvas, isOwnSize: width === size.width && height === size.height };
}

function nearest(proportion, sizes) {
  const farness = ({ width, height }) => Math.abs(Math.log(width / height / proportion));
  return sizes.reduce((best, size) => (farness(size) < farness(best) ? size : best));
}

async function decoded(source) {
  const image = Object.assign(new Image(), { src: source });
  await image.decode();
  return image;
}

export function newCanvas({ width, height }) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

export function asPng(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** Draws where two pictures differ: the more, the lighter; the largest difference is white. */
export async function drawDifference(target, before, after) {
  const [{ data: first, width, height }, { data: second }] = await Promise.all([before, after].map(pixelsOf));
  const changes = new Uint8ClampedArray(first.length);
  let most = 1;
  for (let at = 0; at < first.length; at++) if (at % 4 < 3) most = Math.max(most, Math.abs(first[at] - second[at]));
  for (let at = 0; at < first.length; at++) {
    changes[at] = at % 4 === 3 ? 255 : (255 * Math.abs(first[at] - second[at])) / most;
  }
  Object.assign(target, { width, height });
  target.getContext("2d").putImageData(new ImageData(changes, width, height), 0, 0);
}

async function pixelsOf(source) {
  const image = await decoded(source);
  const size = { width: image.naturalWidth, height: image.naturalHeight };
  const context = newCanvas(size).getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, size.width, size.height);
}
