/* What if a number of the noise, beta or an image were another? */

const MOST_CELLS = 256;
const IN_PYTHON = "In Python: recording.replay.";

/* Why the page cannot recompute this step, or "". */
function whyNotWhatIf(step) {
  const [name, size] = step.largest();
  if (size > MOST_CELLS) {
    return (
      `Off here: ${name} has ${size.toLocaleString("en")} cells, and the page ` +
      `recomputes steps of at most ${MOST_CELLS} cells an array. ${IN_PYTHON}`
    );
  }
  const unknown = step.nodes.find((node) => !OPS[node.op]);
  if (unknown)
    return `Off here: the page cannot compute the op ${unknown.op}. ${IN_PYTHON}`;
  return "";
}

/* What can be changed: noise first, then beta, then images. */
function changeable(step) {
  const rank = (leaf) =>
    leaf.name === "beta" ? 1 : ["noise", "", "input"].indexOf(leaf.kind);
  const isUsed = ({ id }) =>
    step.nodes.some((node) => node.inputs.some(([source]) => source === id));
  return step.leaves
    .filter((leaf) => rank(leaf) >= 0 && isUsed(leaf))
    .sort((a, b) => rank(a) - rank(b));
}

/* A Bernoulli likelihood is one of pixels that are 0 or 1. */
function isBinary(step, leaf) {
  return step.nodes.some(
    ({ op, inputs }) => op === "bernoulli_nll" && inputs[1][0] === leaf.id,
  );
}

function makeWhatIf(page, root) {
  const { step } = page;
  const leaves = changeable(step);
  const why =
    whyNotWhatIf(step) ||
    (leaves.length ? "" : "This step has no noise, beta or image to change.");
  if (why) {
    root.replaceChildren(h("p", { class: "note" }, why));
    return;
  }
  const parts = whatIfControls(leaves);
  const { which, element, number, range, reset, status } = parts;
  const leaf = () => leaves[which.selectedIndex];
  const numbers = () => step.now.values.get(leaf().id)[0];

  function pickLeaf() {
    const { shape, data } = numbers();
    element.replaceChildren(...elementOptions(shape));
    const first = data.findIndex((x) => x !== 0);
    element.selectedIndex = leaf().kind === "input" ? 0 : Math.max(0, first);
    pickElement();
  }

  function pickElement() {
    const binary = isBinary(step, leaf());
    setSpan(parts, leaf().kind, numbers().data[element.selectedIndex], binary);
    for (const control of [number, range, element]) control.disabled = !leaf().traced;
    if (!leaf().traced) status.textContent = UNTRACED;
    else status.textContent = binary ? BINARY_PIXELS : "";
  }

  function set(value) {
    if (isBinary(step, leaf()) && value !== 0 && value !== 1) {
      status.textContent = BINARY_PIXELS;
      return;
    }
    if (!Number.isFinite(value)) return;
    step.change(leaf().id, element.selectedIndex, value);
    page.changed();
    status.textContent = lossWords(step);
  }

  which.addEventListener("change", pickLeaf);
  element.addEventListener("change", pickElement);
  reset.addEventListener("click", () => {
    step.restore();
    pickElement();
    page.changed();
    status.textContent = "As recorded.";
  });
  range.addEventListener("input", () => {
    number.value = range.value;
    set(Number(range.value));
  });
  number.addEventListener("input", () => {
    if (number.value === "") return;
    range.value = number.value;
    set(Number(number.value));
  });
  root.replaceChildren(parts.controls, status);
  pickLeaf();
}

const BINARY_PIXELS = "A Bernoulli likelihood: pixels are 0 or 1.";
const UNTRACED =
  "The model uses this outside of the tape: a replay would not be what it computes.";

function whatIfControls(leaves) {
  const which = h(
    "select",
    {},
    leaves.map((leaf) => h("option", {}, leaf.name)),
  );
  const element = h("select", {});
  const number = h("input", { type: "number", step: "any" });
  const range = h("input", { type: "range", step: "any" });
  const reset = h(
    "button",
    { type: "button", class: "quiet" },
    "Back to the recorded step",
  );
  const status = h("p", { class: "note", role: "status" });
  const controls = h(
    "div",
    { class: "controls" },
    h("label", {}, "change ", which),
    h("label", {}, "element ", element),
    h("label", { class: "wide" }, h("span", { class: "hidden" }, "as a slider"), range),
    h("label", {}, "to ", number),
    reset,
  );
  return { controls, which, element, number, range, reset, status };
}

/* Let slider and field reach what is usual for a leaf, and what it is now. */
function setSpan({ number, range }, kind, now, binary) {
  const [low, high] = { noise: [-3, 3], input: [0, 1] }[kind] ?? [0, 10];
  range.min = Math.min(low, Math.floor(now));
  range.max = Math.max(high, Math.ceil(now));
  number.step = range.step = binary ? 1 : "any";
  number.value = range.value = now;
}

function lossWords(step) {
  const [was, now] = [step.recorded, step.now].map(
    (run) => run.values.get(step.loss[0])[step.loss[1]].data[0],
  );
  const moved = `${step.movedNodes().size} of ${step.nodes.length} nodes`;
  return (
    `The loss is ${shown(now)}, it was ${shown(was)}. ` +
    `▲ and ▼ mark what moved: ${moved}.`
  );
}
