/* A reader's way through numbered steps: buttons, slider, phases, keys, the address.

   const player = makePlayer({ phases, show })
     phases   for every step the name of its phase, in order
     show(i)  draws step i (from 0) and returns what a screen reader should hear of it
   player.at is the step shown, player.go(i) moves to another. */

function makePlayer({ phases, show }) {
  const root = document.querySelector(".player");
  const slider = root.querySelector("input[type=range]");
  const said = root.querySelector(".said");
  const [back, on] = root.querySelectorAll("[data-go]");
  const last = phases.length - 1;
  const player = { at: -1, go, refresh };

  function go(step) {
    const next = Math.max(0, Math.min(last, step));
    if (next === player.at) return;
    player.at = next;
    draw();
    remember(next);
  }

  function refresh() {
    draw();
  }

  function draw() {
    const at = player.at;
    const words = show(at);
    const text = `Step ${at + 1} of ${last + 1}, ${phases[at]}: ${words}`;
    slider.value = at + 1;
    slider.setAttribute("aria-valuetext", text);
    if (said.textContent !== text) said.textContent = text; // or it is said again
    back.setAttribute("aria-disabled", at === 0);
    on.setAttribute("aria-disabled", at === last);
    slider.style.setProperty("--done", last ? at / last : 1);
    for (const button of root.querySelectorAll("[data-phase]")) {
      button.setAttribute("aria-pressed", button.dataset.phase === phases[at]);
    }
  }

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.go) go(player.at + Number(button.dataset.go));
    else go(phases.indexOf(button.dataset.phase));
  });
  slider.addEventListener("input", () => go(slider.value - 1));
  document.addEventListener("keydown", (event) => {
    const move = {
      ArrowLeft: player.at - 1,
      ArrowRight: player.at + 1,
      Home: 0,
      End: last,
    }[event.key];
    if (move === undefined || isTaken(event)) return;
    event.preventDefault();
    go(move);
  });
  addEventListener("hashchange", () => go(remembered(last) ?? player.at));

  for (const button of root.querySelectorAll("[data-phase]")) {
    button.style.flexGrow = button.dataset.count;
  }
  root.hidden = false;
  go(remembered(last) ?? 0);
  return player;
}

/* Keys belong to what has the focus where that uses them, and to the browser. */
function isTaken(event) {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey)
    return true;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return true;
  const region = event.target.closest(".scroll");
  return region !== null && region.scrollWidth > region.clientWidth;
}

/* The address says #step=41, counted from 1 as the reader sees it. */
function remembered(last) {
  const found = /[#&]step=(\d+)/.exec(location.hash);
  return found && Math.max(0, Math.min(last, found[1] - 1));
}

function remember(step) {
  try {
    history.replaceState(null, "", `#step=${step + 1}`);
  } catch {
    // within a notebook's frame the page has no address of its own
  }
}
