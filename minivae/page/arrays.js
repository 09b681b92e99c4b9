/* Arrays of the page: read from its data, written as tables that carry their values. */

/* Build an element: h("p", { class: "note", onclick: f }, "text", child, ...). */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c || c === 0));
  return element;
}

/* An array is { shape, data }, data a Float64Array in the order of rows. */
function scalar(number) {
  return { shape: [], data: Float64Array.of(number) };
}

function filled(shape, number = 0) {
  return { shape, data: new Float64Array(sizeOf(shape)).fill(number) };
}

function sizeOf(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

/* JSON has no nan and no infinity: they come as text. */
function asNumber(value) {
  return typeof value === "number"
    ? value
    : Number(String(value).replace("inf", "Infinity"));
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function numbersOf(text, type) {
  const { buffer } = bytesOf(text);
  return Float64Array.from(
    type === "f4" ? new Float32Array(buffer) : new Float64Array(buffer),
  );
}

/* Return a reader of values: a number, or { array: n } by its place in `entries`. Large
   arrays come as extracts: { shape, data: null, stats, picture, corners }. */
function arrayReader(entries) {
  const read = new Map();
  return (value) => {
    if (value === null) return null;
    if (typeof value !== "object") return scalar(asNumber(value));
    if (!read.has(value.array)) read.set(value.array, readEntry(entries[value.array]));
    return read.get(value.array);
  };
}

function readEntry(entry) {
  if (entry.data !== undefined) {
    return { shape: entry.shape, data: numbersOf(entry.data, entry.type) };
  }
  const { rows, columns, most, data } = entry.picture;
  const levels = Float64Array.from(new Int8Array(bytesOf(data).buffer));
  const corners = entry.corners.map((corner) => ({
    ...corner,
    data: numbersOf(corner.data, entry.type),
  }));
  const stats = entry.stats.map(asNumber);
  const picture = {
    rows,
    columns,
    most,
    data: levels.map((level) => (level / 127) * most),
  };
  return { shape: entry.shape, data: null, stats, corners, picture };
}

function statsOf(array) {
  if (!array.data) return array.stats;
  const finite = array.data.filter(Number.isFinite);
  if (!finite.length) return [NaN, NaN, NaN, array.data.length];
  const sum = finite.reduce((a, b) => a + b, 0);
  return [
    finite.reduce((a, b) => Math.min(a, b)),
    finite.reduce((a, b) => Math.max(a, b)),
    sum / finite.length,
    array.data.length - finite.length,
  ];
}

/* Numbers as a reader sees them: four decimals, a true minus, powers of ten if need be. */
function shown(number, digits = 4) {
  if (Number.isNaN(number)) return "nan";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  if (number === 0) return "0";
  const size = Math.abs(number);
  const plain = size >= 0.5 * 10 ** -digits && size < 1e5;
  const text = plain
    ? number.toFixed(digits)
    : number.toExponential(2).replace("e+", "e");
  const short = plain && Number.isInteger(number) ? String(number) : text;
  return short.replaceAll("-", "−");
}

function shapeText(shape) {
  return shape.length ? shape.join(" × ") : "scalar";
}

/* The index of the element at a place in the flat array, and back. */
function indexAt(place, shape) {
  const index = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(place % shape[axis]);
    place = Math.floor(place / shape[axis]);
  }
  return index;
}

function placeOf(index, shape) {
  return index.reduce((place, i, axis) => place * shape[axis] + i, 0);
}

function bracketed(index) {
  return index.length ? `[${index.join(", ")}]` : "";
}
