// What the page says about the model.

const count = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const figure = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

export function showFacts(list, model) {
  const { network } = model;
  const facts = [
    ["Run", model.run_id],
    ["Image", imageOf(model)],
    ["Patch", `${network.patch_size} × ${network.patch_size}`],
    ["Window", windowOf(network)],
    ["Parameters", count.format(model.parameters)],
    ["FID", distanceOf(model.metrics)],
  ];
  list.replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) => fact(name, value)));
}

function imageOf({ size, sizes }) {
  const others = sizes.length - 1;
  return size.replace("x", " × ") + (others ? `, ${others} other ${others === 1 ? "size" : "sizes"}` : "");
}

function windowOf({ window, pixel_depth, compaction }) {
  if (!pixel_depth) return null;
  return compaction.attention ? `${window} × ${window}` : "no attention";
}

/** The latest FID, with its features where they are not Inception's: such numbers do not compare. */
function distanceOf(metrics) {
  const fid = metrics.findLast(({ metric }) => metric === "fid");
  if (!fid) return "not measured";
  const features = fid.feature_extractor === "inception" ? "" : ` (${fid.feature_extractor.split(":")[0]} features)`;
  return figure.format(fid.value) + features;
}

function fact(name, value) {
  const group = document.createElement("div");
  const term = group.appendChild(document.createElement("dt"));
  const detail = group.appendChild(document.createElement("dd"));
  term.textContent = name;
  detail.textContent = detail.title = value;
  return group;
}
