/* Arrays as tables that carry their values; large ones as pictures with a corner. */

/* How an array lies on paper: images (N, C, H, W) with the channels side by side, rows
   n,h and columns c,w; all else with the last axis across and the others down. */
function gridOf(shape) {
  const [N, C, H, W] = shape;
  if (shape.length === 4 && C > 1 && C * W <= MOST_ACROSS) {
    return {
      rows: N * H,
      columns: C * W,
      words: "rows n,h, columns c,w",
      place: (i, j) =>
        ((Math.floor(i / H) * C + Math.floor(j / W)) * H + (i % H)) * W + (j % W),
      rowHead: (i) => `${Math.floor(i / H)},${i % H}`,
      columnHead: (j) => `${Math.floor(j / W)},${j % W}`,
    };
  }
  const columns = shape.length ? shape.at(-1) : 1;
  return {
    rows: columns ? sizeOf(shape) / columns : 0,
    columns,
    words: "",
    place: (i, j) => i * columns + j,
    rowHead: (i) =>
      indexAt(i * columns, shape)
        .slice(0, -1)
        .join(","),
    columnHead: (j) => String(j),
  };
}

const TABLE_CELLS = 64,
  MOST_ACROSS = 16,
  IMAGES_ACROSS = 8,
  CORNER = 8,
  TINTS = 3;

/* Seven tints from −3 to 3 by the size of a number, beside the largest of its array. */
function tint(number, most) {
  if (!Number.isFinite(number)) return "bad";
  const level =
    most > 0
      ? Math.sign(number) * Math.ceil((Math.abs(number) / most) * TINTS - 0.35)
      : 0;
  return level === 0 ? "" : level > 0 ? `p${level}` : `n${-level}`;
}

/* Show an array in full: a table if it is small, else a picture and a corner.

   name    what to call it, caption of the table
   was     the array before a change: cells that moved are marked
   chosen  the place of the element that is looked at; choose(place) picks another
   lit     places to light */
function arrayView(array, options) {
  const { rows, columns } = gridOf(array.shape);
  if (!rows || !columns) return h("p", { class: "note" }, `${options.name} is empty`);
  const small =
    array.data && array.data.length <= TABLE_CELLS && columns <= MOST_ACROSS;
  const body = small
    ? arrayTable(array, { ...options, top: 0, left: 0, rows, columns })
    : cornerView(array, options);
  return h("div", { class: "array" }, body, statsLine(array));
}

function statsLine(array) {
  const [least, most, mean, bad] = statsOf(array);
  if (array.data && array.data.length === 1) return null;
  const parts = [
    `min ${shown(least, 3)}`,
    `max ${shown(most, 3)}`,
    `mean ${shown(mean, 3)}`,
  ];
  if (bad) parts.push(`${bad} not finite`);
  return h("p", { class: "stats" }, parts.join("  ·  "));
}

function largest(array) {
  const [least, most] = statsOf(array);
  return Math.max(Math.abs(least), Math.abs(most));
}

/* A table of the rows and columns from (top, left); row and column heads are indices. */
function arrayTable(
  array,
  { name, was, chosen, choose, lit, top, left, rows, columns, corner },
) {
  const most = largest(array);
  const grid = gridOf(array.shape);
  const isScalar = array.shape.length === 0;
  const head = Array.from({ length: columns }, (_, j) =>
    h("th", { scope: "col" }, isScalar ? "value" : grid.columnHead(left + j)),
  );
  const body = Array.from({ length: rows }, (_, i) => {
    const cells = Array.from({ length: columns }, (_, j) => {
      const place = grid.place(top + i, left + j);
      const number = corner ? corner.data[i * columns + j] : array.data[place];
      return cellOf(number, {
        most,
        place,
        was: was?.data?.[place],
        chosen,
        choose,
        lit,
      });
    });
    const rowHead = grid.rowHead(top + i) || h("span", { class: "hidden" }, name);
    return h("tr", {}, h("th", { scope: "row" }, rowHead), cells);
  });
  const caption = h(
    "caption",
    {},
    h("b", {}, name),
    ` ${shapeText(array.shape)}`,
    grid.words && h("small", {}, ` ${grid.words}`),
  );
  const table = h(
    "table",
    { class: "cells" },
    caption,
    h("thead", {}, h("tr", {}, h("td", {}), head)),
    h("tbody", {}, body),
  );
  return columns > 3
    ? scrolling(`${name} as a table`, table)
    : h("div", { class: "scroll" }, table);
}

function cellOf(number, { most, place, was, chosen, choose, lit }) {
  const classes = [tint(number, most)];
  const moved = was !== undefined && hasMoved(number, was);
  if (moved) classes.push("moved");
  if (place === chosen) classes.push("chosen");
  if (lit?.has(place)) classes.push("lit");
  return h(
    "td",
    {
      class: classes.filter(Boolean).join(" "),
      title: moved ? `was ${shown(was)}` : String(number),
      "data-place": place,
      "data-value": number,
      "aria-current": place === chosen && "true",
      onclick: choose && (() => choose(place)),
    },
    shown(number),
    moved && movedMark(number, was),
  );
}

/* A number that a change has moved: up or down, in a sign and in words. */
function movedMark(number, was) {
  return h(
    "span",
    { class: "mark" },
    number > was ? "▲" : "▼",
    h("span", { class: "hidden" }, ` moved, was ${shown(was)}`),
  );
}

/* The elements of a shape as the options of a select. */
function elementOptions(shape, chosen = 0) {
  return Array.from({ length: sizeOf(shape) }, (_, place) =>
    h(
      "option",
      { selected: place === chosen },
      bracketed(indexAt(place, shape)) || "the number",
    ),
  );
}

/* A part that scrolls within the page, by keys too. */
function scrolling(label, content) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    content,
  );
}

function hasMoved(number, was) {
  return Math.abs(number - was) > 1e-9 * Math.max(1, Math.abs(was));
}

/* A large array: the whole as a picture, and 8 x 8 of it as numbers. */
function cornerView(array, options) {
  const { rows, columns } = gridOf(array.shape);
  const place = h("div", {});
  const draw = (top, left, corner) =>
    place.replaceChildren(
      arrayTable(array, {
        ...options,
        top,
        left,
        corner,
        rows: Math.min(CORNER, rows),
        columns: corner?.columns ?? Math.min(CORNER, columns),
      }),
    );
  const picker = array.data
    ? freeCorner(rows, columns, draw)
    : namedCorner(array.corners, draw);
  return h(
    "div",
    { class: "large" },
    pictureOf(array, options.name),
    h("div", {}, picker, place),
  );
}

function freeCorner(rows, columns, draw) {
  const at = [0, 0];
  const input = (axis, label, size) =>
    h(
      "label",
      {},
      `${label} `,
      h("input", {
        type: "number",
        min: 0,
        max: Math.max(0, size - CORNER),
        value: 0,
        oninput: (event) => {
          const last = Math.max(0, size - CORNER);
          at[axis] = Math.max(
            0,
            Math.min(last, Math.trunc(Number(event.target.value) || 0)),
          );
          draw(...at);
        },
      }),
    );
  draw(0, 0);
  return h(
    "p",
    { class: "corner" },
    input(0, "from row", rows),
    input(1, "column", columns),
  );
}

function namedCorner(corners, draw) {
  const show = (corner) => draw(corner.row, corner.column, corner);
  show(corners[0]);
  const names = {
    first: "the first elements",
    last: "the last elements",
    largest: "around the largest",
  };
  const select = h(
    "select",
    { onchange: () => show(corners[select.selectedIndex]) },
    corners.map((corner) => h("option", {}, names[corner.name])),
  );
  return h("p", { class: "corner" }, h("label", {}, "show ", select));
}

/* A picture in the tints of the tables; blue below 0, orange above. */
function pictureOf(array, name) {
  const { rows, columns, most, data } = array.picture ?? wholePicture(array);
  const canvas = h("canvas", {
    width: columns,
    height: rows,
    role: "img",
    class: "picture",
    "aria-label": `Picture of ${name}, ${shapeText(array.shape)}: ${statsLine(array)?.textContent ?? ""}`,
  });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const [low, paper, high] = ["--low", "--paper", "--high"].map(colour);
  data.forEach((number, i) => {
    const share = Number.isFinite(number) && most ? Math.abs(number) / most : 0;
    const end = number < 0 ? low : high;
    for (let c = 0; c < 3; c++)
      image.data[4 * i + c] = paper[c] + (end[c] - paper[c]) * share;
    image.data[4 * i + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  const width = Math.min(20, Math.max(6, columns * 0.5));
  canvas.style.width = `${width}rem`;
  canvas.style.aspectRatio = `${columns} / ${Math.max(rows, columns / width)}`; // 1rem high at least
  return canvas;
}

/* All cells of an array; images as a sheet, a row for the channels of each. */
function wholePicture(array) {
  const { rows, columns, place } = tilesOf(array.shape);
  const data = Float64Array.from(
    { length: rows * columns },
    (_, cell) => array.data[place(Math.floor(cell / columns), cell % columns)] ?? 0,
  );
  return { rows, columns, most: largest(array), data };
}

function tilesOf(shape) {
  if (shape.length !== 4) return gridOf(shape);
  const [N, C, H, W] = shape;
  const across = C > 1 ? C : Math.min(N, IMAGES_ACROSS);
  return {
    rows: Math.ceil((N * C) / across) * H,
    columns: across * W,
    place: (i, j) =>
      ((Math.floor(i / H) * across + Math.floor(j / W)) * H + (i % H)) * W + (j % W),
  };
}

/* A colour of the style sheet, #rrggbb, as three numbers. */
function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
}
