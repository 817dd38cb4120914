// What was made, with what makes it again.

import { part, sourceOf } from "./parts.js";

/** Hangs an image. `again` is called to make it again, `take` to edit it. */
export function hang(event, { again, take }) {
  part.empty.hidden = true;
  part.gallery.prepend(exhibit(event, again, take));
}

function exhibit(event, again, take) {
  const { settings, seed } = event;
  const item = part.exhibit.content.firstElementChild.cloneNode(true);
  const [image, title, details, repeat, edit, save] = item.querySelectorAll("img, strong, p, .again, .take, a");
  const name = titleOf(event);
  image.src = save.href = sourceOf(event);
  image.alt = `${name}, seed ${seed}`;
  title.textContent = name;
  details.textContent = detailsOf(event);
  repeat.textContent = isEdit(event) ? "Edit again" : "Make again";
  repeat.ariaLabel = `${repeat.textContent}: ${image.alt}`;
  repeat.addEventListener("click", again);
  edit.ariaLabel = `Edit: ${image.alt}`;
  edit.addEventListener("click", take);
  save.download = `${settings.prompt.slice(0, 80)}-${seed}.png`;
  save.ariaLabel = `Save: ${image.alt}`;
  return item;
}

function isEdit({ settings }) {
  return "n_max" in settings;
}

export function titleOf(event) {
  const { prompt, source_prompt: source } = event.settings;
  return isEdit(event) ? `${source ?? "image"} → ${prompt}` : prompt;
}

function detailsOf({ settings, seed }) {
  const { steps, n_max: edited, guidance, target_guidance: towards } = settings;
  const rest = edited === undefined ? `${steps} steps · guidance ${guidance}` : `${edited} of ${steps} steps · guidance ${towards}`;
  return `seed ${seed}\n${rest}`;
}
