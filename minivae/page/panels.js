/* Beside the card: the table of the loss, one number followed back, and "what if". */

// The table of the loss

/* Make the cells of the table buttons that light what they come from. */
function makeTerms(page, root) {
  if (!root) return { refresh() {} };
  const { terms } = page.step;
  const cells = [...root.querySelectorAll("td[data-cell]")].map((td) => {
    const [row, column] = td.dataset.cell.split(",").map(Number);
    const button = h("button", { type: "button", "aria-pressed": "false", onclick: () => page.light(row, column) }, ...td.childNodes);
    td.replaceChildren(button);
    return { td, button, row, column };
  });
  const means = [...root.querySelectorAll("td[data-mean]")];

  function refresh() {
    const numbers = page.step.isChanged ? termsNow(page.step) : null;
    for (const { td, button, row, column } of cells) {
      const was = asNumber(terms.cells[row][column][0]);
      setMoved(td, button, numbers ? numbers[row][column] : was, was);
      button.setAttribute("aria-pressed", page.lit?.row === row && page.lit?.column === column);
    }
    for (const td of means) {
      const column = Number(td.dataset.mean), was = asNumber(terms.means[column]);
      const mean = numbers ? meanNow(page.step, numbers, column) : was;
      setMoved(td, td, mean, was);
    }
  }
  return { refresh };
}

/* A mean that the images do not give is the loss, which the graph has. */
function meanNow(step, numbers, column) {
  const loss = step.valuesOf(step.loss[0])[step.loss[1]].data[0];
  if (step.terms.kinds[column] === "total") return loss;
  if (numbers[0][column] === null) return null;
  return numbers.reduce((sum, row) => sum + row[column], 0) / numbers.length;
}

/* Write a number, marked if it moved; null is one that the page does not compute. */
function setMoved(td, holder, number, was) {
  const moved = number !== null && hasMoved(number, was);
  td.classList.toggle("moved", moved);
  td.title = number === null ? "not recomputed by image" : moved ? `was ${shown(was)}` : "";
  holder.replaceChildren(number === null ? "–" : shown(number), moved ? h("span", { class: "mark" }, number > was ? "▲" : "▼",
    h("span", { class: "hidden" }, ` moved, was ${shown(was)}`)) : "");
}

/* The table again from the values as they are now: recon and KL by image and latent.
   How an objective other than recon + beta KL weighs each image is not known here. */
function termsNow(step) {
  const { kinds, cells, weight } = step.terms;
  const head = (kind) => {
    const column = kinds.indexOf(kind);
    return column < 0 ? null : step.byId.get(cells[0][column][1][0]);
  };
  const recon = byImage(step, head("recon")), latents = head("kl") && byLatent(step, head("kl"));
  return cells.map((row, n) => {
    let latent = 0, kl = 0;
    return kinds.map((kind) => {
      if (kind === "recon") return recon[n];
      if (kind === "kl") {
        const number = latents[n][latent++];
        kl += number;
        return number;
      }
      if (weight === null) return null;
      return kind === "weighted" ? weight * kl : recon[n] + weight * kl;
    });
  });
}

function byImage(step, node) {
  const inputs = step.inputsOf(node);
  if (OPS[node.op].terms) return perImage(OPS[node.op].terms(inputs));
  return inputs[0].data; // the mean of one number an image
}

function byLatent(step, node) {
  const inputs = step.inputsOf(node);
  const terms = OPS[node.op].terms?.(inputs);
  if (terms) return rowsOf(terms);
  if (node.op === "mean") return byLatent(step, step.byId.get(node.inputs[0][0]));
  return rowsOf(inputs[0]); // the sum over latents
}

function rowsOf(array) {
  const columns = array.shape.at(-1);
  return Array.from({ length: array.data.length / columns }, (_, i) => array.data.slice(i * columns, (i + 1) * columns));
}

// One number, followed back

function makeFollow(page, root) {
  const trail = [];
  const open = (ref, place) => {
    trail.push([ref, place]);
    refresh();
  };

  function follow(ref, place) {
    trail.length = 0;
    open(ref, place);
  }

  function refresh() {
    if (!trail.length) return;
    const [ref, place] = trail.at(-1);
    const { step } = page;
    const array = step.adjoint(ref);
    const name = (r, p, a) => `${adjointName(step.label(r))}${bracketed(indexAt(p, a.shape))}`;
    const sources = step.events.map((event, number) => ({ event, number }))
      .filter(({ event }) => event.adds && event.receiver === ref[0] && event.output === ref[1]);
    const sizes = sources.map(({ number }) => step.now.events[number].gradient.data[place]);
    const most = Math.max(...sizes.map(Math.abs), Math.abs(array.data[place])) || 1;
    root.replaceChildren(...[
      crumbs(trail, step, refresh),
      h("p", { class: "why" }, "Why is ", h("b", {}, name(ref, place, array)), " = ", h("b", {}, shown(array.data[place])), "?"),
      pickAdjoint(page, ref, place, array, (p) => { trail[trail.length - 1] = [ref, p]; refresh(); }),
      sources.length ? h("ul", { class: "paths" }, sources.map((source, i) =>
        pathView(page, source, sizes[i], most, place, open)))
        : h("p", { class: "note" }, "It is the loss itself: backward starts here, with 1."),
    ].filter(Boolean));
  }

  return { follow, refresh };
}

function crumbs(trail, step, refresh) {
  if (trail.length < 2) return null;
  return h("p", { class: "crumbs" }, trail.slice(0, -1).flatMap(([ref, place], i) => [
    h("button", { type: "button", class: "quiet", onclick: () => { trail.length = i + 1; refresh(); } },
      `${step.label(ref)}${bracketed(indexAt(place, step.adjoint(ref).shape))}`), " ← "]));
}

function pickAdjoint(page, ref, place, array, choose) {
  if (array.data.length < 2 || array.data.length > 256) return null;
  const select = h("select", { "data-focus": "follow element", onchange: () => choose(select.selectedIndex) },
    Array.from(array.data, (_, i) => h("option", { selected: i === place }, bracketed(indexAt(i, array.shape)))));
  return h("label", { class: "picker" }, `another element of ${page.step.label(ref)} `, select);
}

/* One contribution: its size, its path to the loss, and the elements it comes from. */
function pathView(page, { event, number }, size, most, place, open) {
  const { step } = page;
  const path = step.pathToLoss(event.sender);
  const parts = sharesOf(step, event, number, place).slice(0, 4);
  return h("li", {},
    shareBar(`from ${step.byId.get(event.sender).name}`, size, most),
    h("p", { class: "path" }, path.name && h("b", {}, `${path.name}: `), shortened(path.steps).join(" → ")),
    parts.length ? h("ul", { class: "shares" }, parts.map((part) => {
      const ref = [event.sender, part.output];
      const name = `${step.label(ref)}${bracketed(indexAt(part.place, step.valuesOf(ref[0])[ref[1]].shape))}`;
      const isLoss = step.loss.join() === ref.join();
      const words = `${adjointName(name)} ${shown(part.upstream)} × slope ${shown(part.derivative)} = ${shown(part.size)}`;
      return h("li", {}, isLoss ? words : h("button", { type: "button", class: "quiet", onclick: () => open(ref, part.place) }, words));
    })) : null);
}

function shortened(names) {
  return names.length <= 5 ? names : [...names.slice(0, 2), "…", ...names.slice(-2)];
}

function sharesOf(step, event, number, place) {
  const node = step.byId.get(event.sender), inputs = step.inputsOf(node);
  if (!OPS[node.op] || inputs.some((x) => !x.data)) return [];
  const first = event.kind === "unbroadcast" ? number - 1 : number;
  const upstream = { outputs: step.now.events[first].upstream, raw: step.now.events[first].gradient };
  if (upstream.outputs.some((g) => !g.data || g.data.length > 512)) return [];
  const outputs = step.valuesOf(node.id);
  const wide = upstream.outputs.map((g, i) => (g.shape.length || !outputs[i].shape.length ? g : filled(outputs[i].shape, g.data[0])));
  return shares(node, event, inputs, outputs, { ...upstream, outputs: wide }, place);
}

// What if

const MOST_CELLS = 256;

/* Why the page cannot recompute this step, or "". */
function whyNotWhatIf(step) {
  const [name, size] = step.largest();
  if (size > MOST_CELLS) {
    return `Off here: ${name} has ${size.toLocaleString("en")} cells, and the page recomputes steps of at most ${MOST_CELLS} cells an array. In Python: recording.replay.`;
  }
  const unknown = step.nodes.find((node) => !OPS[node.op]);
  if (unknown) return `Off here: the page cannot compute the op ${unknown.op}. In Python: recording.replay.`;
  return "";
}

function makeWhatIf(page, root) {
  const { step } = page;
  const why = whyNotWhatIf(step);
  const rank = (leaf) => (leaf.name === "beta" ? 1 : ["noise", "", "input"].indexOf(leaf.kind));
  const isUsed = (leaf) => step.nodes.some((node) => node.inputs.some(([id]) => id === leaf.id));
  const leaves = step.leaves.filter((leaf) => rank(leaf) >= 0 && isUsed(leaf)).sort((a, b) => rank(a) - rank(b));
  if (why || !leaves.length) {
    root.replaceChildren(h("p", { class: "note" }, why || "This step has no noise, beta or image to change."));
    return;
  }
  const status = h("p", { class: "note", role: "status" });
  const which = h("select", { onchange: () => pick() }, leaves.map((leaf) => h("option", {}, leaf.name)));
  const element = h("select", { onchange: () => pickElement() });
  const number = h("input", { type: "number", step: "any" }), range = h("input", { type: "range", step: "any" });
  const reset = h("button", { type: "button", class: "quiet", onclick: () => { step.restore(); pickElement(); page.changed(); say(); } }, "Back to the recorded step");
  const leaf = () => leaves[which.selectedIndex];
  const isBinary = () => step.nodes.some((node) => node.op === "bernoulli_nll" && node.inputs[1][0] === leaf().id);
  const values = () => step.now.values.get(leaf().id)[0];

  function pick() {
    const array = values();
    element.replaceChildren(...Array.from(array.data, (_, i) => h("option", {}, bracketed(indexAt(i, array.shape)) || "the number")));
    const first = array.data.findIndex((x) => x !== 0);
    element.selectedIndex = leaf().kind === "input" ? 0 : Math.max(0, first);
    pickElement();
  }

  function pickElement() {
    const span = { noise: [-3, 3], input: [0, 1] }[leaf().kind] ?? [0, 10];
    const now = values().data[element.selectedIndex];
    const [low, high] = [Math.min(span[0], Math.floor(now)), Math.max(span[1], Math.ceil(now))];
    const binary = isBinary();
    Object.assign(range, { min: low, max: high, step: binary ? 1 : "any" });
    number.step = range.step;
    number.value = range.value = now;
    const off = leaf().traced ? "" : "The model uses this outside of the tape: a replay would not be what it computes.";
    for (const control of [number, range, element]) control.disabled = Boolean(off);
    status.textContent = off || (binary ? "A Bernoulli likelihood: pixels are 0 or 1." : "");
  }

  function set(value) {
    if (!Number.isFinite(value)) return;
    if (isBinary() && value !== 0 && value !== 1) {
      status.textContent = "A Bernoulli likelihood: pixels are 0 or 1.";
      return;
    }
    step.change(leaf().id, element.selectedIndex, value);
    page.changed();
    say();
  }

  function say() {
    const [was, now] = [step.recorded, step.now].map((run) => run.values.get(step.loss[0])[step.loss[1]].data[0]);
    status.textContent = step.isChanged
      ? `The loss is ${shown(now)}, it was ${shown(was)}. ▲ and ▼ mark what moved: ${step.movedNodes().size} of ${step.nodes.length} nodes.` : "As recorded.";
  }

  range.addEventListener("input", () => { number.value = range.value; set(Number(range.value)); });
  number.addEventListener("input", () => { if (number.value !== "") { range.value = number.value; set(Number(number.value)); } });
  root.replaceChildren(
    h("div", { class: "controls" },
      h("label", {}, "change ", which), h("label", {}, "element ", element),
      h("label", { class: "wide" }, h("span", { class: "hidden" }, "as a slider"), range),
      h("label", {}, "to ", number), reset),
    status);
  pick();
}
