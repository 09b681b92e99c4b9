/* The cards: one op forward, one rule backward, one parameter updated. */

const WORDS = { forward: "Forward", backward: "Backward", update: "Update" };

/* A formula that Python has written as MathML into a template. */
function formula(number) {
  return document.getElementById(`formula-${number}`).content.cloneNode(true);
}

function sourceView(step, number, caption) {
  const [place, text] = step.sources[number];
  if (!text) return null;
  return h("figure", { class: "source" },
    h("figcaption", {}, caption, place && h("span", { class: "place" }, place)),
    h("pre", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${caption} ${place}` }, h("code", {}, text)));
}

function heading(kicker, ...title) {
  return [h("p", { class: "kicker" }, kicker), h("h2", { id: "card-title" }, ...title)];
}

/* A letter with a bar over it says: the derivative of the loss by what it names. */
function adjointName(label) {
  return `∂loss/∂${label}`;
}

// Forward

function forwardCard(page, node) {
  const { step } = page;
  const inputs = step.inputsOf(node), outputs = step.valuesOf(node.id);
  const was = step.recorded.values.get(node.id);
  const number = step.nodes.indexOf(node) + 1;
  const where = [node.group, node.module].filter(Boolean).join(" · ");
  return h("div", {},
    heading(`${WORDS.forward} ${number} of ${step.nodes.length} · ${where}`, node.name),
    h("p", { class: "call" }, `${node.name} = ${node.op}(${node.inputs.map((r) => step.label(r)).join(", ")}${settings(node)})`),
    h("div", { class: "rule" },
      h("div", { class: "formula" }, formula(node.formula)),
      sourceView(step, node.source, "called in ")),
    outputs.map((output, i) => outputView(page, node, i, output, was[i], inputs)),
    inputsView(page, node, inputs),
    rungsView(node.rungs, "Computed by"),
    openView(page, node));
}

function settings(node) {
  return Object.entries(node.params).map(([k, v]) => `, ${k}=${Array.isArray(v) ? `(${v.join(", ")})` : v}`).join("");
}

function outputView(page, node, i, output, was, inputs) {
  const label = page.step.label([node.id, i]);
  const key = `${node.id},${i}`;
  const chosen = page.chosen(key, output);
  return h("section", { class: "made" },
    h("h3", {}, node.outputs.length > 1 ? label : "It makes"),
    arrayView(output, {
      name: label, was: was.data && was, chosen, lit: page.litIn(key, output),
      choose: (place) => page.choose(key, place),
    }),
    workedView(page, node, inputs, output, key, chosen, label));
}

/* The formula with the numbers of one element, which the reader picks. */
function workedView(page, node, inputs, output, key, chosen, label) {
  if (!output.data || inputs.some((x) => !x.data) || chosen === null) return null;
  const parts = worked(node, inputs, output, chosen);
  if (!parts) return null;
  const name = `${label}${bracketed(indexAt(chosen, output.shape))}`;
  return h("p", { class: "worked" },
    elementPicker(page, key, output, chosen, label),
    h("span", { class: "sum" }, h("b", {}, name), " = ", ...parts, " = ", h("b", {}, shown(output.data[chosen]))));
}

function elementPicker(page, key, array, chosen, label) {
  const size = array.data.length;
  if (size < 2 || size > 256) return null;
  const select = h("select", { "aria-label": `Element of ${label}`, "data-focus": `pick ${key}`,
    onchange: () => page.choose(key, select.selectedIndex) },
    Array.from({ length: size }, (_, place) => h("option", { selected: place === chosen }, bracketed(indexAt(place, array.shape)))));
  return h("label", { class: "picker" }, "with the numbers of element ", select);
}

function inputsView(page, node, inputs) {
  if (!inputs.length) return null;
  const views = node.inputs.map((ref, i) => {
    const label = page.step.label(ref), was = page.step.recorded.values.get(ref[0])[ref[1]];
    const before = was.data && laidOut(was, ref[2]);
    return arrayView(inputs[i], { name: label, was: before, lit: page.litIn(`${ref[0]},${ref[1]}`, inputs[i]) });
  });
  return h("section", {}, h("h3", {}, "From"), h("div", { class: "arrays" }, views));
}

function rungsView(rungs, words) {
  if (!rungs.length) return null;
  return h("p", { class: "note" }, `${words} the kernels `, h("code", {}, rungs.join(", ")), ".");
}

/* A fused op opened: the simpler ops that it must equal. */
function openView(page, node) {
  if (!node.steps.length) return null;
  const title = node.folded ? "What is inside" : `Open ${node.op}: the same in simpler ops`;
  const rows = node.steps.map((inner) => h("li", {},
    h("b", {}, inner.name), ` = ${inner.op}(${inner.inputs.map((r) => page.step.label(r)).join(", ")}${settings(inner)})`,
    h("div", { class: "formula small" }, formula(inner.formula)),
    inner.outputs.map(([name, value]) => arrayView(page.step.read(value), { name: inner.name }))));
  return h("details", { class: "open", open: page.opened.has(node.id),
    ontoggle: (event) => page.opened[event.target.open ? "add" : "delete"](node.id) },
    h("summary", { "data-focus": `open ${node.id}` }, title), h("ol", {}, rows));
}

// Backward

function backwardCard(page, event, number) {
  const { step } = page;
  const node = step.byId.get(event.sender), ref = [event.receiver, event.output];
  const live = step.now.events[number], was = step.recorded.events[number];
  const title = [node.name, h("span", { class: "arrow" }, " → "), step.label(ref)];
  const kicker = `${WORDS.backward} ${number + 1} of ${step.events.length} · ${eventWords(step, event)}`;
  if (event.kind === "unbroadcast") return unbroadcastCard(page, event, number, heading(kicker, ...title));
  const [name, rule, source] = node.rules[event.position] ?? node.rules[0];
  const alone = event.adds && step.contributions(event) === 1;
  return h("div", {},
    heading(kicker, ...title),
    h("p", { class: "call" }, `The rule of ${node.op} for its input ${name}. A bar over a letter says: the derivative of the loss by it.`),
    h("div", { class: "rule" },
      h("div", { class: "formula" }, formula(rule)),
      sourceView(step, source, "the rule ")),
    h("section", { class: "flow" },
      live.upstream.map((g, i) => flowPart(page, "arrives", adjointName(step.label([node.id, i])), g, was.upstream[i])),
      h("span", { class: "flow-sign", "aria-hidden": "true" }, "→"),
      flowPart(page, "leaves", event.adds ? `to ${adjointName(step.label(ref))}` : "before it is summed", live.gradient, was.gradient, alone && pickerOf(page, event, live.gradient))),
    event.adds ? sumView(page, event, number, alone) : h("p", { class: "note" },
      `${step.label(ref)} was repeated to this shape by broadcasting; the next step sums it back.`),
    checksView(page, node, event),
    rungsView(node.ruleRungs, "Its rules ran"));
}

function eventWords(step, event) {
  if (event.kind === "unbroadcast") return "un-broadcast";
  const count = step.contributions(event);
  return count > 1 && event.adds ? `contribution ${event.count} of ${count}` : "one contribution";
}

function flowPart(page, title, name, array, was, picker) {
  return h("div", {}, h("h3", {}, title), arrayView(array, { name, was: was?.data && was, ...picker }));
}

/* The element of a receiver's adjoint that is looked at, and how to pick another. */
function pickerOf(page, event, array) {
  const ref = [event.receiver, event.output];
  return { chosen: page.chosen(`adjoint ${ref}`, array), choose: (place) => page.follow(ref, place) };
}

function unbroadcastCard(page, event, number, title) {
  const { step } = page;
  const live = step.now.events[number], was = step.recorded.events[number];
  const axes = event.axes.length > 1 ? `axes ${event.axes.join(", ")}` : `axis ${event.axes[0]}`;
  return h("div", {}, title,
    h("p", { class: "call" }, `${step.label([event.receiver, event.output])} was repeated along ${axes}. The adjoint of copying is summing.`),
    h("section", { class: "flow" },
      flowPart(page, "arrives", "before the sum", live.upstream[0], was.upstream[0]),
      h("span", { class: "flow-sign", "aria-hidden": "true" }, "Σ"),
      flowPart(page, "leaves", `to ${adjointName(step.label([event.receiver, event.output]))}`, live.gradient, was.gradient,
        step.contributions(event) === 1 && pickerOf(page, event, live.gradient))),
    sumView(page, event, number, step.contributions(event) === 1));
}

/* What the receiver's adjoint has come to: every contribution so far, and the sum. */
function sumView(page, event, number, alone = false) {
  const { step } = page;
  const ref = [event.receiver, event.output], key = `adjoint ${ref}`, label = adjointName(step.label(ref));
  const live = step.now.events[number].total, was = step.recorded.events[number].total;
  if (!live) return null;
  const all = step.contributions(event);
  const { chosen, choose } = pickerOf(page, event, live);
  const so = step.events.slice(0, number + 1).map((e, i) => [e, i]).filter(([e]) => e.adds && sameReceiver(e, event));
  const words = all === 1 ? "This is all that reaches it."
    : event.count < all ? `${event.count} of ${all} contributions: the sum is not complete yet.` : `All ${all} contributions are in.`;
  const sum = so.length > 1 && live.data && chosen !== null ? h("p", { class: "worked" },
    h("span", { class: "sum" }, joined(so.map(([e, i]) =>
      h("span", {}, factor(step.now.events[i].gradient.data[chosen]), h("small", {}, ` from ${step.byId.get(e.sender).name}`)))),
    " = ", h("b", {}, shown(live.data[chosen])))) : null;
  return h("section", { class: "total" },
    !alone && h("h3", {}, `${label} so far`), h("p", { class: "note" }, words),
    !alone && arrayView(live, { name: label, was: was.data && was, chosen, choose }),
    sum,
    live.data && h("p", {}, h("button", { type: "button", class: "quiet", "data-focus": `follow ${key}`,
      onclick: () => page.follow(ref, chosen ?? 0, true) }, `Why is ${label}${bracketed(indexAt(chosen ?? 0, live.shape))} = ${shown(live.data[chosen ?? 0])}?`)));
}

function sameReceiver(a, b) {
  return a.receiver === b.receiver && a.output === b.output;
}

/* Independent numbers beside the analytic ones: this rule alone, and the whole path. */
function checksView(page, node, event) {
  const { step } = page;
  const receiver = step.byId.get(event.receiver);
  const last = event.count === step.contributions(event);
  const checks = [
    ...node.checks.filter(([kind, position]) => kind === "local" && position === event.position),
    ...(last && event.adds ? receiver.checks.filter(([kind, position]) => kind === "global" && position === event.output) : []),
  ];
  if (!checks.length) return null;
  const rows = checks.map(([kind, , method, index, measured, exact, error, tolerance, passed]) => h("tr", {},
    h("th", { scope: "row" }, kind === "local" ? "local: this rule alone" : "global: the loss replayed"),
    h("td", {}, index ? `worst at ${bracketed(index) || "the value"}` : "random direction", method === "sample" && " of a sample"),
    h("td", {}, shown(asNumber(measured), 6)), h("td", {}, shown(asNumber(exact), 6)),
    h("td", {}, asNumber(error).toExponential(1).replace("-", "−")),
    h("td", { class: passed ? "good" : "wrong" }, passed ? "✓ agrees" : "✗ differs",
      h("span", { class: "hidden" }, `, allowed ${tolerance}`))));
  return h("section", {}, h("h3", {}, "Checked by finite differences"),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Checks" }, h("table", { class: "checks" },
      h("caption", {}, "The analytic number beside one that knows no rule"),
      h("thead", {}, h("tr", {}, ["check", "element", "analytic", "numeric", "error", ""].map((t) =>
        t ? h("th", { scope: "col" }, t) : h("th", { scope: "col" }, h("span", { class: "hidden" }, "verdict"))))),
      h("tbody", {}, rows))));
}

// Update

function updateCard(page, parameter, number) {
  const { step } = page, { update, read } = step;
  const change = update.after - update.loss, predicted = update.predicted - update.loss;
  const states = Object.keys(parameter.state).map((name) => h("div", { class: "arrays" },
    arrayView(read(parameter.state[name]), { name: `${name} before` }),
    arrayView(read(parameter.newState[name]), { name: `${name} after` })));
  return h("div", {},
    heading(`${WORDS.update} ${number + 1} of ${update.parameters.length} · ${update.optimizer}`, parameter.name),
    h("p", { class: "call" }, Object.entries(update.settings).map(([k, v]) => `${k} ${v}`).join(", ")),
    h("div", { class: "rule single" }, h("div", { class: "formula" }, formula(update.formula))),
    h("section", { class: "flow" },
      flowPart(page, "value", parameter.name, read(parameter.value)),
      h("span", { class: "flow-sign", "aria-hidden": "true" }, "→"),
      flowPart(page, "new value", parameter.name, read(parameter.newValue))),
    h("section", {}, h("h3", {}, "Its gradient"), arrayView(read(parameter.gradient), { name: adjointName(parameter.name) })),
    states.length ? h("details", { class: "open" }, h("summary", {}, "The optimizer's state"), states) : null,
    step.isChanged ? h("p", { class: "note" }, "The update is as recorded: “what if” redoes the loss and its gradients.") : null,
    h("section", {}, h("h3", {}, "What became of the loss"),
      h("p", {}, `Of all parameters together the gradient predicts a change of ${shown(predicted, 6)}; the loss, measured again, went from ${shown(update.loss, 6)} to ${shown(update.after, 6)}: ${shown(change, 6)}. This parameter’s share of the prediction is ${shown(asNumber(parameter.predicted), 6)}.`),
      changeBars(predicted, change)));
}

function changeBars(predicted, real) {
  const most = Math.max(Math.abs(predicted), Math.abs(real)) || 1;
  return h("div", { class: "bars-list" }, [["predicted", predicted], ["real", real]].map(([name, number]) =>
    shareBar(name, number, most)));
}

/* A bar from the middle: to the right above 0, to the left below. */
function shareBar(name, number, most, ...more) {
  const bar = h("span", { class: number < 0 ? "share minus" : "share plus", "aria-hidden": "true" });
  bar.style.width = `${Math.max(0.5, (50 * Math.abs(number)) / most)}%`;
  return h("div", { class: "share-row" }, h("span", { class: "share-name" }, name),
    h("span", { class: "share-track" }, bar), h("span", { class: "share-number" }, (number > 0 ? "+" : "") + shown(number)), ...more);
}
