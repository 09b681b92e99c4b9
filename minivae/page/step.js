/* The page of a step: its data, and how player, graph, cards and panels hang together. */

/* The recorded step, and the step as it is now: after a "what if", not the same. */
function readStep(data) {
  const read = arrayReader(data.arrays);
  const byId = new Map([...data.leaves, ...data.nodes].map((item) => [item.id, item]));
  const values = new Map([
    ...data.leaves.map((leaf) => [leaf.id, [read(leaf.value)]]),
    ...data.nodes.map((node) => [
      node.id,
      node.outputs.map(([, value]) => read(value)),
    ]),
  ]);
  const events = data.events.map((event) => ({
    upstream: event.upstream.map(read),
    gradient: read(event.gradient),
    total: read(event.total),
  }));
  const recorded = { values, events };
  const step = { ...data, read, byId, recorded, now: recorded, isChanged: false };
  return Object.assign(step, lookUps(step), changes(step), paths(step));
}

function lookUps(step) {
  const inside = new Map();
  const enter = (node) =>
    [...node.steps, ...node.constants].forEach((item) => {
      inside.set(item.id, item);
      if (item.steps) enter(item);
    });
  step.nodes.forEach(enter);
  return {
    valuesOf: (id) => step.now.values.get(id),
    inputsOf: (node) =>
      node.inputs.map(([id, output, shape]) => {
        const value = step.now.values.get(id)[output];
        return value.data ? laidOut(value, shape) : value;
      }),

    /* What a reader calls an input, also one that is inside an opened op. */
    label([id, output]) {
      const item = step.byId.get(id) ?? inside.get(id);
      return item?.outputs?.length > 1
        ? `${item.name}.${item.outputs[output][0]}`
        : (item?.name ?? id);
    },

    /* How many contributions the receiver of an event gets in all. */
    contributions: (event) =>
      step.events.filter((e) => e.adds && sameReceiver(e, event)).length,

    /* The derivative of the loss by a value, when backward is over. */
    adjoint([id, output]) {
      if (step.loss[0] === id && step.loss[1] === output) return scalar(1);
      const last = step.events.findLastIndex(
        (e) => e.adds && e.receiver === id && e.output === output,
      );
      return last < 0 ? null : step.now.events[last].total;
    },

    largest() {
      let found = ["", 0];
      for (const [id, arrays] of step.recorded.values) {
        for (const array of arrays) {
          if (sizeOf(array.shape) > found[1])
            found = [step.byId.get(id).name, sizeOf(array.shape)];
        }
      }
      return found;
    },
  };
}

function changes(step) {
  const moved = new Map();
  const replay = () => {
    const leaves = step.leaves.map((leaf) => [
      leaf.id,
      moved.get(leaf.id) ?? step.recorded.values.get(leaf.id),
    ]);
    const values = playForward(step.nodes, leaves);
    step.now = { values, events: playBackward(step, values) };
    step.isChanged = true;
  };
  return {
    change(id, place, number) {
      const before = (moved.get(id) ?? step.recorded.values.get(id))[0];
      const data = before.data.slice();
      data[place] = number;
      moved.set(id, [{ shape: before.shape, data }]);
      replay();
    },
    restore() {
      moved.clear();
      step.now = step.recorded;
      step.isChanged = false;
    },
    movedNodes() {
      if (!step.isChanged) return new Set();
      const isMoved = ({ id }) =>
        step.now.values.get(id).some((array, output) => {
          const was = step.recorded.values.get(id)[output];
          return array.data.some((number, place) => hasMoved(number, was.data[place]));
        });
      return new Set(step.nodes.filter(isMoved).map((node) => node.id));
    },
  };
}

/* The ways from a node to the loss, and the name of the term that they pass. */
function paths(step) {
  const users = new Map();
  for (const node of step.nodes) {
    for (const [id] of node.inputs) users.set(id, [...(users.get(id) ?? []), node.id]);
  }
  const heads = new Map(); // a node that holds both terms, folded, is neither's
  step.terms?.kinds.forEach((kind, column) => {
    const head = step.terms.cells[0][column][1][0];
    if (kind === "recon" || kind === "kl")
      heads.set(head, (heads.get(head) ?? kind) === kind ? kind : "");
  });
  const names = { recon: "reconstruction path", kl: "KL path" };

  return {
    pathToLoss(id) {
      const from = new Map([[id, null]]);
      const reached = new Set();
      for (const here of from.keys()) {
        if (heads.get(here)) reached.add(heads.get(here));
        for (const next of users.get(here) ?? [])
          if (!from.has(next)) from.set(next, here);
      }
      const steps = [];
      for (let at = step.loss[0]; at; at = from.get(at))
        steps.unshift(step.byId.get(at).name);
      return { steps, name: [...reached].map((kind) => names[kind]).join(" and ") };
    },
  };
}

// The page

function makePage(data) {
  const step = readStep(data);
  const card = document.getElementById("card");
  const walk = [
    ...step.nodes.map((node) => ["forward", node]),
    ...step.events.map((event) => ["backward", event]),
    ...(step.update?.parameters ?? []).map((parameter) => ["update", parameter]),
  ];
  const picks = new Map();
  const page = {
    step,
    opened: new Set(),
    lit: null,
    chosen,
    choose,
    litIn,
    light,
    follow: followOne,
    changed,
  };
  const graph = makeGraph(document.querySelector(".graph"), data.maps, pick);
  const terms = makeTerms(page, document.getElementById("terms"));
  const follow = makeFollow(page, document.getElementById("follow"));
  const player = makePlayer({ phases: walk.map(([phase]) => phase), show });
  page.player = player;
  makeWhatIf(page, document.getElementById("what-if"));
  follow.follow(...mostTold(step));
  terms.refresh();
  listenToList(pick);

  /* Draw a step; return the words for a screen reader. */
  function show(at) {
    const [phase, item] = walk[at];
    const number = at - walk.findIndex(([other]) => other === phase);
    const cards = { forward: forwardCard, backward: backwardCard, update: updateCard };
    const focus = document.activeElement?.dataset?.focus;
    card.replaceChildren(cards[phase](page, item, number));
    if (focus) card.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
    const { states, active } = statesAt(step, walk, at);
    document.querySelector(".graph").classList.toggle("backward", phase === "backward");
    graph.show(states, active, phase === "backward");
    markList(states);
    return told(step, phase, item);
  }

  function chosen(key, array) {
    if (!array.data || !array.data.length) return null;
    if (!picks.has(key)) picks.set(key, furthest(array.data));
    return Math.min(picks.get(key), array.data.length - 1);
  }

  function choose(key, place) {
    picks.set(key, place);
    player.refresh();
  }

  /* The places of an array that belong to the cell of the table that is lit. */
  function litIn(key, array) {
    if (!page.lit || !array.data) return null;
    const [, , elements] = step.terms.cells[page.lit.row][page.lit.column];
    const prefixes = elements
      .filter(([id, output]) => `${id},${output}` === key)
      .map(([, , index]) => index);
    const fits = (index) =>
      prefixes.some((prefix) => prefix.every((i, axis) => i === index[axis]));
    return new Set(
      Array.from(array.data.keys()).filter((place) =>
        fits(indexAt(place, array.shape)),
      ),
    );
  }

  function light(row, column) {
    const again = page.lit?.row === row && page.lit?.column === column;
    page.lit = again ? null : { row, column };
    graph.mark("lit", new Set(again ? [] : step.terms.cells[row][column][1]));
    terms.refresh();
    player.refresh();
    litWords(step, page.lit);
  }

  function followOne(ref, place, isAsked = false) {
    picks.set(`adjoint ${ref}`, place);
    follow.follow(ref, place);
    player.refresh();
    if (isAsked)
      document.getElementById("follow-title").scrollIntoView({ block: "nearest" });
  }

  function changed() {
    graph.mark("moved", step.movedNodes());
    terms.refresh();
    follow.refresh();
    player.refresh();
  }

  /* Go to where a node is made, or its gradient, or its parameter's update. */
  function pick(id) {
    const [phase] = walk[player.at];
    const about = {
      forward: (item) =>
        item.id === id || item.inputs?.some(([source]) => source === id),
      backward: (item) => item.receiver === id,
      update: (item) => item.id === id,
    };
    const here = walk.findIndex(([p, item]) => p === phase && about[p](item));
    const anywhere = walk.findIndex(([p, item]) => about[p](item));
    const found = here >= 0 ? here : anywhere;
    if (found >= 0) player.go(found);
  }
}

function furthest(data) {
  let best = 0;
  data.forEach((x, i) => {
    if (Math.abs(x) > Math.abs(data[best])) best = i;
  });
  return best;
}

/* What to follow first: a value that two paths reach, or else the first parameter. */
function mostTold(step) {
  const event =
    step.events.find(
      (e) =>
        e.adds &&
        step.contributions(e) > 1 &&
        step.adjoint([e.receiver, e.output]).data,
    ) ??
    step.events.findLast((e) => e.adds && step.adjoint([e.receiver, e.output]).data) ??
    null;
  if (!event) return [step.loss, 0];
  const ref = [event.receiver, event.output];
  return [ref, furthest(step.adjoint(ref).data)];
}

function told(step, phase, item) {
  if (phase === "forward") return `${item.name} is made by ${item.op}`;
  if (phase === "update") return `${item.name} gets its new value`;
  const node = step.byId.get(item.sender),
    to = step.label([item.receiver, item.output]);
  if (item.kind === "unbroadcast")
    return `${node.name} to ${to}, summed over what was repeated`;
  return `${node.name} sends to ${to}${verdictOf(node, item.position)}`;
}

function verdictOf(node, input) {
  const local = node.checks.filter(
    ([kind, position]) => kind === "local" && position === input,
  );
  if (!local.length) return "";
  const passed = local.every((check) => check.at(-1));
  return `; its rule ${passed ? "agrees with" : "DIFFERS FROM"} finite differences`;
}

function stateBeside(i, current) {
  if (i === current) return "current";
  return i < current ? "done" : "waiting";
}

/* For each node and leaf: waiting, done, current or target, at a step of the walk. */
function statesAt(step, walk, at) {
  const [phase, item] = walk[at];
  const states = new Map();
  if (phase === "forward") {
    const number = step.nodes.indexOf(item);
    step.nodes.forEach((node, i) => states.set(node.id, stateBeside(i, number)));
    return { states, active: item.inputs.map(([id]) => [id, item.id]) };
  }
  if (phase === "update") {
    const number = step.update.parameters.indexOf(item);
    step.update.parameters.forEach((p, i) => states.set(p.id, stateBeside(i, number)));
    return { states, active: [] };
  }
  const number = step.events.indexOf(item);
  const reached = new Set(
    step.events.slice(0, number + 1).flatMap((e) => [e.sender, e.receiver]),
  );
  for (const { id, kind } of [...step.leaves, ...step.nodes]) {
    states.set(
      id,
      reached.has(id) ? "reached" : kind && kind !== "parameter" ? "done" : "waiting",
    );
  }
  states.set(item.sender, "current");
  states.set(item.receiver, "target");
  return { states, active: [[item.receiver, item.sender]] };
}

// The list of nodes: the graph in words

const STATES = {
  waiting: "not yet",
  done: "done",
  current: "here",
  target: "receives",
  reached: "has a gradient",
};

function listenToList(pick) {
  document.querySelector(".nodes")?.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pick]");
    if (button) pick(button.dataset.pick);
  });
}

function markList(states) {
  for (const button of document.querySelectorAll("[data-pick]")) {
    const state = states.get(button.dataset.pick) ?? "done";
    button.dataset.state = state;
    button.querySelector(".state").textContent = STATES[state];
    button.toggleAttribute("aria-current", state === "current");
  }
}

/* Say under the table where its lit number comes from. */
function litWords(step, lit) {
  const words = document.getElementById("terms-words");
  if (!lit) {
    words.textContent = "";
    return;
  }
  const [, nodes, elements] = step.terms.cells[lit.row][lit.column];
  const names = nodes.map((id) => step.byId.get(id).name).join(", ");
  const parts = elements.map(
    ([id, output, index]) => `${step.label([id, output])}${bracketed(index)}`,
  );
  const from = parts.length ? `${names}: ${parts.join(", ")}` : names;
  words.textContent = `${step.terms.names[lit.column]} of image ${lit.row} comes from ${from}.`;
}

document.documentElement.classList.add("scripted");
document.querySelector(".gradients")?.removeAttribute("open");
makePage(JSON.parse(document.getElementById("data").textContent));
