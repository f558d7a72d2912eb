// The row of tabs that says how the selection is looked at.

import { html } from "../drawing/dom";
import { type Store, VIEWS, type View, viewsFor } from "../data/store";

const NAMES: Record<View, string> = {
  overview: "Overview",
  map: "Map",
  time: "Time",
  image: "Image",
  text: "Text",
  training: "Training",
  compare: "Compare",
};

export function createViews(store: Store): HTMLElement {
  const { state } = store;
  const buttons = VIEWS.map((view) => {
    const button = html("button", { class: "view", "data-view": view }, NAMES[view]);
    button.addEventListener("click", () => void store.select({ view }));
    return button;
  });
  const root = html("div", { class: "views", role: "group", "aria-label": "Views" }, ...buttons);
  store.subscribe(() => {
    const views = viewsFor(state.shown);
    root.hidden = state.steps.length === 0;
    for (const button of buttons) {
      const view = button.dataset.view as View;
      button.hidden = !views.includes(view);
      if (view === state.view) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
  });
  return root;
}
