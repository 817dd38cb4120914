// The page: opens the model, and the two tabs.

import { call } from "./api.js";
import { openEditor, takeImage } from "./edit.js";
import { showFacts } from "./facts.js";
import { openMaker } from "./make.js";
import { part, showError } from "./parts.js";
import { sizeOf } from "./picture.js";

const SMOOTH_FROM = 64; // pixels on a side; smaller images are shown pixel by pixel
let opened = null; // the id of the model that the page is for
const TABS = [part["make-tab"], part["edit-tab"]];

start();

async function start() {
  try {
    await open(await modelThatAnswers());
  } catch (error) {
    refused(error);
    if (error.status === 503) setTimeout(start, 1000);
  }
}

async function modelThatAnswers() {
  const { data } = await (await call("v1/models", part.token.value)).json();
  return data[0];
}

async function open(model) {
  opened = model.id;
  document.body.classList.toggle("pixelated", sizeOf(model.size).width < SMOOTH_FROM);
  showFacts(part.facts, model);
  showError(part.error, null);
  part["token-field"].hidden = true;
  part.form.classList.add("open");
  openMaker(model, { refused, renew, edit });
  await openEditor(model, { refused, renew });
}

/** Before the model is open, the button asks for it again: the token was missing. */
part.form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!part.form.classList.contains("open")) start();
});

/** After a refusal: another model may have been deployed since, with classes and sizes of its own. */
async function renew() {
  const model = await modelThatAnswers().catch(() => null); // where it does not say, what the refusal said stands
  if (!model || model.id === opened) return;
  await open(model);
  for (const place of [part.error, part["edit-error"]]) {
    Object.assign(place, { hidden: false, textContent: "Another model answers now, and this page is for it. Try again." });
  }
}

function refused(error) {
  showError(part.error, error);
  if (error.status !== 401) return;
  part["token-field"].hidden = part.make.disabled = false;
  if (!part.form.classList.contains("open")) part.make.textContent = "Open";
  select(part["make-tab"]);
  part.token.focus();
}

function edit(image, shows) {
  select(part["edit-tab"]);
  part["edit-tab"].focus({ preventScroll: true });
  part["edit-tab"].scrollIntoView({ block: "nearest" });
  takeImage(image, shows);
}

for (const tab of TABS) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = TABS.find((each) => each !== tab);
    select(other);
    other.focus();
  });
}

function select(chosen) {
  for (const tab of TABS) {
    tab.ariaSelected = String(tab === chosen);
    tab.tabIndex = tab === chosen ? 0 : -1;
    part[tab.getAttribute("aria-controls")].hidden = tab !== chosen;
  }
}
