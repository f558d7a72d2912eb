// What the colours of a map mean, and how they are chosen.

import { html } from "../drawing/dom";
import { MOST_TOP, largest } from "../drawing/peaks";
import { formatWeight, gradient, range, weightAt } from "../drawing/scale";
import type { Shown } from "../data/shown";
import type { Selection, Store } from "../data/store";

const SCALES: Record<Selection["scale"], string> = { linear: "linear", power: "square root", log: "logarithmic" };
const FLOORS: Record<Selection["floor"], string> = {
  zero: "from 0",
  lowest: "from the lowest",
  robust: "1st to 99th percentile",
};

export function createLegend(store: Store): HTMLElement {
  const { state } = store;
  const choice = (id: string, label: string, names: Record<string, string>) =>
    html(
      "select",
      { id, "aria-label": label },
      ...Object.entries(names).map(([value, name]) => html("option", { value }, name)),
    );
  const title = html("span", { class: "axis" });
  const scale = choice("scale", "Scale of the colours", SCALES);
  const floor = choice("floor", "Colours begin at", FLOORS);
  const ramp = html("div", { class: "ramp" });
  const top = html("input", { id: "top", type: "number", min: 0, max: MOST_TOP, step: 1 });
  const least = html("output", { for: "top" });
  const outlined = html("div", { class: "top" }, html("label", { for: "top" }, "outline the largest"), top, least);
  const root = html("div", { class: "scale" }, title, ramp, scale, floor, outlined);

  scale.addEventListener("change", () => void store.select({ scale: scale.value as Selection["scale"] }));
  floor.addEventListener("change", () => void store.select({ floor: floor.value as Selection["floor"] }));
  top.addEventListener("input", () => void store.select({ top: outlinedOf(top.valueAsNumber) }));
  top.addEventListener("change", () => (top.value = String(state.selection.top)));

  let drawn: Shown | null = null;
  let look = "";
  store.subscribe(() => {
    const { shown, selection, dark, view } = state;
    if (!shown || !["map", "time"].includes(view)) return;
    const now = JSON.stringify([dark, view, selection.scale, selection.floor, selection.top]);
    if (drawn === shown && look === now) return;
    [drawn, look] = [shown, now];
    const { head } = shown;
    const first = view === "time" && typeof head !== "string" && head.length > 1;
    title.textContent = first ? `attention weight of head ${head[0] + 1}` : "attention weight";
    scale.value = selection.scale;
    floor.value = selection.floor;
    if (document.activeElement !== top) top.value = String(selection.top);
    const cells = largest(shown, outlinedOf(selection.top));
    least.textContent = cells.length > 0 ? `≥ ${formatWeight(cells[cells.length - 1].weight)}` : "";
    drawRamp(ramp, shown, selection, dark);
  });
  return root;
}

/** How many weights to outline, whatever was typed or stands in the address. */
export function outlinedOf(wanted: number): number {
  return Math.max(0, Math.min(MOST_TOP, Math.floor(wanted) || 0));
}

function drawRamp(ramp: HTMLElement, { maps, max }: Shown, { floor, scale }: Selection, dark: boolean): void {
  const bar = html("div", { class: "bar" });
  bar.style.background = gradient(dark);
  const [low, high] = range(maps, max, floor);
  const at = weightAt(scale, low, high);
  const values = high > low ? [0, 0.5, 1].map(at) : [low];
  const texts = values.map(formatWeight);
  // What lies beyond the ends has their colours.
  if (values[0] > low || (floor === "robust" && low > 0)) texts[0] = `≤ ${texts[0]}`;
  if (high < max) texts.push(`≥ ${texts.pop()}`);
  ramp.replaceChildren(bar, html("div", { class: "ticks" }, ...texts.map((text) => html("span", {}, text))));
}
