/* One number, followed back to the loss: its contributions, and their paths. */

function makeFollow(page, root) {
  const trail = [];
  const open = (ref, place) => {
    trail.push([ref, place]);
    refresh();
  };

  function follow(ref, place) {
    trail.length = 0;
    open(ref, place);
  }

  function refresh() {
    if (!trail.length) return;
    const [ref, place] = trail.at(-1);
    const { step } = page;
    const array = step.adjoint(ref);
    const name = (r, p, a) =>
      `${adjointName(step.label(r))}${bracketed(indexAt(p, a.shape))}`;
    const sources = step.events
      .map((event, number) => ({ event, number }))
      .filter(
        ({ event }) =>
          event.adds && event.receiver === ref[0] && event.output === ref[1],
      );
    const sizes = sources.map(
      ({ number }) => step.now.events[number].gradient.data[place],
    );
    const most = Math.max(...sizes.map(Math.abs), Math.abs(array.data[place])) || 1;
    root.replaceChildren(
      ...[
        crumbs(trail, step, refresh),
        h(
          "p",
          { class: "why" },
          "Why is ",
          h("b", {}, name(ref, place, array)),
          " = ",
          h("b", {}, shown(array.data[place])),
          "?",
        ),
        pickAdjoint(page, ref, place, array, (p) => {
          trail[trail.length - 1] = [ref, p];
          refresh();
        }),
        sources.length
          ? h(
              "ul",
              { class: "paths" },
              sources.map((source, i) =>
                pathView(page, source, sizes[i], most, place, open),
              ),
            )
          : h(
              "p",
              { class: "note" },
              "It is the loss itself: backward starts here, with 1.",
            ),
      ].filter(Boolean),
    );
  }

  return { follow, refresh };
}

function crumbs(trail, step, refresh) {
  if (trail.length < 2) return null;
  return h(
    "p",
    { class: "crumbs" },
    trail.slice(0, -1).flatMap(([ref, place], i) => [
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () => {
            trail.length = i + 1;
            refresh();
          },
        },
        `${step.label(ref)}${bracketed(indexAt(place, step.adjoint(ref).shape))}`,
      ),
      " ← ",
    ]),
  );
}

function pickAdjoint(page, ref, place, array, choose) {
  if (array.data.length < 2 || array.data.length > 256) return null;
  const select = h(
    "select",
    { "data-focus": "follow element", onchange: () => choose(select.selectedIndex) },
    elementOptions(array.shape, place),
  );
  return h(
    "label",
    { class: "picker" },
    `another element of ${page.step.label(ref)} `,
    select,
  );
}

/* One contribution: its size, its path to the loss, and the elements it comes from. */
function pathView(page, { event, number }, size, most, place, open) {
  const { step } = page;
  const path = step.pathToLoss(event.sender);
  const parts = sharesOf(step, event, number, place).slice(0, 4);
  return h(
    "li",
    {},
    shareBar(`from ${step.byId.get(event.sender).name}`, size, most),
    h(
      "p",
      { class: "path" },
      path.name && h("b", {}, `${path.name}: `),
      shortened(path.steps).join(" → "),
    ),
    parts.length
      ? h(
          "ul",
          { class: "shares" },
          parts.map((part) => {
            const ref = [event.sender, part.output];
            const name = `${step.label(ref)}${bracketed(indexAt(part.place, step.valuesOf(ref[0])[ref[1]].shape))}`;
            const isLoss = step.loss.join() === ref.join();
            const words =
              `${adjointName(name)} ${shown(part.upstream)} × slope ` +
              `${shown(part.derivative)} = ${shown(part.size)}`;
            if (isLoss) return h("li", {}, words);
            const go = () => open(ref, part.place);
            return h(
              "li",
              {},
              h("button", { type: "button", class: "quiet", onclick: go }, words),
            );
          }),
        )
      : null,
  );
}

function shortened(names) {
  return names.length <= 5 ? names : [...names.slice(0, 2), "…", ...names.slice(-2)];
}

function sharesOf(step, event, number, place) {
  const node = step.byId.get(event.sender),
    inputs = step.inputsOf(node);
  if (!OPS[node.op] || inputs.some((x) => !x.data)) return [];
  const first = event.kind === "unbroadcast" ? number - 1 : number;
  const upstream = {
    outputs: step.now.events[first].upstream,
    raw: step.now.events[first].gradient,
  };
  if (upstream.outputs.some((g) => !g.data || g.data.length > 512)) return [];
  const outputs = step.valuesOf(node.id);
  const wide = upstream.outputs.map((g, i) =>
    g.shape.length || !outputs[i].shape.length
      ? g
      : filled(outputs[i].shape, g.data[0]),
  );
  return shares(node, event, inputs, outputs, { ...upstream, outputs: wide }, place);
}
