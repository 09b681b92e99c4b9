/* The card of one op: what it makes, of what, by which line of code. */

function forwardCard(page, node) {
  const { step } = page;
  const inputs = step.inputsOf(node),
    outputs = step.valuesOf(node.id);
  const was = step.recorded.values.get(node.id);
  const number = step.nodes.indexOf(node) + 1;
  const where = [node.group, node.module].filter(Boolean).join(" · ");
  return h(
    "div",
    {},
    heading(`${WORDS.forward} ${number} of ${step.nodes.length} · ${where}`, node.name),
    h("p", { class: "call" }, callOf(step, node)),
    h(
      "div",
      { class: "rule" },
      h("div", { class: "formula" }, formula(node.formula)),
      sourceView(step, node.source, "called in "),
    ),
    outputs.map((output, i) => outputView(page, node, i, output, was[i], inputs)),
    inputsView(page, node, inputs),
    rungsView(node.rungs, "Computed by"),
    openView(page, node),
  );
}

/* z = reparameterize(mu, logvar, eps) */
function callOf(step, node) {
  const inputs = node.inputs.map((ref) => step.label(ref));
  const settings = Object.entries(node.params).map(
    ([key, value]) =>
      `${key}=${Array.isArray(value) ? `(${value.join(", ")})` : value}`,
  );
  return `${node.name} = ${node.op}(${[...inputs, ...settings].join(", ")})`;
}

function outputView(page, node, i, output, was, inputs) {
  const label = page.step.label([node.id, i]);
  const key = `${node.id},${i}`;
  const chosen = page.chosen(key, output);
  return h(
    "section",
    { class: "made" },
    h("h3", {}, node.outputs.length > 1 ? label : "It makes"),
    arrayView(output, {
      name: label,
      was: was.data && was,
      chosen,
      lit: page.litIn(key, output),
      choose: (place) => page.choose(key, place),
    }),
    workedView(page, node, inputs, output, key, chosen, label),
  );
}

/* The formula with the numbers of one element, which the reader picks. */
function workedView(page, node, inputs, output, key, chosen, label) {
  if (!output.data || inputs.some((x) => !x.data) || chosen === null) return null;
  const parts = worked(node, inputs, output, chosen);
  if (!parts) return null;
  const name = `${label}${bracketed(indexAt(chosen, output.shape))}`;
  return h(
    "p",
    { class: "worked" },
    elementPicker(page, key, output, chosen, label),
    h(
      "span",
      { class: "sum" },
      h("b", {}, name),
      " = ",
      ...parts,
      " = ",
      h("b", {}, shown(output.data[chosen])),
    ),
  );
}

function elementPicker(page, key, array, chosen, label) {
  const size = array.data.length;
  if (size < 2 || size > 256) return null;
  const select = h(
    "select",
    {
      "aria-label": `Element of ${label}`,
      "data-focus": `pick ${key}`,
      onchange: () => page.choose(key, select.selectedIndex),
    },
    elementOptions(array.shape, chosen),
  );
  return h("label", { class: "picker" }, "with the numbers of element ", select);
}

function inputsView(page, node, inputs) {
  if (!inputs.length) return null;
  const views = node.inputs.map((ref, i) => {
    const label = page.step.label(ref),
      was = page.step.recorded.values.get(ref[0])[ref[1]];
    const before = was.data && laidOut(was, ref[2]);
    return arrayView(inputs[i], {
      name: label,
      was: before,
      lit: page.litIn(`${ref[0]},${ref[1]}`, inputs[i]),
    });
  });
  return h("section", {}, h("h3", {}, "From"), h("div", { class: "arrays" }, views));
}

function rungsView(rungs, words) {
  if (!rungs.length) return null;
  return h(
    "p",
    { class: "note" },
    `${words} the kernels `,
    h("code", {}, rungs.join(", ")),
    ".",
  );
}

/* A fused op opened: the simpler ops that it must equal. */
function openView(page, node) {
  if (!node.steps.length) return null;
  const title = node.folded
    ? "What is inside"
    : `Open ${node.op}: the same in simpler ops`;
  const rows = node.steps.map((inner) =>
    h(
      "li",
      {},
      h("p", { class: "call" }, callOf(page.step, inner)),
      h("div", { class: "formula small" }, formula(inner.formula)),
      inner.outputs.map(([name, value]) =>
        arrayView(page.step.read(value), { name: inner.name }),
      ),
    ),
  );
  return h(
    "details",
    {
      class: "open",
      open: page.opened.has(node.id),
      ontoggle: (event) => page.opened[event.target.open ? "add" : "delete"](node.id),
    },
    h("summary", { "data-focus": `open ${node.id}` }, title),
    h("ol", {}, rows),
  );
}
