/* A decoder in plain JavaScript: each layer is a function from numbers to numbers.

   const decode = makeDecoder(layers, weights, latents)
     layers   [{ layer: "Linear", weight: { at, shape }, bias: { at, shape } }, ...]
     weights  a Float32Array, in which each parameter begins `at` its place
   decode(code) returns the image (C, H, W) as a Float64Array, which the next call
   writes anew. */

function makeDecoder(layers, weights, latents) {
  const read = ({ at, shape }) => weights.subarray(at, at + sizeOf(shape));
  let shape = [latents];
  const steps = layers.map((layer) => {
    const made = LAYERS[layer.layer](layer, shape, read);
    shape = made.shape;
    return made.run;
  });
  return (code) => steps.reduce((numbers, step) => step(numbers), code);
}

/* A layer by its name: (what the page says of it, the shape it reads, a reader of
   parameters) -> { shape, run }. Every layer writes into an array of its own. */
const LAYERS = {
  Linear: linear,
  Conv2d: convolution,
  ConvTranspose2d: transposedConvolution,
  Upsample: upsampling,
  LayerNorm: layerNorm,
  Flatten: (layer, shape) => ({ shape: [sizeOf(shape)], run: (x) => x }),
  Unflatten: (layer) => ({ shape: layer.shape, run: (x) => x }),
  ReLU: elementwise((x) => Math.max(x, 0)),
  LeakyReLU: elementwise((x) => (x > 0 ? x : 0.01 * x)),
  ELU: elementwise((x) => (x > 0 ? x : Math.expm1(x))),
  Tanh: elementwise(Math.tanh),
  Sigmoid: elementwise((x) => 1 / (1 + Math.exp(-x))),
  Softplus: elementwise((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
};

function sizeOf(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

function elementwise(f) {
  return (layer, shape) => {
    const y = new Float64Array(sizeOf(shape));
    const run = (x) => {
      for (let i = 0; i < y.length; i++) y[i] = f(x[i]);
      return y;
    };
    return { shape, run };
  };
}

/* y = W x + b. Four sums at once: each waits for nothing but its own last term. */
function linear(layer, shape, read) {
  const [outputs, inputs] = layer.weight.shape;
  const [w, bias] = [read(layer.weight), read(layer.bias)];
  const y = new Float64Array(outputs);
  const run = (x) => {
    for (let o = 0, at = 0; o < outputs; o++) {
      let [a, b, c, d] = [bias[o], 0, 0, 0];
      const end = at + inputs;
      let i = 0;
      for (; at + 3 < end; at += 4, i += 4) {
        a += w[at] * x[i];
        b += w[at + 1] * x[i + 1];
        c += w[at + 2] * x[i + 2];
        d += w[at + 3] * x[i + 3];
      }
      for (; at < end; at++, i++) a += w[at] * x[i];
      y[o] = a + b + c + d;
    }
    return y;
  };
  return { shape: [outputs], run };
}

/* A convolution y_a = b_a + Σ_b w_ab ⋆ x_b, small map y, large map x. */
function convolution(layer, [, H, W], read) {
  const { stride, padding } = layer;
  const [A, , Kh, Kw] = layer.weight.shape;
  const P = Math.floor((H + 2 * padding - Kh) / stride) + 1;
  const Q = Math.floor((W + 2 * padding - Kw) / stride) + 1;
  const [weights, bias] = [read(layer.weight), read(layer.bias)];
  const y = new Float64Array(A * P * Q);
  const taps = tapsOf(layer, [P, Q], [H, W]);
  const run = (x) => {
    fillChannels(y, bias);
    for (const { weight, small, large, rows, columns } of taps) {
      const w = weights[weight];
      for (let p = 0; p < rows; p++) {
        let to = small + p * Q, from = large + p * stride * W;
        for (let q = 0; q < columns; q++, to++, from += stride) y[to] += w * x[from];
      }
    }
    return y;
  };
  return { shape: [A, P, Q], run };
}

/* Its adjoint x_b = b_b + Σ_a w_ab ⋆ᵀ y_a: the same sums, from y to x. */
function transposedConvolution(layer, [, P, Q], read) {
  const { stride, padding, output_padding: more } = layer;
  const [, B, Kh, Kw] = layer.weight.shape;
  const H = (P - 1) * stride - 2 * padding + Kh + more;
  const W = (Q - 1) * stride - 2 * padding + Kw + more;
  const [weights, bias] = [read(layer.weight), read(layer.bias)];
  const x = new Float64Array(B * H * W);
  const taps = tapsOf(layer, [P, Q], [H, W]);
  const run = (y) => {
    fillChannels(x, bias);
    for (const { weight, small, large, rows, columns } of taps) {
      const w = weights[weight];
      for (let p = 0; p < rows; p++) {
        let from = small + p * Q, to = large + p * stride * W;
        for (let q = 0; q < columns; q++, from++, to += stride) x[to] += w * y[from];
      }
    }
    return x;
  };
  return { shape: [B, H, W], run };
}

/* Every weight with the rows and columns of the small map where it lies within the
   large one, and where these begin in each: pixel (p, q) of channel a meets pixel
   (p stride + i - padding, q stride + j - padding) of channel b. */
function tapsOf({ weight, stride, padding }, [P, Q], [H, W]) {
  const [A, B, Kh, Kw] = weight.shape;
  const taps = [];
  const first = (offset) => Math.max(0, Math.ceil((padding - offset) / stride));
  const last = (offset, small, large) =>
    Math.min(small - 1, Math.floor((large - 1 + padding - offset) / stride));
  for (let place = 0; place < A * B * Kh * Kw; place++) {
    const j = place % Kw, i = Math.floor(place / Kw) % Kh;
    const b = Math.floor(place / (Kh * Kw)) % B, a = Math.floor(place / (Kh * Kw * B));
    const p = first(i), q = first(j);
    taps.push({
      weight: place,
      small: (a * P + p) * Q + q,
      large: (b * H + p * stride + i - padding) * W + q * stride + j - padding,
      rows: last(i, P, H) - p + 1,
      columns: last(j, Q, W) - q + 1,
    });
  }
  return taps;
}

function fillChannels(map, bias) {
  const size = map.length / bias.length;
  bias.forEach((b, channel) => map.fill(b, channel * size, (channel + 1) * size));
}

function upsampling({ factor }, [C, H, W]) {
  const y = new Float64Array(C * H * W * factor * factor);
  const run = (x) => {
    for (let row = 0, at = 0; row < C * H * factor; row++) {
      const from = Math.floor(row / factor) * W;
      for (let j = 0; j < W * factor; j++) y[at++] = x[from + Math.floor(j / factor)];
    }
    return y;
  };
  return { shape: [C, H * factor, W * factor], run };
}

/* Each run of as many numbers as there are weights has mean 0 and variance 1. */
function layerNorm(layer, shape, read) {
  const [weight, bias] = [read(layer.weight), read(layer.bias)];
  const y = new Float64Array(sizeOf(shape));
  const n = weight.length;
  const run = (x) => {
    for (let at = 0; at < y.length; at += n) {
      let mean = 0, square = 0;
      for (let i = 0; i < n; i++) mean += x[at + i] / n;
      for (let i = 0; i < n; i++) square += (x[at + i] - mean) ** 2 / n;
      const scale = 1 / Math.sqrt(square + layer.eps);
      for (let i = 0; i < n; i++) {
        y[at + i] = (x[at + i] - mean) * scale * weight[i] + bias[i];
      }
    }
    return y;
  };
  return { shape, run };
}

/* Numbers from text: halves (1 bit of sign, 5 of exponent, 10 of fraction), floats. */
function halvesOf(text) {
  const halves = new Uint16Array(bytesOf(text));
  const powers = Float64Array.from({ length: 32 }, (_, e) => 2 ** (Math.max(e, 1) - 25));
  const numbers = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const exponent = (halves[i] >> 10) & 31;
    const fraction = (halves[i] & 1023) + (exponent ? 1024 : 0);
    numbers[i] = (halves[i] & 0x8000 ? -fraction : fraction) * powers[exponent];
  }
  return numbers;
}

function floatsOf(text) {
  return new Float32Array(bytesOf(text));
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}
