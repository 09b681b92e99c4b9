/* A formula with the numbers of one element, written out. */

const MOST_TERMS = 6;

function sup(...parts) {
  return h("sup", {}, ...parts);
}

/* A number within a product: a negative one in brackets. */
function factor(number) {
  return number < 0 ? `(${shown(number)})` : shown(number);
}

/* Parts joined by + or −, the middle left out when there are many. */
function summed(terms) {
  if (terms.length <= MOST_TERMS) return joined(terms);
  const few = joined(terms.slice(0, MOST_TERMS - 1));
  return [...few, ` + … (${terms.length} terms)`];
}

function joined(terms) {
  return terms.flatMap((term, i) => (i ? [" + ", term] : [term]));
}

const UNARY = {
  relu: (x) => [`max(${shown(x)}, 0)`],
  tanh: (x) => [`tanh ${factor(x)}`],
  sigmoid: (x) => ["1 / (1 + e", sup(shown(-x)), ")"],
  softplus: (x) => ["log(1 + e", sup(shown(x)), ")"],
  exp: (x) => ["e", sup(shown(x))],
  log: (x) => [`log ${shown(x)}`],
  log1p: (x) => [`log(1 + ${factor(x)})`],
  expm1: (x) => ["e", sup(shown(x)), " − 1"],
  sqrt: (x) => [`√${shown(x)}`],
  neg: (x) => [`−${factor(x)}`],
  abs: (x) => [`|${shown(x)}|`],
};
const BINARY = {
  add: (x, y) => [`${shown(x)} + ${factor(y)}`],
  sub: (x, y) => [`${shown(x)} − ${factor(y)}`],
  mul: (x, y) => [`${factor(x)} · ${factor(y)}`],
  div: (x, y) => [`${shown(x)} / ${factor(y)}`],
  pow: (x, y) => [factor(x), sup(shown(y))],
  maximum: (x, y) => [`max(${shown(x)}, ${shown(y)})`],
  reparameterize: (mu, l, e) => [
    `${shown(mu)} + e`,
    sup(`${shown(l)} / 2`),
    ` · ${factor(e)}`,
  ],
};
const TERM = {
  bernoulli_nll: (l, x) => [
    "log(1 + e",
    sup(shown(l)),
    `) − ${factor(l)} · ${shown(x)}`,
  ],
  soft_bce: (l, x) => ["log(1 + e", sup(shown(l)), `) − ${factor(l)} · ${shown(x)}`],
  squared_error: (r, x) => [`(${shown(r)} − ${factor(x)})²`],
  gaussian_nll: (mu, l, x) => [
    `½ (log 2π + ${factor(l)} + (${shown(x)} − ${factor(mu)})² e`,
    sup(shown(-l)),
    ")",
  ],
  gaussian_kl: (mu, l) => [
    `½ (${factor(mu)}² + e`,
    sup(shown(l)),
    ` − 1 − ${factor(l)})`,
  ],
};

/* Return what the element at `place` is computed from, or null if that cannot be shown. */
function worked(node, inputs, output, place) {
  const numbers = () =>
    inputs.map((x) => x.data[repeatedPlace(place, output.shape, x.shape)]);
  if (UNARY[node.op]) return UNARY[node.op](...numbers());
  if (BINARY[node.op]) return BINARY[node.op](...numbers());
  if (TERM[node.op]) return lossWorked(node, inputs, place);
  const index = indexAt(place, output.shape);
  switch (node.op) {
    case "linear":
      return linearWorked(inputs, index);
    case "matmul":
      return matmulWorked(inputs, index);
    case "conv2d":
      return windowWorked(node, inputs, output, place);
    case "sum":
    case "mean":
      return reducedWorked(node, inputs[0], place);
    case "reshape":
      return [`the same number, from ${bracketed(indexAt(place, inputs[0].shape))}`];
    default:
      return null;
  }
}

function repeatedPlace(place, whole, shape) {
  const index = indexAt(place, whole).slice(whole.length - shape.length);
  return placeOf(
    index.map((i, axis) => (shape[axis] === 1 ? 0 : i)),
    shape,
  );
}

function linearWorked([x, w, b], [n, o]) {
  const inner = x.shape[1];
  const terms = Array.from(
    { length: inner },
    (_, k) => `${factor(x.data[n * inner + k])} · ${factor(w.data[o * inner + k])}`,
  );
  return [...summed(terms), ` + ${factor(b.data[o])}`];
}

function matmulWorked([x, y], [i, j]) {
  const inner = x.shape.at(-1);
  if (x.shape.length !== 2 || y.shape.length !== 2) return null;
  return summed(
    Array.from(
      { length: inner },
      (_, k) =>
        `${factor(x.data[i * inner + k])} · ${factor(y.data[k * y.shape[1] + j])}`,
    ),
  );
}

function windowWorked(node, [x, w, b], output, place) {
  const terms = [];
  overWindows(x.shape, w.shape, output.shape, node.params, (i, k, j) => {
    if (j === place) terms.push(`${factor(x.data[i])} · ${factor(w.data[k])}`);
  });
  const o = indexAt(place, output.shape)[1];
  return [...summed(terms), ` + ${factor(b.data[o])}`];
}

function reducedWorked(node, x, place) {
  const kept = keptShape(x, node.params.axis);
  const terms = [];
  repeated(kept, x.shape).forEach((to, i) => {
    if (to === place) terms.push(factor(x.data[i]));
  });
  return node.op === "sum"
    ? summed(terms)
    : ["(", ...summed(terms), `) / ${terms.length}`];
}

/* A loss of one image: a term for each pixel; the mean: a term for each image. */
function lossWorked(node, inputs, place) {
  const terms = OPS[node.op].terms(inputs);
  if ((node.params.reduction ?? "mean") === "mean") {
    const each = [...perImage(terms)].map(factor);
    return each.length > 1 ? ["(", ...summed(each), `) / ${each.length}`] : each;
  }
  const size = terms.data.length / terms.shape[0];
  return summed(Array.from(terms.data.slice(place * size, (place + 1) * size), factor));
}

/* Backward, any rule: what each element of the sender's outputs adds to one element of
   the gradient. [{ output, place, upstream, derivative, size }], the largest first. */
function shares(node, event, inputs, outputs, upstream, place) {
  const found = [];
  const raws =
    event.kind === "unbroadcast"
      ? placesSummedTo(place, inputs[event.position].shape, upstream.raw)
      : [place];
  upstream.outputs.forEach((g, output) =>
    g.data.forEach((number, from) => {
      if (number === 0) return;
      const alone = upstream.outputs.map((other, i) => filled(other.shape));
      alone[output].data[from] = number;
      const sent = OPS[node.op].rule(
        alone,
        outputs,
        inputs,
        node.params,
        event.position,
      );
      const size = raws.reduce((sum, raw) => sum + sent.data[raw], 0);
      if (size !== 0)
        found.push({
          output,
          place: from,
          upstream: number,
          derivative: size / number,
          size,
        });
    }),
  );
  return found.sort((a, b) => Math.abs(b.size) - Math.abs(a.size));
}

function placesSummedTo(place, shape, raw) {
  const places = [];
  repeated(shape, raw.shape).forEach((to, i) => {
    if (to === place) places.push(i);
  });
  return places;
}
