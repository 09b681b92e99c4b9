/* The card of one rule: what arrives, what leaves, the sum so far, and its checks. */

function backwardCard(page, event, number) {
  const { step } = page;
  const node = step.byId.get(event.sender),
    ref = [event.receiver, event.output];
  const live = step.now.events[number],
    was = step.recorded.events[number];
  const title = [node.name, h("span", { class: "arrow" }, " → "), step.label(ref)];
  const kicker = `${WORDS.backward} ${number + 1} of ${step.events.length} · ${eventWords(step, event)}`;
  if (event.kind === "unbroadcast")
    return unbroadcastCard(page, event, number, heading(kicker, ...title));
  const [name, rule, source] = node.rules[event.position] ?? node.rules[0];
  const alone = event.adds && step.contributions(event) === 1;
  return h(
    "div",
    {},
    heading(kicker, ...title),
    h(
      "p",
      { class: "call" },
      `The rule of ${node.op} for its input ${name}. A bar over a letter says: the derivative of the loss by it.`,
    ),
    h(
      "div",
      { class: "rule" },
      h("div", { class: "formula" }, formula(rule)),
      sourceView(step, source, "the rule "),
    ),
    h(
      "section",
      { class: "flow" },
      live.upstream.map((g, i) =>
        flowPart(
          page,
          "arrives",
          adjointName(step.label([node.id, i])),
          g,
          was.upstream[i],
        ),
      ),
      h("span", { class: "flow-sign", "aria-hidden": "true" }, "→"),
      flowPart(
        page,
        "leaves",
        event.adds ? `to ${adjointName(step.label(ref))}` : "before it is summed",
        live.gradient,
        was.gradient,
        alone && pickerOf(page, event, live.gradient),
      ),
    ),
    event.adds
      ? sumView(page, event, number, alone)
      : h(
          "p",
          { class: "note" },
          `${step.label(ref)} was repeated to this shape by broadcasting; the next step sums it back.`,
        ),
    checksView(page, node, event),
    rungsView(node.ruleRungs, "Its rules ran"),
  );
}

function eventWords(step, event) {
  if (event.kind === "unbroadcast") return "un-broadcast";
  const count = step.contributions(event);
  return count > 1 && event.adds
    ? `contribution ${event.count} of ${count}`
    : "one contribution";
}

function flowPart(page, title, name, array, was, picker) {
  return h(
    "div",
    {},
    h("h3", {}, title),
    arrayView(array, { name, was: was?.data && was, ...picker }),
  );
}

/* The element of a receiver's adjoint that is looked at, and how to pick another. */
function pickerOf(page, event, array) {
  const ref = [event.receiver, event.output];
  return {
    chosen: page.chosen(`adjoint ${ref}`, array),
    choose: (place) => page.follow(ref, place),
  };
}

function unbroadcastCard(page, event, number, title) {
  const { step } = page;
  const live = step.now.events[number],
    was = step.recorded.events[number];
  const axes =
    event.axes.length > 1 ? `axes ${event.axes.join(", ")}` : `axis ${event.axes[0]}`;
  return h(
    "div",
    {},
    title,
    h(
      "p",
      { class: "call" },
      `${step.label([event.receiver, event.output])} was repeated along ${axes}. The adjoint of copying is summing.`,
    ),
    h(
      "section",
      { class: "flow" },
      flowPart(page, "arrives", "before the sum", live.upstream[0], was.upstream[0]),
      h("span", { class: "flow-sign", "aria-hidden": "true" }, "Σ"),
      flowPart(
        page,
        "leaves",
        `to ${adjointName(step.label([event.receiver, event.output]))}`,
        live.gradient,
        was.gradient,
        step.contributions(event) === 1 && pickerOf(page, event, live.gradient),
      ),
    ),
    sumView(page, event, number, step.contributions(event) === 1),
  );
}

/* What the receiver's adjoint has come to: every contribution so far, and the sum. */
function sumView(page, event, number, alone = false) {
  const { step } = page;
  const ref = [event.receiver, event.output],
    label = adjointName(step.label(ref));
  const live = step.now.events[number].total,
    was = step.recorded.events[number].total;
  if (!live) return null;
  const picker = pickerOf(page, event, live);
  return h(
    "section",
    { class: "total" },
    !alone && h("h3", {}, `${label} so far`),
    h("p", { class: "note" }, sumWords(event.count, step.contributions(event))),
    !alone && arrayView(live, { name: label, was: was.data && was, ...picker }),
    addedView(step, event, number, picker.chosen, live),
    live.data && whyButton(page, ref, label, picker.chosen ?? 0, live),
  );
}

function sumWords(count, all) {
  if (all === 1) return "This is all that reaches it.";
  if (count === all) return `All ${all} contributions are in.`;
  return `${count} of ${all} contributions: the sum is not complete yet.`;
}

/* The contributions to one element so far, written as a sum. */
function addedView(step, event, number, chosen, live) {
  const terms = [];
  step.events.slice(0, number + 1).forEach((other, i) => {
    if (!other.adds || !sameReceiver(other, event) || !live.data) return;
    const size = factor(step.now.events[i].gradient.data[chosen]);
    const from = ` from ${step.byId.get(other.sender).name}`;
    terms.push(h("span", {}, size, h("small", {}, from)));
  });
  if (terms.length < 2) return null;
  const total = h("b", {}, shown(live.data[chosen]));
  return h(
    "p",
    { class: "worked" },
    h("span", { class: "sum" }, joined(terms), " = ", total),
  );
}

function whyButton(page, ref, label, place, live) {
  const name = `${label}${bracketed(indexAt(place, live.shape))}`;
  return h(
    "p",
    {},
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "data-focus": `follow ${ref}`,
        onclick: () => page.follow(ref, place, true),
      },
      `Why is ${name} = ${shown(live.data[place])}?`,
    ),
  );
}

function sameReceiver(a, b) {
  return a.receiver === b.receiver && a.output === b.output;
}

/* Independent numbers beside the analytic ones: this rule alone, and the whole path. */
function checksView(page, node, event) {
  const { step } = page;
  const receiver = step.byId.get(event.receiver);
  const last = event.count === step.contributions(event);
  const local = node.checks.filter(
    ([kind, position]) => kind === "local" && position === event.position,
  );
  const global = receiver.checks.filter(
    ([kind, position]) => kind === "global" && position === event.output,
  );
  const rows = [...local, ...(last && event.adds ? global : [])].map(checkRow);
  if (!rows.length) return null;
  const verdict = h("span", { class: "hidden" }, "verdict");
  const heads = ["check", "element", "analytic", "numeric", "error", verdict].map(
    (head) => h("th", { scope: "col" }, head),
  );
  return h(
    "section",
    {},
    h("h3", {}, "Checked by finite differences"),
    scrolling(
      "Checks",
      h(
        "table",
        { class: "checks" },
        h("caption", {}, "The analytic number beside one that knows no rule"),
        h("thead", {}, h("tr", {}, heads)),
        h("tbody", {}, rows),
      ),
    ),
  );
}

/* A check as a row: which, where it is worst, both numbers, and whether they agree. */
function checkRow([kind, , method, index, measured, exact, error, tolerance, passed]) {
  const words =
    kind === "local" ? "local: this rule alone" : "global: the loss replayed";
  const where = index
    ? `worst at ${bracketed(index) || "the value"}`
    : "random direction";
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, words),
    h("td", {}, where, method === "sample" && " of a sample"),
    h("td", {}, shown(asNumber(measured), 6)),
    h("td", {}, shown(asNumber(exact), 6)),
    h("td", {}, asNumber(error).toExponential(1).replace("-", "−")),
    h(
      "td",
      { class: passed ? "good" : "wrong" },
      passed ? "✓ agrees" : "✗ differs",
      h("span", { class: "hidden" }, `, allowed ${tolerance}`),
    ),
  );
}
