/* The drawn graph: what is current, done and not yet; what is lit; folding of groups. */

const SMALLEST = 0.72; // of its size, so that its words stay readable
const FOLDED = { wide: 96, tall: 46 };

/* `maps` has the layouts by name, wide and tall; pick(id) is called with what is clicked. */
function makeGraph(root, maps, pick) {
  const folded = new Set();
  const drawings = [...root.querySelectorAll("svg.map")].map((svg) =>
    makeDrawing(svg, maps[svg.classList.contains("wide") ? "wide" : "tall"]),
  );

  root.addEventListener("click", (event) => {
    const part = event.target.closest("[data-id]");
    if (part) pick(part.dataset.id);
  });
  for (const button of root.querySelectorAll("[data-fold]")) {
    button.addEventListener("click", () => fold(button.dataset.fold));
  }

  function fold(group) {
    if (!folded.delete(group)) folded.add(group);
    for (const button of root.querySelectorAll("[data-fold]")) {
      button.setAttribute("aria-expanded", !folded.has(button.dataset.fold));
    }
    for (const drawing of drawings) drawing.arrange(folded);
  }

  /* states: id -> waiting | done | current | target; active: [from, to], back or not */
  function show(states, active, back) {
    for (const part of root.querySelectorAll("svg [data-id]")) {
      part.dataset.state = states.get(part.dataset.id) ?? "done";
    }
    for (const edge of root.querySelectorAll(".edge")) {
      const is = active.some(
        ([a, b]) => a === edge.dataset.from && b === edge.dataset.to,
      );
      edge.classList.toggle("active", is);
      edge.classList.toggle("back", is && back);
    }
    for (const drawing of drawings) drawing.reveal();
  }

  function mark(name, ids) {
    for (const part of root.querySelectorAll("svg [data-id]")) {
      part.classList.toggle(name, ids.has(part.dataset.id));
    }
  }

  return { show, mark, fold };
}

function makeDrawing(svg, map) {
  const wide = svg.classList.contains("wide");
  const ids = Object.keys(map.boxes);
  const across = wide ? svg.viewBox.baseVal.height : svg.viewBox.baseVal.width;
  const bands = [...svg.querySelectorAll(".band")];
  const boxes = new Map(
    [...svg.querySelectorAll(".box")].map((box) => [box.dataset.id, box]),
  );
  const edges = [...svg.querySelectorAll(".edge")];
  svg.style.minWidth = `${SMALLEST * svg.viewBox.baseVal.width}px`; // then its place scrolls
  const covers = map.bands.map(([name], number) => coverOf(svg, name, number));

  /* Move everything to where it is with some groups folded. */
  function arrange(folded) {
    const spans = spansOf(map.bands, folded, FOLDED[wide ? "wide" : "tall"]);
    const place = ([main, cross, band]) => {
      const { start, end, from, isFolded } = spans[band];
      return isFolded
        ? [(start + end) / 2, (across - map.head) / 2, true]
        : [main - from + start, cross, false];
    };
    const xy = ([main, cross]) =>
      wide ? [main, cross + map.head] : [cross + map.head, main];
    bands.forEach((band, number) => frame(band, spans[number], wide));
    covers.forEach((cover, number) => {
      display(cover, spans[number].isFolded);
      const { start, end } = spans[number];
      move(cover, xy([(start + end) / 2, (across - map.head) / 2]));
    });
    for (const [id, box] of boxes) {
      const at = place(map.boxes[id]);
      display(box, !at[2]);
      move(box, xy(at));
    }
    map.lines.forEach(([source, target, joints], number) => {
      const first = map.boxes[ids[source]],
        last = map.boxes[ids[target]];
      const inside = first[2] === last[2] && spans[first[2]].isFolded;
      display(edges[number], !inside);
      if (!inside)
        edges[number].setAttribute("d", lineOf(first, joints, last, place, xy));
    });
    const length = spans.at(-1).end;
    svg.setAttribute(
      "viewBox",
      wide ? `0 0 ${length} ${across}` : `0 0 ${across} ${length}`,
    );
    svg.setAttribute(wide ? "width" : "height", length);
    svg.style.minWidth = `${SMALLEST * svg.viewBox.baseVal.width}px`;
  }

  function lineOf(first, joints, last, place, xy) {
    const half = (box) =>
      place(box)[2] ? FOLDED[wide ? "wide" : "tall"] / 2 - 10 : box[3];
    const a = place(first),
      b = place(last);
    const between = joints.map(place).filter((at) => !at[2]);
    return curve(
      [[a[0] + half(first), a[1]], ...between, [b[0] - half(last), b[1]]].map(xy),
      wide,
    );
  }

  /* Bring what is current into sight, where the drawing is larger than its place. */
  function reveal() {
    const current = svg.querySelector('[data-state="current"]');
    const view = svg.parentElement;
    if (
      !current ||
      (view.scrollWidth <= view.clientWidth && view.scrollHeight <= view.clientHeight)
    )
      return;
    const box = current.getBoundingClientRect(),
      frame = view.getBoundingClientRect();
    if (!box.width) return;
    view.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
    view.scrollTop += box.top + box.height / 2 - frame.top - frame.height / 2;
  }

  return { arrange, reveal };
}

/* Where each band lies once some are folded: start, end; `from` is where it lay. */
function spansOf(bands, folded, size) {
  let at = bands[0][1];
  return bands.map(([name, from, to], number) => {
    const isFolded = folded.has(name);
    const gap = number + 1 < bands.length ? bands[number + 1][1] - to : 0;
    const span = { start: at, end: at + (isFolded ? size : to - from), from, isFolded };
    at = span.end + gap;
    return span;
  });
}

function curve(points, wide) {
  let [x, y] = points[0];
  let path = `M${x} ${y}`;
  for (const [nx, ny] of points.slice(1)) {
    const mx = (x + nx) / 2,
      my = (y + ny) / 2;
    path += wide
      ? `C${mx} ${y} ${mx} ${ny} ${nx} ${ny}`
      : `C${x} ${my} ${nx} ${my} ${nx} ${ny}`;
    [x, y] = [nx, ny];
  }
  return path;
}

function display(part, is) {
  part.toggleAttribute("hidden", !is);
}

function move(part, [x, y]) {
  part.setAttribute("transform", `translate(${x} ${y})`);
}

function frame(band, { start, end, isFolded }, wide) {
  const [rect, words] = [band.querySelector("rect"), band.querySelector("text")];
  rect.setAttribute(wide ? "x" : "y", start);
  rect.setAttribute(wide ? "width" : "height", end - start);
  if (wide) words.setAttribute("x", start + 11);
  else words.setAttribute("y", start + 14);
}

/* What stands for a folded group. */
function coverOf(svg, name, number) {
  const count = [...svg.querySelectorAll(".box")].filter(
    (box) => box.dataset.group === name,
  ).length;
  const make = (tag, attributes, text = "") => {
    const part = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes))
      part.setAttribute(key, value);
    part.textContent = text;
    return part;
  };
  const cover = make("g", { class: "cover", hidden: "" });
  cover.append(
    make("rect", { x: -36, y: -19, width: 72, height: 38, rx: 5 }),
    make("text", { y: -2, class: "label" }, name || "all"),
    make("text", { y: 12.5, class: "op" }, `${count} folded`),
  );
  svg.append(cover);
  return cover;
}
