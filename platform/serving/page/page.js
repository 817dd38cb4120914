// The page: choose, watch it form, keep it.

import { Refused, call, imageEvents } from "./api.js";
import { showFacts } from "./facts.js";

const PARTIALS = 3;
const SMOOTH_FROM = 64; // pixels on a side; smaller images are shown pixel by pixel
const MANY_CLASSES = 24; // beyond them there is a search field
const LONG_NAME = 4; // letters that fit a key
const FRAME_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 180; // at least, for the eye to follow
const part = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
let working = null; // the AbortController of the image being made

start();

async function start() {
  try {
    const { data } = await (await call("v1/models", part.token.value)).json();
    open(data[0]);
  } catch (error) {
    showError(error);
    if (error.status === 503) setTimeout(start, 1000);
  }
}

function open(model) {
  const [width] = model.size.split("x");
  document.body.classList.toggle("pixelated", width < SMOOTH_FROM);
  showFacts(part.facts, model);
  showError(null);
  part.choices.replaceChildren(...model.classes.map(choice));
  part.choices.classList.toggle("long", model.classes.some((name) => name.length > LONG_NAME));
  part.choices.querySelector("input").checked = true;
  part.filter.hidden = model.classes.length <= MANY_CLASSES;
  part.steps.value = model.sampler.steps;
  part.guidance.value = model.sampler.guidance;
  part.make.disabled = false;
  part.form.classList.add("open");
  part["token-field"].hidden = true;
  nameTheButton();
}

function choice(name) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "class", value: name });
  label.append(input, name);
  return label;
}

part.filter.addEventListener("input", () => {
  const wanted = part.filter.value.trim().toLowerCase();
  for (const label of part.choices.children) label.hidden = !label.textContent.toLowerCase().includes(wanted);
});
part.filter.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  part.choices.querySelector("label:not([hidden]) input")?.click();
});
part.choices.addEventListener("change", nameTheButton);
part.seed.addEventListener("input", () => (part.fresh.checked = part.seed.value.trim() === ""));
part.form.addEventListener("input", ({ target }) => target.removeAttribute("aria-invalid"));
part.form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (working) working.abort();
  else if (part.choices.children.length) make(chosen());
  else start(); // the token was missing
});

function chosen() {
  const request = { prompt: className(), steps: number(part.steps), guidance: number(part.guidance) };
  return part.fresh.checked ? request : { ...request, seed: number(part.seed) };
}

/** What was typed as a number; as text where it is none, for the endpoint to refuse by name. */
function number(input) {
  const text = input.value.trim();
  return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
}

function className() {
  return part.choices.querySelector("input:checked").value;
}

function nameTheButton() {
  part.make.textContent = working ? "Stop" : `Make “${className()}”`;
}

async function make(request) {
  begin(request);
  try {
    const asked = { ...request, partial_images: PARTIALS };
    for await (const event of imageEvents(asked, part.token.value, working.signal)) {
      if (part.making.classList.contains("waiting")) clear();
      show(event);
      if (event.type === "image_generation.completed") finish(event);
      else await new Promise((resume) => setTimeout(resume, FRAME_MS));
    }
  } catch (error) {
    part.status.textContent = error.name === "AbortError" ? "Stopped." : "";
    if (error.name !== "AbortError") showError(error);
  } finally {
    working = null;
    part.making.ariaBusy = "false";
    part.making.classList.remove("waiting");
    nameTheButton();
  }
}

function begin(request) {
  working = new AbortController();
  showError(null);
  nameTheButton();
  part.making.ariaBusy = "true";
  part.making.classList.add("waiting"); // the image before stays, dimmed, until there is something to see
  part.stage.scrollIntoView({ block: "nearest" });
  part.invitation.hidden = true;
  part.status.textContent = `Making “${request.prompt}”…`;
}

function clear() {
  part.making.classList.remove("waiting");
  part.frames.replaceChildren(...Array.from({ length: PARTIALS + 1 }, () => document.createElement("li")));
}

function show(event) {
  const source = sourceOf(event);
  part.image.src = source;
  part.image.hidden = false;
  part.image.alt = event.type === "image_generation.completed" ? `Generated image of ${event.settings.prompt}` : "";
  fill(part.frames.querySelector("li:empty"), source, event.steps_done);
}

function fill(frame, source, step) {
  frame.append(Object.assign(document.createElement("img"), { src: source, alt: "" }), `step ${step}`);
}

function finish(event) {
  for (const frame of part.frames.querySelectorAll("li:empty")) frame.remove(); // of few steps, few are shown
  part.seed.value = event.seed;
  part.status.textContent = `“${event.settings.prompt}”, seed ${event.seed}`;
  part.empty.hidden = true;
  part.gallery.prepend(exhibit(event));
}

function exhibit(event) {
  const { settings, seed } = event;
  const item = part.exhibit.content.firstElementChild.cloneNode(true);
  const [image, title, details, again, save] = item.querySelectorAll("img, strong, p, button, a");
  const name = `${settings.prompt}, seed ${seed}`;
  image.src = save.href = sourceOf(event);
  image.alt = name;
  title.textContent = settings.prompt;
  details.textContent = `seed ${seed}\n${settings.steps} steps · guidance ${settings.guidance}`;
  again.ariaLabel = `Make again: ${name}`;
  again.addEventListener("click", () => makeAgain({ ...settings, seed }));
  save.download = `${settings.prompt}-${seed}.png`;
  save.ariaLabel = `Save: ${name}`;
  return item;
}

function makeAgain(request) {
  if (working) return;
  for (const input of part.choices.querySelectorAll("input")) input.checked = input.value === request.prompt;
  part.steps.value = request.steps;
  part.guidance.value = request.guidance;
  part.seed.value = request.seed;
  part.fresh.checked = false;
  make(request);
}

function sourceOf({ output_format: format, b64_json: content }) {
  return `data:image/${format};base64,${content}`;
}

function showError(error) {
  part.error.hidden = !error;
  if (!error) return;
  part.error.textContent = wordsFor(error);
  if (error.status === 401) askForToken();
  const field = part[error.param];
  if (field instanceof HTMLInputElement) {
    field.ariaInvalid = "true";
    field.focus();
  }
}

function wordsFor(error) {
  if (!(error instanceof Refused)) return "The endpoint does not answer. Is it still running?";
  if (error.status === 401) return part.token.value ? "That is not its token." : "This endpoint asks for a token.";
  return error.message;
}

function askForToken() {
  part["token-field"].hidden = part.make.disabled = false;
  if (!part.choices.children.length) part.make.textContent = "Open";
  part.token.focus();
}
