/* The table of the loss: what its numbers come from, and what they are after a change. */

/* Make the cells of the table buttons that light what they come from. */
function makeTerms(page, root) {
  if (!root) return { refresh() {} };
  const { terms } = page.step;
  const cells = [...root.querySelectorAll("td[data-cell]")].map((td) => {
    const [row, column] = td.dataset.cell.split(",").map(Number);
    const onclick = () => page.light(row, column);
    const button = h("button", { type: "button", onclick }, ...td.childNodes);
    td.replaceChildren(button);
    return { td, button, row, column };
  });
  const means = [...root.querySelectorAll("td[data-mean]")];

  function refresh() {
    const now = termsOf(page.step, page.step.now);
    const before = termsOf(page.step, page.step.before);
    for (const { td, button, row, column } of cells) {
      setMoved(td, button, now[row][column], before[row][column]);
      const isLit = page.lit?.row === row && page.lit?.column === column;
      button.setAttribute("aria-pressed", isLit);
    }
    for (const td of means) {
      const column = Number(td.dataset.mean);
      const [mean, was] = [now, before].map((numbers) => meanOf(numbers, column));
      const isLoss = terms.kinds[column] === "total";
      if (isLoss) setMoved(td, td, ...[page.step.now, page.step.before].map(lossOf));
      else setMoved(td, td, mean, was);
    }
  }

  const lossOf = ({ values }) =>
    values.get(page.step.loss[0])[page.step.loss[1]].data[0];
  return { refresh };
}

function meanOf(numbers, column) {
  if (numbers[0][column] === null) return null;
  return numbers.reduce((sum, row) => sum + row[column], 0) / numbers.length;
}

/* Write a number, marked if it moved; null is one that the page does not compute. */
function setMoved(td, holder, number, was) {
  const moved = number !== null && hasMoved(number, was);
  td.classList.toggle("moved", moved);
  td.title =
    number === null ? "not recomputed by image" : moved ? `was ${shown(was)}` : "";
  holder.replaceChildren(
    number === null ? "–" : shown(number),
    moved ? movedMark(number, was) : "",
  );
}

/* The table of a run, row by row. As recorded it is Python's. What an objective makes of
   each image the page does not know: a column that does not come out as recorded from
   the recorded values is null after any change. */
function termsOf(step, run) {
  const { cells, kinds } = step.terms;
  if (run === step.recorded)
    return cells.map((row) => row.map((cell) => asNumber(cell[0])));
  const recorded = columnsOf(step, step.recorded);
  const columns = columnsOf(step, run);
  const isKnown = kinds.map((_, j) =>
    cells.every((row, n) => isSame(recorded[j]?.[n], asNumber(row[j][0]))),
  );
  return cells.map((_, n) => kinds.map((_, j) => (isKnown[j] ? columns[j][n] : null)));
}

function isSame(found, wanted) {
  return Math.abs(found - wanted) <= 1e-4 * Math.max(1, Math.abs(wanted));
}

/* Each column as numbers by image, as if the loss were recon + weight * KL. */
function columnsOf(step, run) {
  const { kinds, cells, weight } = step.terms;
  const head = (kind) => step.byId.get(cells[0][kinds.indexOf(kind)]?.[1][0]);
  const recon = byImage(step, run, head("recon"));
  const latents = head("kl") ? byLatent(step, run, head("kl")) : [];
  const sums = cells.map((_, n) =>
    latents.reduce((sum, column) => sum + (weight ?? NaN) * column[n], 0),
  );
  let latent = 0;
  return kinds.map((kind) => {
    if (kind === "recon") return recon;
    if (kind === "kl") return latents[latent++];
    return kind === "weighted" ? sums : sums.map((sum, n) => recon[n] + sum);
  });
}

function byImage(step, run, node) {
  const inputs = step.inputsOf(node, run);
  if (OPS[node.op].terms) return perImage(OPS[node.op].terms(inputs));
  return inputs[0].data; // the mean of one number an image
}

/* A column for each latent: the terms of the KL before their sum. */
function byLatent(step, run, node) {
  const inputs = step.inputsOf(node, run);
  const terms = OPS[node.op].terms?.(inputs);
  if (terms) return columnsIn(terms);
  const source = step.byId.get(node.inputs[0][0]);
  if (node.op === "mean" && source?.inputs) return byLatent(step, run, source);
  return columnsIn(inputs[0]);
}

function columnsIn({ shape, data }) {
  const columns = shape.at(-1) ?? 1;
  return Array.from({ length: columns }, (_, j) =>
    data.filter((_, place) => place % columns === j),
  );
}
