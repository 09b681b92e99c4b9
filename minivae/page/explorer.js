/* The explorer of a report: sliders, a pad, a line between two images, one decoder.

   There is one state, the code. Whatever moves it calls `move`, which tells every part;
   the picture is decoded once a frame. Each time the explorer sends an event `decoded`
   with the code and the image, to be read at once: both arrays are written anew. */

const BUDGET = 5; // milliseconds of a frame in which the pad's pictures are painted
const STRIDE = 31; // prime: from picture to picture of the pad, all over it
const ALLOWED = 1e-4; // difference to Python's picture

startExplorer(
  document.querySelector(".explorer"),
  JSON.parse(document.getElementById("data").textContent),
);

function startExplorer(root, data) {
  const latents = data.ranges.length;
  const decode = makeDecoder(data.layers, halvesOf(data.weights), latents);
  const images = data.images.map((image) => ({ ...image, code: floatsOf(image.code) }));
  const code = Float64Array.from(images[0].code);
  const space = { ...data, images, code, decode, move };
  const parts = [makeSliders, makePad, makeLine].map((make) => make(root, space));
  const screen = makeScreen(root.querySelector(".seen canvas"), data.shape, 1);
  let decoded = false, waiting = false;

  /* Set latents, given as [latent, value] each; `where` says in words what the code is. */
  function move(values, where) {
    for (const [latent, value] of values) code[latent] = value;
    root.querySelector(".where").textContent = where;
    for (const part of parts) part.show?.();
    decoded = false;
    wait();
  }

  function wait() {
    if (!waiting) requestAnimationFrame(frame);
    waiting = true;
  }

  function frame() {
    const until = performance.now() + BUDGET;
    waiting = false;
    if (!decoded) {
      const image = decode(code);
      screen.paint(image);
      decoded = true;
      root.dispatchEvent(new CustomEvent("decoded", { detail: { code, image } }));
    }
    if (parts.filter((part) => part.work?.(until)).length) wait();
  }

  /* The test image whose own decoded picture is nearest to the one that is shown. */
  function nearest() {
    const own = decode(code).slice();
    const distances = images.map((image) => distance(decode(image.code), own));
    return images[distances.indexOf(Math.min(...distances))].name;
  }

  function draw() {
    move(drawn(data.prior, latents).entries(), "a draw from the prior");
    return `Drawn. Of the ${images.length} test images here it is nearest to ${nearest()}.`;
  }

  function reset() {
    for (const part of parts) part.reset?.();
    move(images[0].code.entries(), codeOf(images[0]));
    return `Back to ${codeOf(images[0])}.`;
  }

  /* The buttons are what a screen reader hears of: sliders speak for themselves. */
  root.addEventListener("click", ({ target }) => {
    const act = { draw, reset }[target.dataset.do];
    if (act) root.querySelector(".said").textContent = act();
  });

  root.hidden = false;
  document.querySelector(".still").hidden = true;
  const verdict = checked(data.check, decode(images[0].code));
  document.querySelector(".rounding").append(" ", verdict);
  move([], codeOf(images[0]));
}

/* What became of the comparison with Python's picture, in words. */
function checked({ every, values }, image) {
  const python = floatsOf(values);
  const errors = Array.from(python, (value, i) => Math.abs(value - image[i * every]));
  const worst = Math.max(...errors); // NaN if one of them is
  const words = `over ${python.length} pixels it differs by ${worst.toExponential(0)} at most.`;
  const element = document.createElement("span");
  element.className = worst <= ALLOWED ? "good" : "wrong";
  element.textContent = worst <= ALLOWED
    ? `Checked here and now against Python with the same weights: ${words}`
    : `✗ In this browser the decoder is not Python's: ${words}`;
  return element;
}

function codeOf({ name }) {
  return `the code of test image ${name}`;
}

function distance(a, b) {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0);
}

/* Numbers as a reader sees them: two decimals and a true minus. */
function shown(value) {
  return value.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−");
}

function within([low, high], value) {
  return Math.max(low, Math.min(high, value));
}

/* Pictures */

/* A canvas of `side` x `side` images, a pixel of nothing between them. Channels that
   are no colours stand beside one another. */
function makeScreen(canvas, [C, H, W], side) {
  const colours = C === 3, across = colours ? 1 : C;
  const [width, height] = [across * W + 1, H + 1];
  canvas.width = side * width - 1;
  canvas.height = side * height - 1;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(across * W, H);
  const offsets = colours ? [0, H * W, 2 * H * W] : [0, 0, 0];

  function paint(image, row = 0, column = 0) {
    for (let i = 0, at = 0; i < H; i++) {
      for (let j = 0; j < across * W; j++, at += 4) {
        const from = (Math.floor(j / W) * H + i) * W + (j % W);
        for (let k = 0; k < 3; k++) pixels.data[at + k] = 255 * image[from + offsets[k]];
        pixels.data[at + 3] = 255;
      }
    }
    context.putImageData(pixels, column * width, row * height);
  }

  return { paint };
}

/* Sliders and switches */

function makeSliders(root, { code, switches, move }) {
  const rows = [...root.querySelectorAll("[data-latent]")].map((input) => ({
    input, latent: Number(input.dataset.latent), value: input.parentElement.lastElementChild,
  }));

  function show() {
    for (const row of rows) {
      if (row.shown === code[row.latent]) continue;
      row.shown = code[row.latent];
      row.value.textContent = shown(row.shown);
      if (switches) row.input.checked = row.shown > 0.5;
      else setSlider(row.input, row.shown, shown(row.shown));
    }
  }

  root.addEventListener("input", ({ target }) => {
    if (!target.dataset.latent) return;
    const value = switches ? Number(target.checked) : target.valueAsNumber;
    move([[Number(target.dataset.latent), value]], "moved by hand");
  });
  return { show };
}

/* Its track is filled from 0 to the value. */
function setSlider(input, value, text) {
  const [low, high] = [Number(input.min), Number(input.max)];
  input.value = value;
  const share = (at) => (within([low, high], at) - low) / (high - low);
  const ends = [share(0), share(value)].sort((a, b) => a - b);
  ["--from", "--to"].forEach((name, i) => input.style.setProperty(name, ends[i]));
  input.setAttribute("aria-valuetext", text);
}

/* The pad: pictures of a plane through the code, along two latents. */

function makePad(root, { code, ranges, axes: [across, up], tiles, shape, decode, move }) {
  const pad = root.querySelector(".pad");
  if (!pad) return {};
  const canvas = pad.querySelector("canvas"), marker = pad.querySelector(".marker");
  const selects = [...root.querySelectorAll("[data-axis]")];
  const screen = makeScreen(canvas, shape, tiles);
  const axes = [across, up];
  const there = Float64Array.from(code); // the code of the pictures, the axes aside
  let stale = tiles * tiles, next = 0;
  pad.style.aspectRatio = Math.max(0.5, Math.min(2, canvas.width / canvas.height));

  /* A share of the pad's side as a value, and back: the ends of the range are in the
     middle of the first and the last picture. */
  function valueAt(share, [low, high]) {
    const value = low + (high - low) * ((share * tiles - 0.5) / (tiles - 1));
    return within([low, high], value);
  }

  function shareOf(value, [low, high]) {
    const share = (0.5 + (tiles - 1) * ((value - low) / (high - low))) / tiles;
    return within([0, 1], share);
  }

  function show() {
    const elsewhere = code.some((z, i) => z !== there[i] && !axes.includes(i));
    if (elsewhere) repaint();
    const [x, y] = axes.map((axis) => code[axis]);
    const [left, bottom] = axes.map((axis) => shareOf(code[axis], ranges[axis]));
    marker.style.left = `${100 * left}%`;
    marker.style.top = `${100 * (1 - bottom)}%`;
    const [low, high] = ranges[axes[0]];
    const words = `latent ${axes[0]} across: ${shown(x)}, latent ${axes[1]} up: ${shown(y)}`;
    pad.setAttribute("aria-valuemin", low);
    pad.setAttribute("aria-valuemax", high);
    pad.setAttribute("aria-valuenow", within([low, high], x));
    pad.setAttribute("aria-valuetext", words);
  }

  function repaint() {
    there.set(code);
    stale = tiles * tiles;
  }

  /* Paint pictures until it is time to stop; true if some are left. */
  function work(until) {
    for (; stale && performance.now() < until; stale--) {
      const row = Math.floor(next / tiles), column = next % tiles;
      there[axes[0]] = valueAt((column + 0.5) / tiles, ranges[axes[0]]);
      there[axes[1]] = valueAt(1 - (row + 0.5) / tiles, ranges[axes[1]]);
      screen.paint(decode(there), row, column);
      next = (next + STRIDE) % (tiles * tiles);
    }
    return stale > 0;
  }

  function moveTo(values) {
    const moved = values.map((value, i) => [axes[i], value]).filter(([i, v]) => v !== code[i]);
    move(moved.map(([i, value]) => [i, within(ranges[i], value)]), "moved by hand");
  }

  function follow(event) {
    const box = pad.getBoundingClientRect();
    const shares = [
      (event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height,
    ];
    moveTo(shares.map((share, i) => {
      const [low, high, step] = ranges[axes[i]];
      return low + step * Math.round((valueAt(share, [low, high]) - low) / step);
    }));
  }

  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    follow(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (pad.hasPointerCapture(event.pointerId)) follow(event);
  });
  pad.addEventListener("keydown", (event) => {
    const [x, y] = axes.map((axis) => code[axis]);
    const [[low, high, step], [, , rise]] = axes.map((axis) => ranges[axis]);
    const far = event.shiftKey ? 10 : 1;
    const to = {
      ArrowLeft: [x - far * step, y], ArrowRight: [x + far * step, y],
      ArrowDown: [x, y - far * rise], ArrowUp: [x, y + far * rise],
      PageDown: [x, y - 10 * rise], PageUp: [x, y + 10 * rise],
      Home: [low, y], End: [high, y],
    }[event.key];
    if (!to || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    moveTo(to);
  });
  for (const [i, select] of selects.entries()) {
    select.addEventListener("change", () => {
      const chosen = Number(select.value);
      if (chosen === axes[1 - i]) axes[1 - i] = axes[i];
      axes[i] = chosen;
      choose(axes);
      move([], root.querySelector(".where").textContent);
    });
  }

  function choose(chosen) {
    axes.splice(0, 2, ...chosen);
    selects.forEach((select, i) => { select.value = axes[i]; });
    repaint();
  }

  const reset = () => choose([across, up]);
  reset(); // a browser may have kept another choice
  return { show, work, reset };
}

/* From one test image to another */

function makeLine(root, { images, code, move }) {
  const slider = root.querySelector(".line-between input");
  const ends = [...root.querySelectorAll("[data-end]")];
  const thumbs = ends.map((select) => {
    const image = new Image();
    select.closest(".end").prepend(image);
    return image;
  });
  const first = ends.map((select) => select.querySelector("[selected]").value);
  const chosen = () => ends.map((select) => images[select.value]);

  function go(percent) {
    const [from, to] = chosen();
    const t = percent / 100;
    const words = t === 0 ? codeOf(from) : t === 1 ? codeOf(to)
      : `${percent} % of the way from test image ${from.name} to ${to.name}`;
    setSlider(slider, percent, words);
    move(code.map((_, i) => (1 - t) * from.code[i] + t * to.code[i]).entries(), words);
  }

  function draw() {
    for (const [i, { picture, name }] of chosen().entries()) {
      Object.assign(thumbs[i], { src: picture, alt: `Test image ${name}` });
    }
  }

  function reset() {
    ends.forEach((select, i) => { select.value = first[i]; });
    draw();
    setSlider(slider, 0, codeOf(chosen()[0]));
  }

  slider.addEventListener("input", () => go(slider.valueAsNumber));
  for (const [i, select] of ends.entries()) {
    select.addEventListener("change", () => {
      draw();
      go(100 * i);
    });
  }
  reset();
  return { reset };
}

/* The prior */

/* A code from it: coins, or one of some Gaussians and then from that. */
function drawn({ coins, weights, mu, std }, latents) {
  if (coins) return Array.from({ length: latents }, () => Number(Math.random() < 0.5));
  let left = Math.random();
  const found = weights.findIndex((weight) => (left -= weight) < 0);
  const component = found < 0 ? weights.length - 1 : found;
  return mu[component].map((mean, i) => mean + std[component][i] * normal());
}

/* Box and Muller 1958. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
