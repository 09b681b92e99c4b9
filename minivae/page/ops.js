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
    const m = a[i - length + a.length] ?? 1,
      n = b[i - length + b.length] ?? 1;
    return m === 1 ? n : m;
  });
}

/* For each place of a larger shape, the place in an array that repeats to fill it. */
function repeated(shape, whole) {
  const lead = whole.length - shape.length;
  const places = new Int32Array(sizeOf(whole));
  for (let place = 0; place < places.length; place++) {
    const index = indexAt(place, whole).slice(lead);
    places[place] = placeOf(
      index.map((i, axis) => (shape[axis] === 1 ? 0 : i)),
      shape,
    );
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
  repeated(shape, gradient.shape).forEach(
    (place, i) => (out.data[place] += gradient.data[i]),
  );
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

const sigmoid = (x) =>
  x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

pointwise(
  "relu",
  (x) => Math.max(x, 0),
  (y, x) => (x > 0 ? 1 : 0),
);
pointwise(
  "leaky_relu",
  (x, { slope = 0.01 }) => (x > 0 ? x : slope * x),
  (y, x, { slope = 0.01 }) => (x > 0 ? 1 : slope),
);
pointwise(
  "elu",
  (x) => (x > 0 ? x : Math.expm1(x)),
  (y, x) => (x > 0 ? 1 : y + 1),
);
pointwise("tanh", Math.tanh, (y) => 1 - y * y);
pointwise("sigmoid", sigmoid, (y) => y * (1 - y));
pointwise("softplus", softplus, (y) => -Math.expm1(-y));
pointwise(
  "add",
  (x, y) => x + y,
  () => 1,
  () => 1,
);
pointwise(
  "sub",
  (x, y) => x - y,
  () => 1,
  () => -1,
);
pointwise(
  "mul",
  (x, y) => x * y,
  (z, x, y) => y,
  (z, x) => x,
);
pointwise(
  "div",
  (x, y) => x / y,
  (z, x, y) => 1 / y,
  (z, x, y) => -z / y,
);
pointwise(
  "neg",
  (x) => -x,
  () => -1,
);
pointwise(
  "pow",
  Math.pow,
  (z, x, y) => y * x ** (y - 1),
  (z, x) => z * Math.log(x),
);
pointwise("exp", Math.exp, (y) => y);
pointwise("log", Math.log, (y, x) => 1 / x);
pointwise("log1p", Math.log1p, (y, x) => 1 / (1 + x));
pointwise("expm1", Math.expm1, (y) => y + 1);
pointwise("sqrt", Math.sqrt, (y) => 1 / (2 * y));
pointwise("abs", Math.abs, (y, x) => Math.sign(x));
pointwise(
  "maximum",
  (x, y) => Math.max(x, y), // not more: f is given the settings too
  (z, x, y) => (x > y) + 0.5 * (x === y),
  (z, x, y) => (y > x) + 0.5 * (x === y),
);
pointwise(
  "where",
  (c, x, y) => (c ? x : y),
  () => 0,
  (z, c) => (c ? 1 : 0),
  (z, c) => (c ? 0 : 1),
);
pointwise(
  "reparameterize",
  (mu, l, eps) => mu + Math.exp(l / 2) * eps,
  () => 1,
  (z, mu, l, eps) => 0.5 * eps * Math.exp(l / 2),
);

// The same elements in another shape

const relayed = (forward) => ({
  forward,
  rule: ([g], y, [x]) => ({ shape: x.shape, data: g.data }),
});
OPS.reshape = relayed(([x], { shape }) => {
  const known = shape.filter((n) => n >= 0).reduce((a, b) => a * b, 1);
  return [
    { shape: shape.map((n) => (n < 0 ? x.data.length / known : n)), data: x.data },
  ];
});
OPS.broadcast_to = {
  forward: ([x], { shape }) => [elementwise((x) => x, x, filled(shape))],
  rule: ([g]) => g,
};

function permuted(x, axes) {
  const out = filled(axes.map((axis) => x.shape[axis]));
  for (let place = 0; place < out.data.length; place++) {
    const index = indexAt(place, out.shape),
      from = [];
    axes.forEach((axis, i) => (from[axis] = index[i]));
    out.data[place] = x.data[placeOf(from, x.shape)];
  }
  return out;
}

function axesOf(x, axes) {
  const n = x.shape.length;
  return axes
    ? axes.map((a) => (a + n) % n)
    : Array.from({ length: n }, (_, i) => n - 1 - i);
}

OPS.transpose = {
  forward: ([x], { axes }) => [permuted(x, axesOf(x, axes))],
  rule: ([g], y, [x], { axes }) => {
    const order = axesOf(x, axes);
    return permuted(
      g,
      order.map((_, axis) => order.indexOf(axis)),
    );
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

function reduction(name, value, derivative, always = {}) {
  OPS[name] = {
    forward: ([x], given) => {
      const params = { ...given, ...always };
      const kept = keptShape(x, params.axis);
      const cells = Array.from({ length: sizeOf(kept) }, () => []);
      repeated(kept, x.shape).forEach((place, i) => cells[place].push(x.data[i]));
      return [
        { shape: droppedShape(x, params), data: Float64Array.from(cells, value) },
      ];
    },
    rule: ([g], [y], [x], given) => {
      const kept = keptShape(x, { ...given, ...always }.axis);
      const n = x.data.length / sizeOf(kept);
      const wide = (a) => ({ shape: kept, data: a.data });
      const tied = filled(kept);
      repeated(kept, x.shape).forEach(
        (place, i) => (tied.data[place] += x.data[i] === y.data[place]),
      );
      return elementwise(
        (x, y, g, ties) => g * derivative(x, y, n, ties),
        x,
        wide(y),
        wide(g),
        tied,
      );
    },
  };
}

const total = (numbers) => numbers.reduce((a, b) => a + b, 0);
reduction("sum", total, () => 1);
reduction(
  "mean",
  (x) => total(x) / x.length,
  (x, y, n) => 1 / n,
);
reduction(
  "max",
  (x) => Math.max(...x),
  (x, y, n, ties) => (x === y) / ties,
);
const logSumExp = (x) => {
  const most = Math.max(...x);
  return most + Math.log(total(x.map((v) => Math.exp(v - most))));
};
reduction("logsumexp", logSumExp, (x, y) => Math.exp(x - y));
reduction(
  "logmeanexp",
  (x) => logSumExp(x) - Math.log(x.length),
  (x, y, n) => Math.exp(x - y) / n,
  { axis: 1 },
);

// Matrices

function product(x, y) {
  const [rows, inner] = x.shape,
    columns = y.shape[1];
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
  rule: ([g], z, [x, y], params, i) =>
    i === 0 ? product(g, turned(y)) : product(turned(x), g),
};
OPS.linear = {
  forward: ([x, w, b]) => [elementwise((z, b) => z + b, product(x, turned(w)), b)],
  rule: ([g], z, [x, w], params, i) => {
    if (i === 0) return product(g, w);
    return i === 1
      ? product(turned(g), x)
      : { shape: [g.shape[1]], data: overRows(g).data };
  },
};
