// The tab that makes images: choose, watch it form, keep it.

import { generationEvents, isDone } from "./api.js";
import { hang } from "./gallery.js";
import { isOfModel, number, part, setSubject, showError, showSubject, sourceOf, subjectOf } from "./parts.js";

const PARTIALS = 3;
const FRAME_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 180; // at least, for the eye to follow
let working = null; // the AbortController of the image being made
let page = null; // what the page does about refusals and edits
let readsTexts = false; // the model; else it knows classes

export function openMaker(model, actions) {
  page = actions;
  readsTexts = model.condition === "text";
  showSubject(part.classes, model);
  part["avoid-field"].hidden = !readsTexts;
  part.classes.querySelector("legend").textContent = readsTexts ? "Prompt" : "Class";
  part.invitation.textContent = `${readsTexts ? "Say what to make" : "Choose a class"}, and watch it form out of noise.`;
  part["size-field"].hidden = model.sizes.length === 1;
  part.size.replaceChildren(...model.sizes.map((size) => new Option(size.replace("x", " × "), size)));
  part.size.value = model.size;
  part.steps.value = model.sampler.steps;
  part.guidance.value = model.sampler.guidance;
  part.make.disabled = false;
  nameTheButton();
}

part.classes.addEventListener("change", nameTheButton);
part.seed.addEventListener("input", () => (part.fresh.checked = part.seed.value.trim() === ""));
part.form.addEventListener("input", ({ target }) => target.removeAttribute("aria-invalid"));
part.form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (working) working.abort();
  else if (page) make(wanted());
});

function wanted() {
  const request = {
    prompt: subjectOf(part.classes),
    size: part.size.value,
    steps: number(part.steps),
    guidance: number(part.guidance),
  };
  if (part.avoid.value.trim()) request.negative_prompt = part.avoid.value.trim();
  return part.fresh.checked ? request : { ...request, seed: number(part.seed) };
}

function nameTheButton() {
  if (working) part.make.textContent = "Stop";
  else part.make.textContent = readsTexts ? "Make the image" : `Make “${subjectOf(part.classes)}”`;
}

async function make(request) {
  begin(request);
  try {
    const asked = { ...request, partial_images: PARTIALS };
    for await (const event of generationEvents(asked, part.token.value, working.signal)) {
      if (part.making.classList.contains("waiting")) clear();
      show(event);
      if (isDone(event)) finish(event);
      else await new Promise((resume) => setTimeout(resume, FRAME_MS));
    }
  } catch (error) {
    part.status.textContent = error.name === "AbortError" ? "Stopped." : "";
    if (error.name !== "AbortError") {
      page.refused(error);
      showError(part.error, error, part);
      if (isOfModel(error)) page.renew();
    }
  } finally {
    working = null;
    part.making.ariaBusy = "false";
    part.making.classList.remove("waiting");
    nameTheButton();
  }
}

function begin(request) {
  working = new AbortController();
  showError(part.error, null);
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
  part.image.alt = isDone(event) ? `Generated image of ${event.settings.prompt}` : "";
  const frame = part.frames.querySelector("li:empty");
  frame.append(Object.assign(document.createElement("img"), { src: source, alt: "" }), `step ${event.steps_done}`);
}

function finish(event) {
  for (const frame of part.frames.querySelectorAll("li:empty")) frame.remove(); // of few steps, few are shown
  part.seed.value = event.seed;
  part.status.textContent = `“${event.settings.prompt}”, seed ${event.seed}`;
  hang(event, {
    again: () => makeAgain({ ...event.settings, seed: event.seed }),
    take: () => page.edit(sourceOf(event), event.settings.prompt),
  });
}

function makeAgain(request) {
  if (working) return;
  part["make-tab"].click();
  setSubject(part.classes, request.prompt);
  part.avoid.value = request.negative_prompt ?? "";
  part.size.value = request.size;
  part.steps.value = request.steps;
  part.guidance.value = request.guidance;
  part.seed.value = request.seed;
  part.fresh.checked = false;
  make(request);
}
