// One row of a map over the steps: keys from top to bottom, a column for each step.

import { type Ground, LEFT, place, stepAt, stepLabels } from "./curves";
import { html, setAttributes, svg } from "../drawing/dom";
import { clip, thin } from "../drawing/layout";
import { colours, formatWeight, gradient, shareOf } from "../drawing/scale";
import type { Selection } from "../data/store";

export interface Rows {
  rows: (Float32Array | null)[]; // one a step; null is not read
  keys: string[];
  scale: Selection["scale"];
}

const TOP = 4;
const MOST = 320;

export function createRowMap(picked: (index: number, key: number) => void) {
  const title = html("span", {});
  const value = html("output", {});
  const ramp = html("div", { class: "bar" });
  const most = html("span", {});
  const legend = html("span", { class: "row-legend" }, "0", ramp, most);
  const canvas = html("canvas", { tabindex: 0, role: "img" });
  const marks = svg("svg", { class: "marks", "aria-hidden": "true" });
  const hover = svg("g", {});
  const heading = html("h2", {}, title, " ", value, legend);
  const root = html("figure", { class: "curves row-map" }, heading, html("div", { class: "plot" }, canvas, marks));
  let drawn: Rows;
  let ground: Ground;
  let edges: number[] = [];
  let high = 0;
  let current = 0;
  let chosen = 0;
  let at: { index: number; key: number } | null = null;

  function draw(rows: Rows, wanted: Ground, name: string): void {
    [drawn, ground] = [rows, wanted];
    ({ edges } = place(ground));
    high = 0;
    for (const row of rows.rows) if (row) for (const weight of row) high = weight > high ? weight : high;
    const { keys } = rows;
    const height = heightOf(keys.length);
    const each = height / keys.length;
    title.textContent = name;
    ramp.style.background = gradient(ground.dark);
    most.textContent = formatWeight(high);
    marks.replaceChildren(
      ...thin(keys.length, each, 15).map((key) =>
        svg("text", { x: LEFT - 8, y: TOP + (key + 0.5) * each + 4, "text-anchor": "end" }, clip(keys[key], LEFT - 10)),
      ),
      ...stepLabels(ground, TOP + height + 18),
      hover,
    );
    setAttributes(marks, { width: ground.width, height: TOP + height + 22 });
    const words = `${name}: ${keys.length} keys over ${ground.steps.length} steps. Arrow keys move, Enter goes to the step and key.`;
    canvas.setAttribute("aria-label", words);
    paint(height);
  }

  function paint(height: number): void {
    const density = window.devicePixelRatio || 1;
    canvas.style.cssText = `width:${ground.width}px;height:${TOP + height}px`;
    canvas.width = Math.round(ground.width * density);
    canvas.height = Math.round((TOP + height) * density);
    const { rows, keys, scale } = drawn;
    const palette = colours(ground.dark);
    const share = shareOf(scale, 0, high);
    const pixels = new Uint32Array(rows.length * keys.length); // transparent where nothing is read
    rows.forEach((row, step) =>
      row?.forEach((weight, key) => (pixels[key * rows.length + step] = palette[Math.round(255 * share(weight))])),
    );
    const bitmap = html("canvas", { width: rows.length, height: keys.length });
    const image = new ImageData(new Uint8ClampedArray(pixels.buffer), rows.length, keys.length);
    bitmap.getContext("2d")!.putImageData(image, 0, 0);
    const context = canvas.getContext("2d")!;
    context.scale(density, density);
    context.imageSmoothingEnabled = false;
    rows.forEach((_, step) => {
      // To whole pixels: no seams between the columns.
      const [from, to] = [edges[step], edges[step + 1]].map((edge) => Math.round(edge * density) / density);
      context.drawImage(bitmap, step, 0, 1, keys.length, from, TOP, Math.max(to - from, 1 / density), height);
    });
  }

  function mark(now: number, key: number): void {
    [current, chosen] = [now, key];
    const { keys, rows } = drawn;
    const height = heightOf(keys.length);
    const each = height / keys.length;
    const here = at ?? { index: now, key };
    const line = { class: "line", x: LEFT, width: ground.width - LEFT - 8, y: TOP + key * each, height: each };
    const box = { y: TOP, height, x: edges[now], width: edges[now + 1] - edges[now] };
    const cell = { x: edges[here.index], width: edges[here.index + 1] - edges[here.index], y: TOP + here.key * each, height: each };
    hover.replaceChildren(
      svg("rect", { class: "line", ...box }),
      svg("rect", line),
      ...(at ? [svg("rect", { class: "halo", ...cell }), svg("rect", { class: "cell", ...cell })] : []),
    );
    const weight = rows[here.index]?.[here.key];
    value.textContent = at
      ? `step ${ground.steps[here.index]}, key ${keys[here.key]}: ${weight === undefined ? "not read" : formatWeight(weight)}`
      : "";
    setAttributes(root, { "data-step": ground.steps[here.index], "data-key": here.key, "data-value": weight ?? false });
  }

  function tell(point: typeof at): void {
    at = point;
    mark(current, chosen);
  }
  canvas.addEventListener("pointermove", (event) => {
    const count = drawn.keys.length;
    const key = Math.floor(((event.offsetY - TOP) / heightOf(count)) * count);
    tell({ index: stepAt(edges, event.offsetX), key: Math.max(0, Math.min(count - 1, key)) });
  });
  canvas.addEventListener("pointerleave", () => document.activeElement !== canvas && tell(null));
  canvas.addEventListener("blur", () => tell(null));
  canvas.addEventListener("click", () => at && picked(at.index, at.key));
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && at) return picked(at.index, at.key);
    if (event.key === "Escape") return tell(null);
    const { index, key } = at ?? { index: current, key: chosen };
    const over = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!over) return;
    event.preventDefault();
    const within = (one: number, count: number) => Math.max(0, Math.min(count - 1, one));
    tell({ index: within(index + over[0], ground.steps.length), key: within(key + over[1], drawn.keys.length) });
  });

  return { root, draw, mark };
}

function heightOf(keys: number): number {
  return Math.min(MOST, Math.max(64, 16 * keys));
}
