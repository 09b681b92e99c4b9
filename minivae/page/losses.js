/* Losses: summed over the event, then the mean over the batch. */

function perImage(values) {
  const N = values.shape[0],
    size = values.data.length / N;
  return Float64Array.from({ length: N }, (_, n) =>
    total([...values.data.slice(n * size, (n + 1) * size)]),
  );
}

function reduced(values, { reduction = "mean" }) {
  const each = perImage(values);
  return reduction === "mean"
    ? scalar(total([...each]) / each.length)
    : { shape: [each.length], data: each };
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
      elementwise(
        (g, ...x) => g * derivatives[i](...x),
        spread(g, inputs[0], params),
        ...inputs,
      ),
  };
}

const bce = [(l, x) => softplus(l) - l * x, (l, x) => sigmoid(l) - x];
const kl = [
  (mu, l) => 0.5 * (mu * mu + Math.expm1(l) - l),
  (mu) => mu,
  (mu, l) => 0.5 * Math.expm1(l),
];
loss("bernoulli_nll", ...bce);
loss("soft_bce", ...bce);
loss(
  "squared_error",
  (r, x) => (r - x) ** 2,
  (r, x) => 2 * (r - x),
);
loss(
  "gaussian_nll",
  (mu, l, x) => 0.5 * (LOG_2PI + l + (x - mu) ** 2 * Math.exp(-l)),
  (mu, l, x) => (mu - x) * Math.exp(-l),
  (mu, l, x) => 0.5 * (1 - (x - mu) ** 2 * Math.exp(-l)),
);
loss("gaussian_kl", ...kl);
OPS.reparameterize_kl = {
  forward: (inputs, params) => [
    ...OPS.reparameterize.forward(inputs),
    ...OPS.gaussian_kl.forward(inputs.slice(0, 2), params),
  ],
  rule: ([gz, gk], out, inputs, params, i) =>
    elementwise(
      (a, b) => a + b,
      OPS.reparameterize.rule([gz], out, inputs, params, i),
      OPS.gaussian_kl.rule([gk], out, inputs.slice(0, 2), params, i),
    ),
};
