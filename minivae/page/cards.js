/* What all cards share. */

const WORDS = { forward: "Forward", backward: "Backward", update: "Update" };

/* A formula that Python has written as MathML into a template. */
function formula(number) {
  return document.getElementById(`formula-${number}`).content.cloneNode(true);
}

function sourceView(step, number, caption) {
  const [place, text] = step.sources[number];
  if (!text) return null;
  return h(
    "figure",
    { class: "source" },
    h("figcaption", {}, caption, place && h("span", { class: "place" }, place)),
    h(
      "pre",
      {
        class: "scroll",
        tabindex: 0,
        role: "region",
        "aria-label": `${caption} ${place}`,
      },
      h("code", {}, text),
    ),
  );
}

function heading(kicker, ...title) {
  return [h("p", { class: "kicker" }, kicker), h("h2", { id: "card-title" }, ...title)];
}

/* A letter with a bar over it says: the derivative of the loss by what it names. */
function adjointName(label) {
  return `∂loss/∂${label}`;
}

/* A bar from the middle: to the right above 0, to the left below. */
function shareBar(name, number, most, ...more) {
  const bar = h("span", {
    class: number < 0 ? "share minus" : "share plus",
    "aria-hidden": "true",
  });
  bar.style.width = `${Math.max(0.5, (50 * Math.abs(number)) / most)}%`;
  return h(
    "div",
    { class: "share-row" },
    h("span", { class: "share-name" }, name),
    h("span", { class: "share-track" }, bar),
    h("span", { class: "share-number" }, (number > 0 ? "+" : "") + shown(number)),
    ...more,
  );
}
