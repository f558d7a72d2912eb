// Two maps side by side, and their difference.

import { html, setAttributes, svg } from "../drawing/dom";
import { LABEL_MOST, clip, textWidth, thin } from "../drawing/layout";
import { createOther, headText } from "./other";
import { colours, differenceColours, differenceGradient, formatWeight, gradient, range, shareOf } from "../drawing/scale";
import type { Shown } from "../data/shown";
import type { Cursor, Selection, State, Store } from "../data/store";
import { axisName } from "../drawing/words";

const GAP = 32; // between two maps
const NARROW = 96; // pixels of a label, of which there may be three columns
const ROW_MOST = 28;

/** What one subtracted from the other tells; null where their sizes differ. */
interface Difference {
  weights: Float32Array;
  mean: number; // of the absolute values
  most: number; // the largest absolute value
  cell: number; // and where it is
}

/** One of three pictures: cells of one pixel, what they hold, and how large they are drawn. */
interface Panel {
  bitmap: HTMLCanvasElement;
  shown: Shown; // whose axes it has
  left: number;
  column: number;
  row: number;
}

export function createCompare(store: Store): HTMLElement {
  const { state } = store;
  const fields = html("div", { class: "fields", role: "status" });
  const sentence = html("p", { class: "sentence" });
  const frames = ["A", "B", "A − B"].map((letter) => createFrame(letter, store));
  const panels = html("div", { class: "panels" }, ...frames.map((frame) => frame.root));
  const root = html("section", { class: "compare" }, createOther(store), fields, sentence, panels);

  let painted: { shown: Shown | null; other: Shown | null; look: string } = { shown: null, other: null, look: "" };
  let difference: Difference | null = null;
  let wasOpen = false;

  store.subscribe(() => {
    const { shown, other, dark, width, view, selection } = state;
    root.hidden = shown === null || view !== "compare";
    if (!root.hidden && !wasOpen) chooseOther(store);
    wasOpen = !root.hidden;
    if (root.hidden || !shown || width === 0) return;
    panels.hidden = other === null;
    if (!other) {
      fields.replaceChildren();
      sentence.textContent = state.otherProblem ? `B cannot be shown. ${state.otherProblem}` : "";
      painted = { shown: null, other: null, look: "" };
      return;
    }
    const look = JSON.stringify([dark, width, innerHeight, selection.floor, selection.scale]);
    if (painted.shown !== shown || painted.other !== other || painted.look !== look) {
      if (painted.shown !== shown || painted.other !== other) difference = subtract(shown, other);
      painted = { shown, other, look };
      draw(shown, other, difference, state, frames);
      sentence.textContent = told(shown, other, difference);
    }
    for (const frame of frames) frame.point(state.cursor);
    fields.replaceChildren(...read(shown, other, difference, state.cursor));
  });
  return root;
}

/** Opened with nothing to compare: another step, or else another head or sample, says more than the same map. */
function chooseOther({ state, select }: Store): void {
  const { otherRun, otherTag, otherStep, otherSample, otherHead } = state.selection;
  if ([otherRun, otherTag, otherStep, otherSample, otherHead].some((one) => one !== null)) return;
  const { header, at, sample, head } = state.shown!;
  const step = state.steps.find((one) => one.step !== at.step)?.step;
  if (step !== undefined) queueMicrotask(() => void select({ otherStep: step }));
  else if (header.shape[0] > 1) queueMicrotask(() => void select({ otherHead: String(head) === "0" ? [1] : [0] }));
  else if (header.samples > 1) queueMicrotask(() => void select({ otherSample: sample === 0 ? 1 : 0 }));
}

function subtract(a: Shown, b: Shown): Difference | null {
  if (a.queries.length !== b.queries.length || a.keys.length !== b.keys.length) return null;
  const weights = a.weights.map((weight, cell) => weight - b.weights[cell]);
  let [sum, most, cell] = [0, 0, 0];
  for (let at = 0; at < weights.length; at++) {
    const size = Math.abs(weights[at]);
    sum += size;
    if (size > most) [most, cell] = [size, at];
  }
  return { weights, mean: sum / weights.length, most, cell };
}

function draw(
  a: Shown,
  b: Shown,
  difference: Difference | null,
  state: State,
  frames: ReturnType<typeof createFrame>[],
): void {
  const { dark, selection, width } = state;
  const [low, high] = sharedRange(a, b, selection);
  const share = shareOf(selection.scale, low, high);
  const palette = colours(dark);
  const apart = differenceColours(dark);
  const level = (weight: number) => palette[Math.round(255 * share(weight))];
  const sign = (weight: number) => apart[127 + Math.round((127 * weight) / (difference!.most || 1))];
  const bitmaps = [paint(a, a.weights, level), paint(b, b.weights, level)];
  if (difference) bitmaps.push(paint(a, difference.weights, sign));

  const wide = width >= 860 ? 3 : width >= 560 ? 2 : 1;
  const room = Math.floor((width - (wide - 1) * GAP) / wide);
  const [ofA, ofB] = described(a, b);
  const most = difference?.most ?? 0;
  frames.forEach((frame, index) => {
    frame.root.hidden = index >= bitmaps.length;
    if (frame.root.hidden) return;
    const shown = index === 1 ? b : a;
    frame.root.style.width = `${room}px`;
    frame.draw({ bitmap: bitmaps[index], shown, ...measures(shown, room) }, [ofA, ofB, "the difference"][index]);
    if (index === 2) frame.ramp(differenceGradient(dark), most > 0 ? [-most, 0, most] : [0]);
    else frame.ramp(gradient(dark), high > low ? [low, (low + high) / 2, high] : [low]);
  });
}

/** The same colours for both. */
function sharedRange(a: Shown, b: Shown, { floor }: Selection): [number, number] {
  const ranges = [a, b].map(({ weights }) =>
    range(weights, weights.reduce((most, one) => Math.max(most, one), 0), floor),
  );
  return [Math.min(ranges[0][0], ranges[1][0]), Math.max(ranges[0][1], ranges[1][1])];
}

function paint({ header }: Shown, weights: Float32Array, colour: (weight: number) => number): HTMLCanvasElement {
  const [, queries, keys] = header.shape;
  const pixels = Uint32Array.from(weights, colour);
  const bitmap = html("canvas", { width: keys, height: queries });
  bitmap.getContext("2d")!.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), keys, queries), 0, 0);
  return bitmap;
}

function measures({ queries, keys }: Shown, room: number): Pick<Panel, "left" | "column" | "row"> {
  const widest = queries.reduce((most, label) => Math.max(most, textWidth(clip(label, NARROW))), 0);
  const left = Math.ceil(widest + 12);
  const tall = Math.max(240, innerHeight - 480);
  const column = Math.min((room - left) / keys.length, 48);
  if (queries.length !== keys.length) return { left, column, row: Math.min(ROW_MOST, tall / queries.length) };
  const side = Math.min(column, ROW_MOST, Math.max(tall, 300) / keys.length);
  return { left, column: side, row: side };
}

/** A canvas with its title, its colours and its labels. */
function createFrame(letter: string, store: Store) {
  const title = html("span", { class: "which" });
  const ramp = html("div", { class: "ramp" });
  const canvas = html("canvas", { tabindex: 0, role: "img", "data-map": letter });
  const marks = svg("svg", { class: "marks", "aria-hidden": "true" });
  const cross = svg("g");
  const head = html("div", { class: "head" }, html("span", { class: "letter" }, letter), title, ramp);
  const root = html("div", { class: "panel" }, head, html("div", { class: "map" }, canvas, marks));
  let panel: Panel;

  const move = (event: PointerEvent) => {
    const box = canvas.getBoundingClientRect();
    const inside = (at: number, count: number) => (at >= 0 && at < count ? at : null);
    const query = inside(Math.floor((event.clientY - box.top) / panel.row), panel.shown.queries.length);
    const key = inside(Math.floor((event.clientX - box.left) / panel.column), panel.shown.keys.length);
    store.set({ cursor: { query, key } });
  };
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerdown", move);
  canvas.addEventListener("pointerleave", () => {
    if (document.activeElement !== canvas) store.set({ cursor: { query: null, key: null } });
  });
  canvas.addEventListener("keydown", (event) => {
    const cursor = moved(store.state.cursor, event.key, panel.shown);
    if (!cursor) return;
    event.preventDefault();
    event.stopPropagation();
    store.set({ cursor });
  });

  return {
    root,
    draw(next: Panel, which: string): void {
      panel = next;
      title.textContent = which;
      title.title = which;
      drawCells(canvas, panel, `${letter}, ${which}`);
      drawLabels(marks, panel);
      marks.append(cross);
    },
    ramp(background: string, values: number[]): void {
      const bar = html("div", { class: "bar" });
      bar.style.background = background;
      const ticks = values.map((value) => html("span", {}, signed(value)));
      ramp.replaceChildren(bar, html("div", { class: "ticks" }, ...ticks));
    },
    point({ query, key }: Cursor): void {
      if (root.hidden) return;
      const { left, column, row, shown } = panel;
      const [width, height] = [column * shown.keys.length, row * shown.queries.length];
      const parts: SVGElement[] = [];
      if (query !== null && query >= shown.queries.length) query = null;
      if (key !== null && key >= shown.keys.length) key = null;
      if (query !== null)
        parts.push(svg("rect", { class: "line", x: left, y: query * row, width, height: row }));
      if (key !== null)
        parts.push(svg("rect", { class: "line", x: left + key * column, y: 0, width: column, height }));
      if (query !== null && key !== null) {
        const cell = { x: left + key * column, y: query * row, width: column, height: row };
        parts.push(svg("rect", { class: "halo", ...cell }), svg("rect", { class: "cell", ...cell }));
      }
      cross.replaceChildren(...parts);
    },
  };
}

function drawCells(canvas: HTMLCanvasElement, { bitmap, left, column, row }: Panel, which: string): void {
  const density = window.devicePixelRatio || 1;
  const [width, height] = [column * bitmap.width, row * bitmap.height];
  canvas.style.cssText = `left:${left}px;width:${width}px;height:${height}px`;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  canvas.setAttribute(
    "aria-label",
    `${which}: ${bitmap.height} queries in rows, ${bitmap.width} keys in columns. Arrow keys move from cell to cell.`,
  );
  const context = canvas.getContext("2d")!;
  context.scale(density, density);
  context.imageSmoothingEnabled = column * density < 1 || row * density < 1; // else whole rows would be dropped
  context.drawImage(bitmap, 0, 0, width, height);
  if (column >= 6) for (let x = 1; x < bitmap.width; x++) context.clearRect(x * column - 0.5, 0, 1, height);
  if (row >= 6) for (let y = 1; y < bitmap.height; y++) context.clearRect(0, y * row - 0.5, width, 1);
}

function drawLabels(marks: SVGSVGElement, { shown, left, column, row }: Panel): void {
  const { queries, keys } = shown;
  const [width, height] = [column * keys.length, row * queries.length];
  const clipped = keys.map((key) => clip(key, NARROW));
  const widest = clipped.reduce((most, key) => Math.max(most, textWidth(key)), 0);
  const last = left + width + GAP / 2 - widest / 2; // as far as a label may reach towards the next map
  const shifted = Math.max(0, left + width - column / 2 - last);
  const along = thin(keys.length, column, widest + 14 + shifted).map((index) => {
    const x = Math.min(left + (index + 0.5) * column, last);
    return svg("text", { x, y: height + 18, "text-anchor": "middle" }, clipped[index]);
  });
  const down = thin(queries.length, row, row < 15 ? 30 : 15).map((index) =>
    svg(
      "text",
      { x: left - 8, y: (index + 0.5) * row + 4, "text-anchor": "end" },
      clip(queries[index], NARROW),
    ),
  );
  const axes = `${axisName(shown, "keys")} →,  ${axisName(shown, "queries")} ↓`;
  marks.replaceChildren(...along, ...down, svg("text", { class: "axis", x: left, y: height + 40 }, axes));
  setAttributes(marks, { width: left + width, height: height + 46 });
}

/** Where `pressed` takes the cursor, or null where it is no key of ours. */
function moved({ query, key }: Cursor, pressed: string, { queries, keys }: Shown): Cursor | null {
  if (pressed === "Escape") return { query: null, key: null };
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[pressed];
  if (!step) return null;
  if (query === null || key === null) return { query: query ?? 0, key: key ?? 0 };
  const within = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));
  return { query: within(query + step[0], queries.length), key: within(key + step[1], keys.length) };
}

/** What each of the two is, by what only it is. */
function described(a: Shown, b: Shown): [string, string] {
  const different = [
    a.run !== b.run,
    a.tag !== b.tag,
    a.at.step !== b.at.step,
    a.sample !== b.sample,
    String(a.head) !== String(b.head),
  ];
  const each = [a, b].map(({ run, name, layer, at, sample, sampleLabels, head, header }) =>
    [
      run,
      a.name === b.name ? layer : `${name} · ${layer}`,
      `step ${at.step}`,
      sampleLabels[sample],
      headText(head, header.shape[0]),
    ].filter((_, index) => different[index]),
  );
  return [each[0].join(", ") || "the same map", each[1].join(", ") || "the same map"];
}

/** How far the two are apart, in words. */
function told(a: Shown, b: Shown, difference: Difference | null): string {
  const several = [a, b].some(({ head }) => typeof head !== "string" && head.length > 1);
  const first = several ? " Of several heads the first is compared." : "";
  if (!difference) {
    const [sizeA, sizeB] = [a, b].map(({ queries, keys }) => `${queries.length} × ${keys.length}`);
    return `A has ${sizeA} weights and B has ${sizeB}, and maps of different sizes cannot be subtracted.${first}`;
  }
  if (difference.most === 0) return `A and B are equal in every weight.${first}`;
  const [queries, keys] = [pairs(a.queries, b.queries), pairs(a.keys, b.keys)].map(
    (label) => (at: number) => clip(label(at), 2 * LABEL_MOST),
  );
  const { cell, mean, weights } = difference;
  const [query, key] = [Math.floor(cell / a.keys.length), cell % a.keys.length];
  const places =
    a.queries.some((label, at) => label !== b.queries[at]) || a.keys.some((label, at) => label !== b.keys[at])
      ? " Their labels differ: cells are compared by position."
      : "";
  return (
    `On average a weight differs by ${formatWeight(mean)}. It differs most where query ${queries(query)} attends to ` +
    `key ${keys(key)}: ${formatWeight(a.weights[cell])} in A, ${formatWeight(b.weights[cell])} in B, a difference of ` +
    `${signed(weights[cell])}.${places}${first}`
  );
}

/** The three values under the cursor; without a cursor, where they are furthest apart. */
function read(a: Shown, b: Shown, difference: Difference | null, cursor: Cursor): HTMLElement[] {
  const idle = cursor.query === null && cursor.key === null && difference !== null;
  const columns = a.keys.length;
  const query = idle ? Math.floor(difference.cell / columns) : cursor.query;
  const key = idle ? difference.cell % columns : cursor.key;
  const value = (shown: Shown, weights: Float32Array) => {
    const there = query !== null && key !== null && query < shown.queries.length && key < shown.keys.length;
    return there ? weights[query * shown.keys.length + key] : null;
  };
  const field = (name: string, text: string, kind = "", weight: number | null = null) =>
    html(
      "div",
      { class: kind, "data-value": weight ?? false },
      html("span", { class: "name" }, name),
      html("span", { class: "value" }, text),
    );
  const number = (name: string, weight: number | null, kind: string) =>
    field(name, weight === null ? "–" : kind === "strong" ? signed(weight) : formatWeight(weight), kind, weight);
  const fields = [number("A", value(a, a.weights), "a"), number("B", value(b, b.weights), "b")];
  if (difference)
    fields.unshift(
      number(idle ? "largest A − B" : "A − B", value(a, difference.weights), "strong"),
    );
  const label = (of: string[], ofB: string[], at: number | null) =>
    at === null ? "–" : clip(pairs(of, ofB)(at), 2 * LABEL_MOST);
  fields.push(field(axisName(a, "queries"), label(a.queries, b.queries, query)));
  fields.push(field(axisName(a, "keys"), label(a.keys, b.keys, key)));
  return fields;
}

/** The label at a position, of both where they differ. */
function pairs(a: string[], b: string[]): (at: number) => string {
  return (at) => (a[at] === b[at] ? a[at] : [a[at], b[at]].map((label) => label ?? "–").join(" / "));
}

function signed(value: number): string {
  return value < 0 ? `−${formatWeight(-value)}` : formatWeight(value);
}
