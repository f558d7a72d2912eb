// A button that walks through the logged steps: in every view, since it does what the slider does.

import { html, svg } from "../drawing/dom";
import type { Store } from "../data/store";

const STEP_MS = 100;
const PLAY = "M3 1.5 L11 6.5 L3 11.5 Z";
const PAUSE = "M3 2h2.5v9H3zM7.5 2H10v9H7.5z";

export function createPlay(store: Store): HTMLButtonElement {
  const { state } = store;
  const sign = svg("path", { d: PLAY });
  const button = html(
    "button",
    { class: "turn play" },
    svg("svg", { width: 13, height: 13, "aria-hidden": "true" }, sign),
  );
  let turn: object | null = null; // of the play that goes on

  function draw(): void {
    const playing = turn !== null;
    button.setAttribute("aria-label", playing ? "Pause" : "Play through the steps");
    button.title = playing ? "Pause (space)" : "Play through the steps (space)";
    sign.setAttribute("d", playing ? PAUSE : PLAY);
    button.disabled = state.steps.length < 2;
  }

  async function play(): Promise<void> {
    const mine = (turn = {});
    draw();
    const { run, tag, step: from } = state.selection;
    const here = state.steps.findIndex(({ step }) => step === from);
    let next = here < 0 || here === state.steps.length - 1 ? 0 : here + 1;
    while (turn === mine && next < state.steps.length) {
      const due = performance.now() + STEP_MS;
      // The last step means the newest, as on the slider.
      const step = next === state.steps.length - 1 ? null : state.steps[next].step;
      await store.select({ step });
      await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
      const { selection } = state;
      if (selection.step !== step || selection.run !== run || selection.tag !== tag) break; // the reader's own choice
      next++;
    }
    if (turn === mine) turn = null;
    draw();
  }

  function toggle(): void {
    if (turn) turn = null;
    else if (!button.disabled) void play();
    draw();
  }

  button.addEventListener("click", toggle);
  document.addEventListener("keydown", (event) => {
    const fields = "button, select, textarea, input:not([type=range]), a, summary";
    const inField = event.target instanceof Element && event.target.closest(fields);
    if (event.key !== " " || event.ctrlKey || event.altKey || event.metaKey || inField) return;
    if (event.defaultPrevented || state.steps.length < 2) return;
    event.preventDefault(); // the page would scroll
    toggle();
  });
  store.subscribe(draw);
  draw();
  return button;
}
