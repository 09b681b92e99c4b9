/* The page of a launch: the memory as it is at one request, drawn from the data. */

const MOST_ROWS = 24;
const ROW = { global: 8, shared: 16, local: 8, warp: 16 };

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function short(value) {
  if (typeof value !== "number") return String(value);
  const text = Number.isInteger(value) && Math.abs(value) < 1e5
    ? String(value) : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4 ? value.toExponential(0) : value.toPrecision(3);
  return text.replace("-", "−");
}

/* Which cell holds what, and who wrote it last, when the requests before `at` are over. */
function memoryBefore(steps, at) {
  const cells = new Map();
  const { launch } = steps[at];
  for (const step of steps.slice(0, at)) {
    if (step.launch !== launch || step.fault || step.space === "warp") continue;
    for (const touch of step.touches) {
      for (const [key, value] of placesOf(step, touch)) {
        const before = cells.get(key) ?? {};
        cells.set(key, step.kind === "reads"
          ? { writer: before.writer, value }
          : { writer: touch, value: step.kind === "updates" ? "…" : value });
      }
    }
  }
  return cells;
}

/* The cells of a touch, each with the value there; shared memory is a block's own. */
function placesOf(step, [block, , cell, ...values]) {
  const owner = step.space === "global" ? "" : block;
  return values.map((value, k) => [`${step.space} ${step.array} ${owner} ${cell + k}`, value]);
}

function makePage({ steps, launches }) {
  const card = document.getElementById("card");
  const chosen = { block: 0 };

  function show(at) {
    const step = steps[at];
    const launch = launches[step.launch];
    const title = step.fault ? "A race" : heading(step);
    const lines = step.fault ? met(step.fault) : step.words;
    card.replaceChildren(
      epochs(step, launch),
      element("p", { class: "where" }, where(step, launch)),
      element("h2", { id: "card-title" }, title),
      source(step),
      element("ul", { class: "words" }, ...lines.map((line) => element("li", {}, line))),
      step.fault ? element("p", { class: "note" }, step.fault.message) : counts(step),
      blocks(step, launch),
      ...memories(step, launch, memoryBefore(steps, at)),
    );
    for (const link of document.querySelectorAll(".walk a")) {
      if (link.hash === `#step=${at + 1}`) link.setAttribute("aria-current", "step");
      else link.removeAttribute("aria-current");
    }
    return step.fault ? step.fault.words : title;
  }

  function blocks(step, launch) {
    if (launch.blocks < 2) return "";
    const select = element("select", {});
    for (let block = 0; block < launch.blocks; block++) {
      select.append(element("option", block === chosen.block ? { selected: "" } : {}, String(block)));
    }
    select.addEventListener("change", () => {
      chosen.block = Number(select.value);
      player.refresh();
      card.querySelector("select").focus();
    });
    return element("label", { class: "chooser" }, "what is a block's own: of block ", select);
  }

  function memories(step, launch, before) {
    const block = Math.min(chosen.block, launch.blocks - 1);
    const lanes = { name: "the first warp", space: "warp", cells: 32, item: step.bytes / countOf(step), shape: [32] };
    const warp = step.space === "warp" ? [drawn(lanes, step, launch, before, block)] : [];
    return [...warp, ...launch.memories.map((memory) => drawn(memory, step, launch, before, block))];
  }

  const player = makePlayer({ phases: steps.map((step) => step.phase), show });
  return player;
}

/* The epochs of a launch in a row, a wall before each but the first: a barrier. */
function epochs(step, launch) {
  if (launch.epochs < 2) return "";
  const list = element("ol", { class: "epochs", "aria-hidden": "true" });
  for (let number = 0; number < launch.epochs; number++) {
    const state = number < step.epoch ? "over" : number === step.epoch ? "now" : "ahead";
    list.append(element("li", { class: state }, String(number + 1)));
  }
  return list;
}

/* The two sides of a race, the one that came before first. */
function met({ threads, lines, array, cell }) {
  const side = ([block, thread], line) => `thread ${thread} of block ${block}, ${line}`;
  return [
    `before: ${side(threads[1], lines[1])}`,
    `and now, in any order: ${side(threads[0], lines[0])}`,
    `both at ${array}[${cell}], one of them writing, and no barrier between`,
  ];
}

const countOf = (step) => step.touches.reduce((sum, touch) => sum + touch.length - 3, 0);

function heading(step) {
  const many = new Set(step.touches.map(([block, thread]) => `${block} ${thread}`)).size;
  const who = many === 1 ? "One thread" : `${many} threads`;
  const verb = many === 1 ? step.kind : step.kind.replace(/s$/, "");
  const what = step.space === "warp" ? "a value from another lane" : step.array;
  return `${who} ${verb} ${what}`;
}

function where(step, launch) {
  const wall = step.epoch ? `, after barrier ${step.epoch}` : "";
  return `${launch.kernel} (${launch.language}), grid ${launch.grid}, block ${launch.block}: `
    + `epoch ${step.epoch + 1} of ${launch.epochs}${wall}`;
}

function source(step) {
  if (!step.line) return "";
  return element("p", { class: "source" }, element("span", {}, step.line), " ",
                 element("code", {}, step.source));
}

function counts(step) {
  const list = element("dl", { class: "counts" });
  const add = (name, value) => list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  add("access", step.access);
  add("bytes asked", String(step.bytes));
  if (step.sectors) {
    add("sectors moved", String(step.sectors));
    add("of what is moved, used", `${Math.round(100 * Math.min(1, step.bytes / (32 * step.sectors)))} %`);
  }
  add("global so far", `${step.moved.bytes} bytes, ${step.moved.sectors} sectors`);
  return list;
}

/* One array as a table of cells: those of this request are lit, with the thread. */
function drawn(memory, step, launch, before, block) {
  const columns = Math.min(ROW[memory.space] ?? 8, memory.cells);
  const owner = memory.space === "global" ? "" : block;
  const several = launch.blocks > 1 && memory.space === "global";
  const named = ([of, thread]) => (several ? `${of}:${thread}` : `${thread}`);
  const lit = litCells(memory, step, block);
  const rows = rowsToShow(memory.cells, columns, lit);
  const head = element("tr", {}, element("td"));
  for (let k = 0; k < columns; k++) head.append(element("th", { scope: "col" }, `+${k}`));
  const body = element("tbody");
  let last = -1;
  for (const row of rows) {
    if (row > last + 1) {
      body.append(element("tr", { class: "gap" }, element("td", { colspan: columns + 1 }, `${row - last - 1} rows are not touched`)));
    }
    last = row;
    const line = element("tr", {}, element("th", { scope: "row" }, String(row * columns)));
    for (let k = 0; k < columns && row * columns + k < memory.cells; k++) {
      const key = `${memory.space} ${memory.name} ${owner} ${row * columns + k}`;
      line.append(cell(lit.get(row * columns + k), before.get(key), named));
    }
    body.append(line);
  }
  const size = memory.shape.length > 1 ? memory.shape.join(" × ") : `${memory.cells}`;
  const whose = ["shared", "warp"].includes(memory.space) ? ` of block ${block}` : "";
  const told = element("p", { class: "told" }, element("b", {}, memory.name), ` ${memory.space}${whose}, ${size} × ${memory.item} bytes`);
  if (memory.space === "global" && memory.item === 4) told.append(", a row is a sector");
  if (several) told.append(", threads as block:thread");
  const caption = element("caption", {}, memory.name);
  const table = element("table", { class: "memory" }, caption, element("thead", {}, head), body);
  return element("div", {}, told, element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": memory.name }, table));
}

function litCells(memory, step, block) {
  const lit = new Map();
  if (step.fault) {
    const { fault } = step;
    if (fault.array === memory.name && fault.space === memory.space) {
      lit.set(fault.cell, { kind: "race", who: fault.threads, value: "race" });
    }
    return lit;
  }
  if (memory.space === "warp") {
    for (const [of, thread, lane, value] of step.touches) {
      if (of === block && thread < 32) lit.set(thread, { kind: "takes", who: [[of, lane]], value });
    }
    return lit;
  }
  if (step.array !== memory.name || step.space !== memory.space) return lit;
  for (const touch of step.touches) {
    const [of, thread, cell, ...values] = touch;
    if (memory.space !== "global" && of !== block) continue;
    values.forEach((value, k) => {
      const before = lit.get(cell + k);
      lit.set(cell + k, { kind: step.kind, who: [...(before?.who ?? []), [of, thread]], value });
    });
  }
  return lit;
}

/* All rows of a small array; of a large one those that are lit, and the first. */
function rowsToShow(cells, columns, lit) {
  const all = Math.ceil(cells / columns);
  const rows = [...Array(all).keys()];
  if (all <= MOST_ROWS) return rows;
  const wanted = new Set([0, ...[...lit.keys()].map((cell) => Math.floor(cell / columns))]);
  return rows.filter((row) => wanted.has(row)).slice(0, MOST_ROWS);
}

const MARKS = { reads: "r", writes: "w", updates: "u", takes: "←", race: "✗" };

function cell(lit, before, name) {
  if (lit) {
    const who = lit.who.length > 2 ? `${lit.who.length} threads` : lit.who.map(name).join(" ");
    return element("td", { class: lit.kind }, element("b", {}, short(lit.value)),
                   element("small", {}, `${MARKS[lit.kind]} ${who}`));
  }
  if (!before) return element("td", { class: "untouched" }, "·");
  const writer = before.writer ? [element("small", {}, `by ${name(before.writer)}`)] : [];
  return element("td", { class: "known" }, element("span", {}, short(before.value)), ...writer);
}

makePage(JSON.parse(document.getElementById("data").textContent));
