/* The ops again, in the page, for arrays of a few hundred cells: what if a number changes?

   OPS[name] = { forward(inputs, params) -> outputs, rule(gs, outputs, inputs, params, i) }
   An array is { shape, data }. A rule returns the adjoint of input i in the shape that
   Python's has before it is un-broadcast. Tests compare every number with Python's. */

const LOG_2PI = Math.log(2 * Math.PI);
const OPS = {};

// Broadcasting

function broadcastShape(a, b) {
  const length = Math.max(a.length, b.length);
  return Array.from({ length }, (_, i) => {
    const m = a[i - length + a.length] ?? 1, n = b[i - length + b.length] ?? 1;
    return m === 1 ? n : m;
  });
}

/* For each place of a larger shape, the place in an array that repeats to fill it. */
function repeated(shape, whole) {
  const lead = whole.length - shape.length;
  const places = new Int32Array(sizeOf(whole));
  for (let place = 0; place < places.length; place++) {
    const index = indexAt(place, whole).slice(lead);
    places[place] = placeOf(index.map((i, axis) => (shape[axis] === 1 ? 0 : i)), shape);
  }
  return places;
}

function elementwise(f, ...arrays) {
  const shape = arrays.map((a) => a.shape).reduce(broadcastShape);
  const places = arrays.map((a) => repeated(a.shape, shape));
  const out = filled(shape);
  for (let i = 0; i < out.data.length; i++) {
    out.data[i] = f(...arrays.map((a, n) => a.data[places[n][i]]));
  }
  return out;
}

/* Sum an adjoint over the axes along which its input was repeated. */
function unbroadcast(gradient, shape) {
  const out = filled(shape);
  repeated(shape, gradient.shape).forEach((place, i) => (out.data[place] += gradient.data[i]));
  return out;
}

// One element after the other: f(x, ...), and its derivative by each input

function pointwise(name, f, ...derivatives) {
  OPS[name] = {
    forward: (inputs, params) => [elementwise((...x) => f(...x, params), ...inputs)],
    rule: ([g], [y], inputs, params, i) =>
      elementwise((g, y, ...x) => g * derivatives[i](y, ...x, params), g, y, ...inputs),
  };
}

const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

pointwise("relu", (x) => Math.max(x, 0), (y, x) => (x > 0 ? 1 : 0));
pointwise("leaky_relu", (x, { slope = 0.01 }) => (x > 0 ? x : slope * x), (y, x, { slope = 0.01 }) => (x > 0 ? 1 : slope));
pointwise("elu", (x) => (x > 0 ? x : Math.expm1(x)), (y, x) => (x > 0 ? 1 : y + 1));
pointwise("tanh", Math.tanh, (y) => 1 - y * y);
pointwise("sigmoid", sigmoid, (y) => y * (1 - y));
pointwise("softplus", softplus, (y) => -Math.expm1(-y));
pointwise("add", (x, y) => x + y, () => 1, () => 1);
pointwise("sub", (x, y) => x - y, () => 1, () => -1);
pointwise("mul", (x, y) => x * y, (z, x, y) => y, (z, x) => x);
pointwise("div", (x, y) => x / y, (z, x, y) => 1 / y, (z, x, y) => -z / y);
pointwise("neg", (x) => -x, () => -1);
pointwise("pow", Math.pow, (z, x, y) => y * x ** (y - 1), (z, x) => z * Math.log(x));
pointwise("exp", Math.exp, (y) => y);
pointwise("log", Math.log, (y, x) => 1 / x);
pointwise("log1p", Math.log1p, (y, x) => 1 / (1 + x));
pointwise("expm1", Math.expm1, (y) => y + 1);
pointwise("sqrt", Math.sqrt, (y) => 1 / (2 * y));
pointwise("abs", Math.abs, (y, x) => Math.sign(x));
pointwise("maximum", Math.max, (z, x, y) => (x > y) + 0.5 * (x === y), (z, x, y) => (y > x) + 0.5 * (x === y));
pointwise("where", (c, x, y) => (c ? x : y), () => 0, (z, c) => (c ? 1 : 0), (z, c) => (c ? 0 : 1));
pointwise("reparameterize", (mu, l, eps) => mu + Math.exp(l / 2) * eps, () => 1, (z, mu, l, eps) => 0.5 * eps * Math.exp(l / 2));

// The same elements in another shape

const relayed = (forward) => ({ forward, rule: ([g], y, [x]) => ({ shape: x.shape, data: g.data }) });
OPS.reshape = relayed(([x], { shape }) => {
  const known = shape.filter((n) => n >= 0).reduce((a, b) => a * b, 1);
  return [{ shape: shape.map((n) => (n < 0 ? x.data.length / known : n)), data: x.data }];
});
OPS.broadcast_to = {
  forward: ([x], { shape }) => [elementwise((x) => x, x, filled(shape))],
  rule: ([g]) => g,
};

function permuted(x, axes) {
  const out = filled(axes.map((axis) => x.shape[axis]));
  for (let place = 0; place < out.data.length; place++) {
    const index = indexAt(place, out.shape), from = [];
    axes.forEach((axis, i) => (from[axis] = index[i]));
    out.data[place] = x.data[placeOf(from, x.shape)];
  }
  return out;
}

function axesOf(x, axes) {
  const n = x.shape.length;
  return axes ? axes.map((a) => (a + n) % n) : Array.from({ length: n }, (_, i) => n - 1 - i);
}

OPS.transpose = {
  forward: ([x], { axes }) => [permuted(x, axesOf(x, axes))],
  rule: ([g], y, [x], { axes }) => {
    const order = axesOf(x, axes);
    return permuted(g, order.map((_, axis) => order.indexOf(axis)));
  },
};

// Over axes

/* The shape with the reduced axes kept at length 1. */
function keptShape(x, axis) {
  const n = x.shape.length;
  const lost = axis === null || axis === undefined ? x.shape.keys() : [axis].flat();
  const axes = new Set(Array.from(lost, (a) => (a + n) % n));
  return x.shape.map((size, i) => (axes.has(i) ? 1 : size));
}

function droppedShape(x, { axis, keepdims }) {
  const kept = keptShape(x, axis);
  if (keepdims) return kept;
  const n = x.shape.length;
  if (axis === null || axis === undefined) return [];
  const axes = new Set([axis].flat().map((a) => (a + n) % n));
  return kept.filter((_, i) => !axes.has(i));
}

function reduction(name, value, derivative) {
  OPS[name] = {
    forward: ([x], params) => {
      const kept = keptShape(x, params.axis);
      const cells = Array.from({ length: sizeOf(kept) }, () => []);
      repeated(kept, x.shape).forEach((place, i) => cells[place].push(x.data[i]));
      return [{ shape: droppedShape(x, params), data: Float64Array.from(cells, value) }];
    },
    rule: ([g], [y], [x], params) => {
      const kept = keptShape(x, params.axis);
      const n = x.data.length / sizeOf(kept);
      const wide = (a) => ({ shape: kept, data: a.data });
      const tied = filled(kept);
      repeated(kept, x.shape).forEach((place, i) => (tied.data[place] += x.data[i] === y.data[place]));
      return elementwise((x, y, g, ties) => g * derivative(x, y, n, ties), x, wide(y), wide(g), tied);
    },
  };
}

const total = (numbers) => numbers.reduce((a, b) => a + b, 0);
reduction("sum", total, () => 1);
reduction("mean", (x) => total(x) / x.length, (x, y, n) => 1 / n);
reduction("max", (x) => Math.max(...x), (x, y, n, ties) => (x === y) / ties);
reduction("logsumexp", (x) => {
  const most = Math.max(...x);
  return most + Math.log(total(x.map((v) => Math.exp(v - most))));
}, (x, y) => Math.exp(x - y));

// Matrices

function product(x, y) {
  const [rows, inner] = x.shape, columns = y.shape[1];
  const out = filled([rows, columns]);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < inner; k++) {
      for (let j = 0; j < columns; j++) {
        out.data[i * columns + j] += x.data[i * inner + k] * y.data[k * columns + j];
      }
    }
  }
  return out;
}

const turned = (x) => permuted(x, [1, 0]);
const overRows = (g) => unbroadcast(g, [1, g.shape[1]]);

OPS.matmul = {
  forward: ([x, y]) => [product(x, y)],
  rule: ([g], z, [x, y], params, i) => (i === 0 ? product(g, turned(y)) : product(turned(x), g)),
};
OPS.linear = {
  forward: ([x, w, b]) => [elementwise((z, b) => z + b, product(x, turned(w)), b)],
  rule: ([g], z, [x, w], params, i) => {
    if (i === 0) return product(g, w);
    return i === 1 ? product(turned(g), x) : { shape: [g.shape[1]], data: overRows(g).data };
  },
};

// Convolution: every product of a pixel of the image x, a weight, and a pixel of the map y

/* Call visit(x place, w place, y place) for x (N,C,H,W), w (O,C,Kh,Kw), y (N,O,P,Q). */
function overWindows(x, w, y, { stride = 1, padding = 0 }, visit) {
  const [N, C, H, W] = x, [O, , Kh, Kw] = w, [, , P, Q] = y;
  for (let n = 0; n < N; n++) for (let o = 0; o < O; o++) for (let c = 0; c < C; c++)
    for (let p = 0; p < P; p++) for (let q = 0; q < Q; q++)
      for (let a = 0; a < Kh; a++) for (let b = 0; b < Kw; b++) {
        const r = p * stride - padding + a, s = q * stride - padding + b;
        if (r < 0 || s < 0 || r >= H || s >= W) continue;
        visit(((n * C + c) * H + r) * W + s, ((o * C + c) * Kh + a) * Kw + b, ((n * O + o) * P + p) * Q + q);
      }
}

function gathered(x, w, shape, params) {
  const y = filled(shape);
  overWindows(x.shape, w.shape, shape, params, (i, k, j) => (y.data[j] += x.data[i] * w.data[k]));
  return y;
}

function scattered(y, w, shape, params) {
  const x = filled(shape);
  overWindows(shape, w.shape, y.shape, params, (i, k, j) => (x.data[i] += y.data[j] * w.data[k]));
  return x;
}

function weighed(x, y, shape, params) {
  const w = filled(shape);
  overWindows(x.shape, shape, y.shape, params, (i, k, j) => (w.data[k] += x.data[i] * y.data[j]));
  return w;
}

const perChannel = (g) => ({ shape: [g.shape[1]], data: unbroadcast(g, [1, g.shape[1], 1, 1]).data });
const withBias = (y, b) => elementwise((y, b) => y + b, y, { shape: [b.data.length, 1, 1], data: b.data });

OPS.conv2d = {
  forward: ([x, w, b], params) => {
    const { stride = 1, padding = 0 } = params;
    const size = (axis) => Math.floor((x.shape[axis] + 2 * padding - w.shape[axis]) / stride) + 1;
    return [withBias(gathered(x, w, [x.shape[0], w.shape[0], size(2), size(3)], params), b)];
  },
  rule: ([g], y, [x, w], params, i) => {
    if (i === 0) return scattered(g, w, x.shape, params);
    return i === 1 ? weighed(x, g, w.shape, params) : perChannel(g);
  },
};
OPS.conv_transpose2d = {
  forward: ([y, w, b], params) => {
    const { stride = 1, padding = 0, output_padding = 0 } = params;
    const size = (axis) => (y.shape[axis] - 1) * stride - 2 * padding + w.shape[axis] + output_padding;
    return [withBias(scattered(y, w, [y.shape[0], w.shape[1], size(2), size(3)], params), b)];
  },
  rule: ([g], x, [y, w], params, i) => {
    if (i === 0) return gathered(g, w, y.shape, params);
    return i === 1 ? weighed(g, y, w.shape, params) : perChannel(g);
  },
};

// Losses: summed over the event, then the mean over the batch

function perImage(values) {
  const N = values.shape[0], size = values.data.length / N;
  return Float64Array.from({ length: N }, (_, n) => total([...values.data.slice(n * size, (n + 1) * size)]));
}

function reduced(values, { reduction = "mean" }) {
  const each = perImage(values);
  return reduction === "mean" ? scalar(total([...each]) / each.length) : { shape: [each.length], data: each };
}

/* The upstream of one element, given that of the reduced loss. */
function spread(g, like, { reduction = "mean" }) {
  const shape = [like.shape[0], ...like.shape.slice(1).map(() => 1)];
  if (reduction === "mean") return filled(shape, g.data[0] / shape[0]);
  return g.shape.length ? { shape, data: g.data } : filled(shape, g.data[0]);
}

function loss(name, f, ...derivatives) {
  OPS[name] = {
    terms: (inputs) => elementwise(f, ...inputs),
    forward: (inputs, params) => [reduced(elementwise(f, ...inputs), params)],
    rule: ([g], out, inputs, params, i) =>
      elementwise((g, ...x) => g * derivatives[i](...x), spread(g, inputs[0], params), ...inputs),
  };
}

const bce = [(l, x) => softplus(l) - l * x, (l, x) => sigmoid(l) - x];
const kl = [(mu, l) => 0.5 * (mu * mu + Math.expm1(l) - l), (mu) => mu, (mu, l) => 0.5 * Math.expm1(l)];
loss("bernoulli_nll", ...bce);
loss("soft_bce", ...bce);
loss("squared_error", (r, x) => (r - x) ** 2, (r, x) => 2 * (r - x));
loss("gaussian_nll", (mu, l, x) => 0.5 * (LOG_2PI + l + (x - mu) ** 2 * Math.exp(-l)),
  (mu, l, x) => (mu - x) * Math.exp(-l), (mu, l, x) => 0.5 * (1 - (x - mu) ** 2 * Math.exp(-l)));
loss("gaussian_kl", ...kl);
OPS.reparameterize_kl = {
  forward: (inputs, params) => [
    ...OPS.reparameterize.forward(inputs), ...OPS.gaussian_kl.forward(inputs.slice(0, 2), params),
  ],
  rule: ([gz, gk], out, inputs, params, i) => elementwise((a, b) => a + b,
    OPS.reparameterize.rule([gz], out, inputs, params, i),
    OPS.gaussian_kl.rule([gk], out, inputs.slice(0, 2), params, i)),
};

// A recording, played again

/* Lay out the elements of an array in a shape, from the first again when used up. */
function laidOut(array, shape) {
  if (!shape) return array;
  const n = array.data.length;
  return { shape, data: Float64Array.from({ length: sizeOf(shape) }, (_, i) => array.data[i % n]) };
}

/* Forward: the values of all nodes, given those of the leaves by id. */
function playForward(nodes, leaves) {
  const values = new Map(leaves);
  for (const node of nodes) {
    const inputs = inputsOf(node, values);
    values.set(node.id, OPS[node.op].forward(inputs, node.params));
  }
  return values;
}

function inputsOf(node, values) {
  return node.inputs.map(([id, output, shape]) => laidOut(values.get(id)[output], shape));
}

/* Backward: for each recorded event what arrives, what leaves, and the sum so far. */
function playBackward(step, values) {
  const nodes = new Map(step.nodes.map((node) => [node.id, node]));
  const adjoints = new Map([[step.loss.join(), scalar(1)]]);
  let raw = null;
  return step.events.map((event) => {
    const node = nodes.get(event.sender);
    const outputs = values.get(node.id);
    let upstream, gradient;
    if (event.kind === "contribution") {
      upstream = outputs.map((_, i) => adjoints.get(`${node.id},${i}`) ?? scalar(0));
      gradient = raw = OPS[node.op].rule(upstream, outputs, inputsOf(node, values), node.params, event.position);
    } else {
      upstream = [raw];
      gradient = unbroadcast(raw, inputsOf(node, values)[event.position].shape);
    }
    const key = `${event.receiver},${event.output}`;
    if (event.adds) {
      const before = adjoints.get(key);
      adjoints.set(key, before ? elementwise((a, b) => a + b, before, gradient) : gradient);
    }
    return { upstream, gradient, total: adjoints.get(key) ?? null };
  });
}
