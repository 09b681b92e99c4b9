/* The card of one parameter: its gradient, the state of the optimizer, its new value. */

function updateCard(page, parameter, number) {
  const { step } = page,
    { update, read } = step;
  const change = update.after - update.loss,
    predicted = update.predicted - update.loss;
  const states = Object.keys(parameter.state).map((name) =>
    h(
      "div",
      { class: "arrays" },
      arrayView(read(parameter.state[name]), { name: `${name} before` }),
      arrayView(read(parameter.newState[name]), { name: `${name} after` }),
    ),
  );
  return h(
    "div",
    {},
    heading(
      `${WORDS.update} ${number + 1} of ${update.parameters.length} · ${update.optimizer}`,
      parameter.name,
    ),
    h(
      "p",
      { class: "call" },
      Object.entries(update.settings)
        .map(([k, v]) => `${k} ${v}`)
        .join(", "),
    ),
    h(
      "div",
      { class: "rule single" },
      h("div", { class: "formula" }, formula(update.formula)),
    ),
    h(
      "section",
      { class: "flow" },
      flowPart(page, "value", parameter.name, read(parameter.value)),
      h("span", { class: "flow-sign", "aria-hidden": "true" }, "→"),
      flowPart(page, "new value", parameter.name, read(parameter.newValue)),
    ),
    h(
      "section",
      {},
      h("h3", {}, "Its gradient"),
      arrayView(read(parameter.gradient), { name: adjointName(parameter.name) }),
    ),
    states.length
      ? h(
          "details",
          { class: "open" },
          h("summary", {}, "The optimizer's state"),
          states,
        )
      : null,
    step.isChanged
      ? h(
          "p",
          { class: "note" },
          "The update is as recorded: “what if” redoes the loss and its gradients.",
        )
      : null,
    h(
      "section",
      {},
      h("h3", {}, "What became of the loss"),
      h("p", {}, changeWords(update, parameter)),
      changeBars(predicted, change),
    ),
  );
}

function changeWords(update, parameter) {
  const [predicted, change, share] = [
    update.predicted - update.loss,
    update.after - update.loss,
    asNumber(parameter.predicted),
  ].map((number) => shown(number, 6));
  return (
    `Of all parameters together the gradient predicts a change of ${predicted}; the ` +
    `loss, measured again, went from ${shown(update.loss, 6)} to ` +
    `${shown(update.after, 6)}: ${change}. This parameter’s share of the prediction is ` +
    `${share}.`
  );
}

function changeBars(predicted, real) {
  const most = Math.max(Math.abs(predicted), Math.abs(real)) || 1;
  return h(
    "div",
    { class: "bars-list" },
    [
      ["predicted", predicted],
      ["real", real],
    ].map(([name, number]) => shareBar(name, number, most)),
  );
}
