// The map: cells on a canvas, labels and crosshair in an SVG above it.

import { html, setAttributes, svg } from "./dom";
import { LABEL_MOST, type Layout, OVERHANG, clip, layOut, textWidth, thin } from "./layout";
import { colours, formatWeight, gradient } from "./scale";
import type { Cursor, Selection, Shown, Store } from "./store";
import { axisName } from "./words";

const TOP = 46; // the query axis' title, and the legend
const LEGEND = 440; // width, as in chart.css
const SLANT = Math.PI / 4;

export function createHeatmap(store: Store): HTMLElement {
  const { state } = store;
  const canvas = html("canvas", { id: "heatmap", tabindex: 0, role: "img" });
  const marks = svg("svg", { class: "marks", "aria-hidden": "true" });
  const floor = html(
    "select",
    { id: "floor", "aria-label": "Colours begin at" },
    html("option", { value: "zero" }, "from 0"),
    html("option", { value: "lowest" }, "from the lowest"),
  );
  floor.addEventListener("change", () => void store.select({ floor: floor.value as Selection["floor"] }));
  const ramp = html("div", { class: "ramp" });
  const legend = html("div", { class: "scale" }, html("span", { class: "axis" }, "attention weight"), floor, ramp);
  const root = html("div", { class: "heatmap" }, canvas, marks, legend);

  let layout: Layout;
  let drawn: { shown: Shown | null; dark: boolean; width: number } = { shown: null, dark: false, width: 0 };
  let bitmap: HTMLCanvasElement;
  let hover: SVGGElement;

  store.subscribe(() => {
    const { shown, dark, width } = state;
    root.hidden = shown === null;
    if (!shown || width === 0) return;
    if (drawn.shown !== shown || drawn.dark !== dark || drawn.width !== width) {
      if (drawn.shown !== shown || drawn.dark !== dark) bitmap = paint(shown, dark);
      drawn = { shown, dark, width };
      layout = layOut(state, shown);
      drawCells(canvas, bitmap, layout, shown);
      hover = drawLabels(marks, layout, shown);
      // Flush with the map's right edge, but clear of the query axis' title.
      legend.style.left = `${Math.max(180, layout.left + layout.mapWidth - LEGEND)}px`;
      floor.value = state.selection.floor;
      drawRamp(ramp, shown, dark);
    }
    drawHover(hover, layout, shown, state.cursor);
  });

  function cellAt(event: PointerEvent): Cursor {
    const box = canvas.getBoundingClientRect();
    const [, queries, keys] = state.shown!.header.shape;
    const query = Math.floor((event.clientY - box.top) / layout.row);
    const key = Math.floor((event.clientX - box.left) / layout.column);
    return {
      query: query >= 0 && query < queries ? query : null,
      key: key >= 0 && key < keys ? key : null,
    };
  }
  canvas.addEventListener("pointermove", (event) => store.set({ cursor: cellAt(event) }));
  canvas.addEventListener("pointerdown", (event) => store.set({ cursor: cellAt(event) }));
  canvas.addEventListener("pointerleave", () => {
    if (document.activeElement !== canvas) store.set({ cursor: { query: null, key: null } });
  });
  canvas.addEventListener("keydown", (event) => {
    const cursor = moved(state.cursor, event.key, state.shown!.header.shape);
    if (!cursor) return;
    event.preventDefault();
    store.set({ cursor });
  });
  return root;
}

/** Where `key` takes the cursor, or null where it is no key of ours. */
function moved({ query, key }: Cursor, pressed: string, [, queries, keys]: readonly number[]): Cursor | null {
  if (pressed === "Escape") return { query: null, key: null };
  const step = {
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
    Home: [0, -keys],
    End: [0, keys],
  }[pressed];
  if (!step) return null;
  if (query === null || key === null)
    return { query: query ?? 0, key: key ?? (pressed === "End" ? keys - 1 : 0) };
  const within = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));
  return { query: within(query + step[0], queries), key: within(key + step[1], keys) };
}

/** One pixel a cell; every draw scales this one bitmap. */
function paint({ header, weights, low, max }: Shown, dark: boolean): HTMLCanvasElement {
  const [, queries, keys] = header.shape;
  const palette = colours(dark);
  const pixels = Uint32Array.from(
    weights,
    (weight) => palette[max > low ? Math.round((255 * (weight - low)) / (max - low)) : 0],
  );
  const bitmap = html("canvas", { width: keys, height: queries });
  const image = new ImageData(new Uint8ClampedArray(pixels.buffer), keys, queries);
  bitmap.getContext("2d")!.putImageData(image, 0, 0);
  return bitmap;
}

function drawCells(canvas: HTMLCanvasElement, bitmap: HTMLCanvasElement, layout: Layout, shown: Shown): void {
  const density = window.devicePixelRatio || 1;
  const { left, mapWidth, mapHeight, row, column, width } = layout;
  canvas.style.cssText = `left:${left}px;top:${TOP}px;width:${width}px;height:${mapHeight}px`;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(mapHeight * density);
  canvas.setAttribute(
    "aria-label",
    `Attention of ${shown.layer}: ${bitmap.height} queries in rows, ${bitmap.width} keys in columns. Arrow keys move from cell to cell.`,
  );
  const context = canvas.getContext("2d")!;
  context.scale(density, density);
  context.imageSmoothingEnabled = column * density < 1 || row * density < 1; // else whole rows would be dropped
  context.drawImage(bitmap, 0, 0, mapWidth, mapHeight);
  if (column >= 6)
    for (let x = 1; x < bitmap.width; x++) context.clearRect(x * column - 0.5, 0, 1, mapHeight);
  if (row >= 6) for (let y = 1; y < bitmap.height; y++) context.clearRect(0, y * row - 0.5, mapWidth, 1);
}

function drawLabels(marks: SVGSVGElement, layout: Layout, shown: Shown): SVGGElement {
  const { left, mapWidth, mapHeight, row, column, width } = layout;
  const { queries, keys, timeline, header } = shown;
  const bottom = TOP + mapHeight;
  const text = (x: number, y: number, label: string, attributes = {}) =>
    svg("text", { x, y, ...attributes }, label);

  const clipped = keys.map((key) => clip(key, LABEL_MOST));
  const widest = clipped.reduce((most, key) => Math.max(most, textWidth(key)), 0);
  // Every token matters; of days and indices a few are enough.
  const slanted = header.keys.kind === "token" && widest + 12 > column && column >= 12;
  const right = left + width + OVERHANG;
  const keyLabels = thin(keys.length, column, slanted ? 0 : widest + 14).map((index) => {
    const x = left + (index + 0.5) * column;
    return slanted
      ? text(x + 4, bottom + 14, clipped[index], {
          "text-anchor": "end",
          transform: `rotate(-45 ${x + 4} ${bottom + 14})`,
        })
      : text(Math.min(x, right - widest / 2), bottom + 18, clipped[index], { "text-anchor": "middle" });
  });
  const rowLabels = thin(queries.length, row, row < 15 ? 30 : 15).map((index) =>
    text(left - 10, TOP + (index + 0.5) * row + 4, clip(queries[index], LABEL_MOST), {
      "text-anchor": "end",
    }),
  );
  const dots = (timeline?.rows ?? []).flatMap((x, index) =>
    x !== null && x * column > mapWidth
      ? [
          svg("circle", {
            class: "own-day",
            cx: left + x * column,
            cy: TOP + (index + 0.5) * row,
            r: Math.min(3.5, row / 2, column / 2),
          }),
        ]
      : [],
  );
  const depth = slanted ? widest * Math.sin(SLANT) + 24 : 26;
  const hover = svg("g", { class: "hover" });
  const ahead = svg("rect", {
    class: "ahead",
    x: left + mapWidth,
    y: 0,
    width: width - mapWidth,
    height: bottom,
  });
  marks.replaceChildren(
    ahead,
    text(0, TOP - 10, `${axisName(shown, "queries")} ↓`, { class: "axis" }),
    text(left, bottom + depth + 16, `${axisName(shown, "keys")} →`, { class: "axis" }),
    svg("g", { class: "keys" }, ...keyLabels),
    svg("g", { class: "queries" }, ...rowLabels),
    ...dots,
    hover,
  );
  setAttributes(marks, { width: right, height: bottom + depth + 24 });
  return hover;
}

function drawHover(hover: SVGGElement, layout: Layout, shown: Shown, { query, key }: Cursor): void {
  const { left, mapWidth, mapHeight, row, column, width } = layout;
  const parts: SVGElement[] = [];
  const pill = (right: number, middle: number, label: string) => {
    const box = {
      x: right - textWidth(label) - 12,
      y: middle - 10,
      width: textWidth(label) + 12,
      height: 20,
      rx: 4,
    };
    parts.push(
      svg("rect", { class: "pill", ...box }),
      svg("text", { class: "pill", x: right - 6, y: middle + 4, "text-anchor": "end" }, label),
    );
  };
  if (query !== null) {
    const y = TOP + query * row;
    const own = shown.timeline?.rows[query];
    parts.push(svg("rect", { class: "line", x: left, y, width: mapWidth, height: row }));
    if (own && own * column > mapWidth)
      parts.push(svg("circle", { class: "own-day", cx: left + own * column, cy: y + row / 2, r: 5.5 }));
    pill(left - 4, y + row / 2, clip(shown.queries[query], LABEL_MOST));
  }
  if (key !== null) {
    const x = left + key * column;
    const label = clip(shown.keys[key], LABEL_MOST);
    parts.push(svg("rect", { class: "line", x, y: TOP, width: column, height: mapHeight }));
    pill(
      Math.min(x + column / 2 + textWidth(label) / 2 + 6, left + width + OVERHANG),
      TOP + mapHeight + 14,
      label,
    );
  }
  if (query !== null && key !== null) {
    const cell = { x: left + key * column, y: TOP + query * row, width: column, height: row };
    parts.push(svg("rect", { class: "halo", ...cell }), svg("rect", { class: "cell", ...cell }));
  }
  hover.replaceChildren(...parts);
  hideCovered(hover);
}

/** Half a label beside the cursor's own would read as another label. */
function hideCovered(hover: SVGGElement): void {
  const pills = [...hover.querySelectorAll("rect.pill")].map((pill) => pill.getBoundingClientRect());
  const labels = [...hover.parentElement!.querySelectorAll(".keys text, .queries text")];
  const covered = labels.map((label) => {
    const box = label.getBoundingClientRect();
    return pills.some(
      (pill) =>
        box.left < pill.right && pill.left < box.right && box.top < pill.bottom && pill.top < box.bottom,
    );
  });
  labels.forEach((label, index) => label.classList.toggle("near", covered[index]));
}

function drawRamp(ramp: HTMLElement, { low, max }: Shown, dark: boolean): void {
  const bar = html("div", { class: "bar" });
  bar.style.background = gradient(dark);
  const values = max > low ? [low, (low + max) / 2, max] : [low];
  ramp.replaceChildren(
    bar,
    html("div", { class: "ticks" }, ...values.map((value) => html("span", {}, formatWeight(value)))),
  );
}
