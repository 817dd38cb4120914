// Points of the pictures: hovering or focusing one says what it is, opening one shows its samples.
"use strict";

const REACH = 22; // pixels around a point that count as it
const tip = document.getElementById("tip");
const dialog = document.getElementById("samples-of-point");
const body = dialog.querySelector("div");

function pointNear(svg, x, y) {
  const under = document.elementFromPoint(x, y)?.closest("a.point");
  if (under) return under;
  const distances = [...svg.querySelectorAll("a.point")].map((point) => {
    const box = point.getBoundingClientRect();
    return { point, away: Math.hypot(box.x + box.width / 2 - x, box.y + box.height / 2 - y) };
  });
  const nearest = distances.sort((a, b) => a.away - b.away)[0];
  return nearest && nearest.away <= REACH ? nearest.point : null;
}

function notesOf(point) {
  return point.getAttribute("aria-label").split(" · ");
}

function lines(texts) {
  return texts.map((text, index) => {
    const line = document.createElement(index ? "span" : "strong");
    line.textContent = text;
    return line;
  });
}

function say(point) {
  tip.hidden = !point;
  document.querySelectorAll(".point.near").forEach((other) => other.classList.remove("near"));
  if (!point) return;
  point.classList.add("near");
  tip.replaceChildren(...lines(notesOf(point)));
  const box = point.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.x + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
  const above = box.y - tip.offsetHeight - 10;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : box.bottom + 10}px`;
}

function open(point) {
  say(null);
  const target = document.querySelector(`[id="${CSS.escape(point.getAttribute("href").slice(1))}"]`);
  const picture = target?.querySelector("img")?.cloneNode();
  const missing = document.createElement("p");
  missing.textContent = "This file has no samples of it.";
  body.replaceChildren(...lines(notesOf(point)), picture ?? missing);
  dialog.showModal();
}

function stepTo(points, point, by) {
  const next = points[(points.indexOf(point) + by + points.length) % points.length];
  points.forEach((other) => other.setAttribute("tabindex", other === next ? "0" : "-1"));
  next.focus();
}

function centre(point) {
  const box = point.getBoundingClientRect();
  return box.x + box.width / 2;
}

for (const svg of document.querySelectorAll("svg:has(a.point)")) {
  const points = [...svg.querySelectorAll("a.point")].sort((a, b) => centre(a) - centre(b));
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  points.forEach((point, index) => {
    point.setAttribute("tabindex", index ? "-1" : "0"); // one stop of the tab key; arrows go from point to point
    point.addEventListener("focus", () => point.matches(":focus-visible") && say(point));
    point.addEventListener("blur", () => say(null));
    point.addEventListener("keydown", (event) => {
      if (event.key === "Escape") say(null);
      if (!(event.key in steps)) return;
      event.preventDefault();
      stepTo(points, point, steps[event.key]);
    });
  });
  svg.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") say(pointNear(svg, event.clientX, event.clientY));
  });
  svg.addEventListener("pointerleave", () => say(null));
  svg.addEventListener("click", (event) => {
    const byKey = event.detail === 0;
    const point = byKey ? event.target.closest("a.point") : pointNear(svg, event.clientX, event.clientY);
    if (!point) return;
    event.preventDefault();
    open(point);
  });
}

// A mark that the keyboard has reached keeps its note while the page scrolls to it.
addEventListener("scroll", () => say(document.querySelector("a.point:focus-visible")), { passive: true });
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
