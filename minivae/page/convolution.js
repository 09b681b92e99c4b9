/* Convolution: every product of a pixel of an image x, a weight, and a pixel of a map y. */

/* Call visit(x place, w place, y place) for x (N,C,H,W), w (O,C,Kh,Kw), y (N,O,P,Q). */
function overWindows(x, w, y, { stride = 1, padding = 0 }, visit) {
  const [N, C, H, W] = x,
    [O, , Kh, Kw] = w,
    [, , P, Q] = y;
  for (let n = 0; n < N; n++)
    for (let o = 0; o < O; o++)
      for (let c = 0; c < C; c++)
        for (let p = 0; p < P; p++)
          for (let q = 0; q < Q; q++)
            for (let a = 0; a < Kh; a++)
              for (let b = 0; b < Kw; b++) {
                const r = p * stride - padding + a,
                  s = q * stride - padding + b;
                if (r < 0 || s < 0 || r >= H || s >= W) continue;
                visit(
                  ((n * C + c) * H + r) * W + s,
                  ((o * C + c) * Kh + a) * Kw + b,
                  ((n * O + o) * P + p) * Q + q,
                );
              }
}

function gathered(x, w, shape, params) {
  const y = filled(shape);
  overWindows(
    x.shape,
    w.shape,
    shape,
    params,
    (i, k, j) => (y.data[j] += x.data[i] * w.data[k]),
  );
  return y;
}

function scattered(y, w, shape, params) {
  const x = filled(shape);
  overWindows(
    shape,
    w.shape,
    y.shape,
    params,
    (i, k, j) => (x.data[i] += y.data[j] * w.data[k]),
  );
  return x;
}

function weighed(x, y, shape, params) {
  const w = filled(shape);
  overWindows(
    x.shape,
    shape,
    y.shape,
    params,
    (i, k, j) => (w.data[k] += x.data[i] * y.data[j]),
  );
  return w;
}

const perChannel = (g) => ({
  shape: [g.shape[1]],
  data: unbroadcast(g, [1, g.shape[1], 1, 1]).data,
});
const withBias = (y, b) =>
  elementwise((y, b) => y + b, y, { shape: [b.data.length, 1, 1], data: b.data });

OPS.conv2d = {
  forward: ([x, w, b], params) => {
    const { stride = 1, padding = 0 } = params;
    const size = (axis) =>
      Math.floor((x.shape[axis] + 2 * padding - w.shape[axis]) / stride) + 1;
    return [
      withBias(gathered(x, w, [x.shape[0], w.shape[0], size(2), size(3)], params), b),
    ];
  },
  rule: ([g], y, [x, w], params, i) => {
    if (i === 0) return scattered(g, w, x.shape, params);
    return i === 1 ? weighed(x, g, w.shape, params) : perChannel(g);
  },
};
OPS.conv_transpose2d = {
  forward: ([y, w, b], params) => {
    const { stride = 1, padding = 0, output_padding = 0 } = params;
    const size = (axis) =>
      (y.shape[axis] - 1) * stride - 2 * padding + w.shape[axis] + output_padding;
    return [
      withBias(scattered(y, w, [y.shape[0], w.shape[1], size(2), size(3)], params), b),
    ];
  },
  rule: ([g], x, [y, w], params, i) => {
    if (i === 0) return gathered(g, w, y.shape, params);
    return i === 1 ? weighed(g, y, w.shape, params) : perChannel(g);
  },
};
