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
    const numbers = page.step.isChanged ? termsNow(page.step) : null;
    for (const { td, button, row, column } of cells) {
      const was = asNumber(terms.cells[row][column][0]);
      setMoved(td, button, numbers ? numbers[row][column] : was, was);
      button.setAttribute(
        "aria-pressed",
        page.lit?.row === row && page.lit?.column === column,
      );
    }
    for (const td of means) {
      const column = Number(td.dataset.mean),
        was = asNumber(terms.means[column]);
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
  td.title =
    number === null ? "not recomputed by image" : moved ? `was ${shown(was)}` : "";
  holder.replaceChildren(
    number === null ? "–" : shown(number),
    moved ? movedMark(number, was) : "",
  );
}

/* The table again from the values as they are now: recon and KL by image and latent.
   How an objective other than recon + beta KL weighs each image is not known here. */
function termsNow(step) {
  const { kinds, cells, weight } = step.terms;
  const head = (kind) => {
    const column = kinds.indexOf(kind);
    return column < 0 ? null : step.byId.get(cells[0][column][1][0]);
  };
  const recon = byImage(step, head("recon")),
    latents = head("kl") && byLatent(step, head("kl"));
  return cells.map((row, n) => {
    let latent = 0,
      kl = 0;
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
  return Array.from({ length: array.data.length / columns }, (_, i) =>
    array.data.slice(i * columns, (i + 1) * columns),
  );
}
