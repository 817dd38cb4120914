// The page's elements by their ids, and small things that both tabs do.

import { Refused } from "./api.js";

const MANY_CLASSES = 24; // beyond them there is a search field
const LONG_NAME = 4; // letters that fit a key

export const part = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));

/** What was typed as a number; as text where it is none, for the endpoint to refuse by name. */
export function number(input) {
  const text = input.value.trim();
  return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
}

export function sourceOf({ output_format: format, b64_json: content }) {
  return `data:image/${format};base64,${content}`;
}

/** Has a fieldset ask for what the model makes: a text, or one of its classes. */
export function showSubject(fieldset, model) {
  const readsTexts = model.condition === "text";
  fieldset.querySelector(".words").hidden = !readsTexts;
  showChoices(fieldset, readsTexts ? [] : model.classes);
}

for (const words of document.querySelectorAll("textarea")) {
  words.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    words.form.requestSubmit();
  });
}

function wordsIn(fieldset) {
  return fieldset.querySelector(".words:not([hidden])");
}

/** One key for each class. */
function showChoices(fieldset, classes) {
  const [filter, choices] = fieldset.querySelectorAll(".filter, .choices");
  choices.replaceChildren(...classes.map((name) => choice(fieldset.id, name)));
  choices.classList.toggle("long", classes.some((name) => name.length > LONG_NAME));
  if (classes.length) choices.querySelector("input").checked = true;
  filter.hidden = classes.length <= MANY_CLASSES;
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const label of choices.children) label.hidden = !label.textContent.toLowerCase().includes(wanted);
  });
  filter.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    choices.querySelector("label:not([hidden]) input")?.click();
  });
}

function choice(group, name) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value: name });
  label.append(input, name);
  return label;
}

/** The text that stands there, or the class that is chosen. */
export function subjectOf(fieldset) {
  return wordsIn(fieldset)?.value.trim() ?? fieldset.querySelector(".choices input:checked")?.value;
}

export function setSubject(fieldset, name) {
  const words = wordsIn(fieldset);
  if (words) words.value = name;
  for (const input of fieldset.querySelectorAll(".choices input")) input.checked = input.value === name;
}

/** Says what went wrong where it is seen, and marks the field that it is about. */
export function showError(place, error, fields = {}) {
  place.hidden = !error;
  if (!error) return;
  place.textContent = wordsFor(error);
  const field = fields[error.param];
  if (!field) return;
  field.ariaInvalid = "true";
  field.focus();
}

/** Whether a refusal tells that something does not go with the model that answers. */
export function isOfModel(error) {
  return [400, 404, 413, 422].includes(error.status);
}

function wordsFor(error) {
  if (!(error instanceof Refused)) return "The endpoint does not answer. Is it still running?";
  if (error.status === 401) return part.token.value ? "That is not its token." : "This endpoint asks for a token.";
  return error.message;
}
