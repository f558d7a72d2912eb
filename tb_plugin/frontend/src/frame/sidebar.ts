// Runs, and under the chosen run what was logged in it.

import { html } from "../drawing/dom";
import { splitTag } from "../data/record";
import { type Store, mapTags } from "../data/store";
import type { Runs } from "../data/source";

const FILTER_FROM = 9; // fewer are found by eye

export function createSidebar(store: Store): HTMLElement {
  const { state } = store;
  const filter = html("input", {
    type: "search",
    placeholder: "Filter runs",
    "aria-label": "Filter runs and layers",
  });
  const list = html("ul", { class: "runs" });
  const root = html("nav", { "aria-label": "Runs" }, html("h2", {}, "Runs"), filter, list);

  let drawn: { runs: Runs | null; run: string | null; tag: string | null } = {
    runs: null,
    run: null,
    tag: null,
  };
  function draw(): void {
    const { runs, selection } = state;
    const entries = Object.entries(runs ?? {});
    root.hidden = entries.length === 0;
    filter.hidden = entries.reduce((count, [, tags]) => count + mapTags(tags).length, 0) < FILTER_FROM;
    const wanted = filter.hidden ? "" : filter.value.trim().toLowerCase();
    const focused = list.contains(document.activeElement)
      ? document.activeElement?.getAttribute("data-id")
      : null;
    list.replaceChildren(
      ...entries
        .filter(([run, tags]) => [run, ...mapTags(tags)].some((text) => text.toLowerCase().includes(wanted)))
        .map(([run, tags]) => drawRun(run, tags, selection.run === run, wanted)),
    );
    if (focused)
      [...list.querySelectorAll("button")].find((button) => button.dataset.id === focused)?.focus();
    drawn = { runs, run: selection.run, tag: selection.tag };
  }

  function drawRun(run: string, tags: string[], chosen: boolean, wanted: string): HTMLElement {
    const button = html("button", { class: "run", "aria-expanded": String(chosen), "data-id": run }, run);
    button.addEventListener("click", () => void store.select({ run }));
    if (!chosen) return html("li", {}, button);

    const byName = new Map<string, HTMLElement[]>();
    const maps = mapTags(tags);
    const found = maps.filter((tag) => tag.toLowerCase().includes(wanted));
    for (const tag of found.length > 0 ? found : maps) {
      const { name, layer } = splitTag(tag, tags);
      const current = tag === state.selection.tag;
      const choice = html(
        "button",
        { class: "layer", "aria-current": String(current), "data-id": tag },
        layer,
      );
      choice.addEventListener("click", () => void store.select({ run, tag }));
      byName.set(name, [...(byName.get(name) ?? []), html("li", {}, choice)]);
    }
    const groups = [...byName].map(([name, layers]) =>
      html("li", {}, html("span", { class: "group" }, name), html("ul", {}, ...layers)),
    );
    return html("li", {}, button, html("ul", {}, ...groups));
  }

  filter.addEventListener("input", draw);
  store.subscribe(() => {
    const { runs, selection } = state;
    if (drawn.runs !== runs || drawn.run !== selection.run || drawn.tag !== selection.tag) draw();
  });
  return root;
}
