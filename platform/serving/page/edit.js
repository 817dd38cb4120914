// The tab that edits: bring an image, say what it is to be, paint where it may change, compare.

import { editEvents, isDone } from "./api.js";
import { hang } from "./gallery.js";
import { Mask } from "./mask.js";
import { isOfModel, number, part, setSubject, showError, showSubject, sourceOf, subjectOf } from "./parts.js";
import { addressOf, asPng, drawDifference, fitted, sizeOf } from "./picture.js";

const PARTIALS = 3;
const UNKNOWN = ""; // what the image shows
const FIELDS = { seed: part["edit-seed"], target_guidance: part["target-guidance"], n_max: part.strength };
const mask = new Mask(part.mask, () => Number(part.brush.value), maskChanged);
let working = null; // the AbortController of the edit under way
let steps = 0; // that an edit has, from the first to the last
let sizes = []; // of the images that the model edits
let image = null; // the one to edit: a canvas of one of them
let wantedImage = null; // the address of the one that was brought last
let page = null; // what the page does about refusals
let readsTexts = false; // the model; else it knows classes

export async function openEditor(model, actions) {
  [page, steps, sizes] = [actions, model.edit.steps, model.sizes.map(sizeOf)];
  readsTexts = model.condition === "text";
  showSubject(part.targets, model);
  part["source-field"].hidden = !readsTexts;
  part["source-choice"].hidden = readsTexts;
  part.source.replaceChildren(new Option("not known", UNKNOWN), ...model.classes.map((name) => new Option(name, name)));
  part["target-guidance"].value = model.edit.target_guidance;
  part.strength.value = Math.round((100 * model.edit.n_max) / steps);
  const { width } = sizeOf(model.size);
  part.brush.max = Math.max(3, width >> 1);
  part.brush.value = Math.max(2, width >> 3);
  tellStrength();
  if (image) await takeImage(image.toDataURL(), sourceField().value); // of another model, which may have had other sizes
}

/** Takes up an image by its address; `shows` is a class or a text, where that is known. */
export async function takeImage(source, shows = UNKNOWN) {
  working?.abort();
  wantedImage = source;
  const taken = await fitted(source, sizes);
  if (wantedImage !== source) return; // another was brought meanwhile
  image = taken.canvas;
  part.bench.style.setProperty("--across", `${100 * Math.min(1, image.width / image.height)}%`);
  part.bench.style.setProperty("--down", `${100 * Math.min(1, image.height / image.width)}%`);
  part.before.src = image.toDataURL();
  part.before.hidden = part.mask.hidden = false;
  part.drop.hidden = part.after.hidden = part.compare.hidden = part.difference.hidden = true;
  sourceField().value = shows;
  if (readsTexts) setSubject(part.targets, shows); // a word of it is then changed
  part.edit.disabled = false;
  part["edit-status"].textContent = taken.isOwnSize
    ? ""
    : `Cut and scaled to ${image.width} × ${image.height}, which the model edits.`;
  showError(part["edit-error"], null);
  mask.reset(image);
}

async function takeFile(file) {
  if (!file) return;
  try {
    await takeImage(await addressOf(file));
  } catch {
    part["edit-error"].hidden = false;
    part["edit-error"].textContent = `${file.name} is no image that can be read.`;
  }
}

part.file.addEventListener("change", () => takeFile(part.file.files[0]));
part.bench.addEventListener("dragover", (event) => event.preventDefault());
part.bench.addEventListener("drop", (event) => {
  event.preventDefault();
  takeFile(event.dataTransfer.files[0]);
});
part.clear.addEventListener("click", () => mask.clear());
part.strength.addEventListener("input", tellStrength);
part.split.addEventListener("input", placeSplit);
part["show-difference"].addEventListener("change", () => {
  part.difference.hidden = !part["show-difference"].checked;
});
part["edit-form"].addEventListener("input", ({ target }) => target.removeAttribute("aria-invalid"));
part["edit-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  if (working) working.abort();
  else edit(wanted());
});

function sourceField() {
  return readsTexts ? part["source-words"] : part.source;
}

function maskChanged(place) {
  if (place) part["edit-status"].textContent = place;
  part.clear.disabled = mask.isEmpty;
  part.keep.disabled = !mask.isEmpty; // what is painted says it already
}

function tellStrength() {
  part["strength-text"].value = `${stepsToEdit()} of ${steps} steps`;
}

function stepsToEdit() {
  return Math.max(1, Math.round((steps * part.strength.value) / 100));
}

function placeSplit() {
  part.after.style.clipPath = `inset(0 0 0 ${100 - part.split.value}%)`;
}

function wanted() {
  return {
    prompt: subjectOf(part.targets),
    source_prompt: sourceField().value.trim() || null,
    seed: number(part["edit-seed"]),
    steps,
    n_max: stepsToEdit(),
    target_guidance: number(part["target-guidance"]),
    keep_background: part.keep.checked && mask.isEmpty,
  };
}

async function edit(request) {
  const edited = { image, painted: mask.isEmpty ? null : mask.asPicture() };
  begin(request);
  try {
    const files = { image: await asPng(edited.image) };
    if (edited.painted) files.mask = await asPng(edited.painted);
    const asked = { ...request, partial_images: PARTIALS };
    for await (const event of editEvents(asked, files, part.token.value, working.signal)) {
      show(event);
      if (isDone(event)) await finish(event, edited);
    }
  } catch (error) {
    part["edit-status"].textContent = error.name === "AbortError" ? "Stopped." : "";
    part.after.hidden = true;
    part.mask.hidden = false;
    if (error.name !== "AbortError") {
      if (error.status === 401) page.refused(error);
      showError(part["edit-error"], error, FIELDS);
      if (isOfModel(error)) page.renew();
    }
  } finally {
    working = null;
    part.editing.ariaBusy = "false";
    part.edit.textContent = "Edit the image";
  }
}

function begin(request) {
  working = new AbortController();
  showError(part["edit-error"], null);
  part.editing.ariaBusy = "true";
  part.edit.textContent = "Stop";
  part.mask.hidden = part.compare.hidden = part.difference.hidden = true;
  part["show-difference"].checked = false;
  part["edit-status"].textContent = `Turning it into “${request.prompt}”…`;
  part.bench.scrollIntoView({ block: "nearest" });
}

function show(event) {
  part.after.src = sourceOf(event);
  part.after.hidden = false;
  part.split.value = 100;
  placeSplit();
}

async function finish(event, edited) {
  part.compare.hidden = part.mask.hidden = false;
  part["edit-status"].textContent = `“${event.settings.prompt}”, seed ${event.seed}`;
  await drawDifference(part.difference, edited.image.toDataURL(), sourceOf(event));
  hang(event, {
    again: () => editAgain(event, edited),
    take: () => {
      part["edit-tab"].click();
      takeImage(sourceOf(event), event.settings.prompt);
    },
  });
}

/** With the same image, mask, seed and settings. */
async function editAgain({ settings, seed }, edited) {
  if (working) return;
  part["edit-tab"].click();
  await takeImage(edited.image.toDataURL(), settings.source_prompt);
  if (working) return;
  if (edited.painted) mask.take(edited.painted);
  setSubject(part.targets, settings.prompt);
  part["edit-seed"].value = seed;
  part["target-guidance"].value = settings.target_guidance;
  part.strength.value = Math.round((100 * settings.n_max) / settings.steps);
  part.keep.checked = settings.keep_background;
  tellStrength();
  edit({ ...settings, source_prompt: settings.source_prompt ?? null, seed });
}
