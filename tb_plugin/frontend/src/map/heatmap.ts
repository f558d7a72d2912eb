// The map: cells on a canvas, labels, crosshair and profiles in an SVG above it.

import { including, isWhole, keyed, watchGestures, whole, zoomed } from "./area";
import { type Blocks, type Paint, drawCells, drawNumbers, drawOutlines, painter, seenAt } from "./cells";
import { html, svg } from "../drawing/dom";
import { type Area, type Layout, layOut, zoomedTo } from "../drawing/layout";
import { createLegend, outlinedOf } from "./legend";
import { type Marks, drawHover, drawLabels } from "./marks";
import { largest } from "../drawing/peaks";
import { drawProfiles } from "./profiles";
import { type Colouring, colouring } from "../drawing/scale";
import type { Shown } from "../data/shown";
import { createSmallMaps } from "./smallmaps";
import type { Cursor, Store } from "../data/store";

const ZOOM = 1.5; // of a button

export function createHeatmap(store: Store): HTMLElement {
  const { state } = store;
  const canvas = html("canvas", { id: "heatmap", tabindex: 0, role: "img" });
  const context = canvas.getContext("2d")!;
  const marks = svg("svg", { class: "marks", "aria-hidden": "true" });
  const said = html("p", { class: "said" });
  const button = (label: string, text: string, press: () => void) => {
    const made = html("button", { class: "turn", "aria-label": label }, text);
    made.addEventListener("click", press);
    return made;
  };
  const out = button("Zoom out", "−", () => show(zoomed(area, 1 / ZOOM, 0.5, 0.5, shape())));
  const into = button("Zoom in", "+", () => show(zoomed(area, ZOOM, 0.5, 0.5, shape())));
  const all = button("Show the whole map", "whole map", () => show(whole(shape())));
  const zoom = html("div", { class: "zoom" }, out, into, all);
  const stage = html("div", { class: "stage" }, canvas, marks, zoom, said);
  const root = html("div", { class: "heatmap" }, createLegend(store), createSmallMaps(store), stage);

  let frame: Layout; // with the whole map in it
  let layout: Layout; // with `area` in it
  let area: Area;
  let place = ""; // of what `area` is a part
  let colours: Colouring;
  let paint: Paint;
  let blocks: Blocks;
  let labels: Marks;
  let drawn: { shown: Shown | null; look: string; colours: string; cursor: Cursor | null } = {
    shown: null,
    look: "",
    colours: "",
    cursor: null,
  };

  const shape = () => state.shown!.header.shape.slice(1);
  const zooms = () => state.view === "map";

  store.subscribe(() => {
    const { shown, dark, width, view, selection, cursor } = state;
    root.hidden = shown === null || !["map", "time"].includes(view);
    if (root.hidden || !shown || width === 0) return;
    stage.hidden = view === "map" && shown.maps.length > 1;
    zoom.hidden = view !== "map" || stage.hidden;
    if (stage.hidden) return;
    const look = JSON.stringify([width, view, selection.top]);
    const coloured = JSON.stringify([dark, selection.floor, selection.scale]);
    const repaint = drawn.shown !== shown || drawn.colours !== coloured;
    if (repaint) {
      colours = colouring(shown, selection, dark);
      paint = painter(shown.weights, shown.header.shape[2], colours);
    }
    if (repaint || drawn.look !== look) {
      frame = layOut(state, shown);
      const now = JSON.stringify([shown.run, shown.tag, shape(), view]);
      if (now !== place) [area, place] = [whole(shape()), now];
      drawn = { shown, look, colours: coloured, cursor };
      size(shown);
      draw();
    } else if (drawn.cursor !== cursor) {
      drawn.cursor = cursor;
      point();
    }
  });

  function size(shown: Shown): void {
    const density = window.devicePixelRatio || 1;
    const { left, top, mapWidth, mapHeight, width } = frame;
    zoom.style.left = `${Math.max(left + mapWidth, zoom.offsetWidth + 130)}px`; // beside the axis' name
    canvas.style.cssText = `left:${left}px;top:${top}px;width:${width}px;height:${mapHeight}px`;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(mapHeight * density);
    const [queries, keys] = shape();
    const zooming = zooms() ? " + and − zoom, shift and arrows pan, 0 shows the whole map." : "";
    canvas.setAttribute(
      "aria-label",
      `Attention of ${shown.layer}: ${queries} queries in rows, ${keys} keys in columns. ` +
        `Arrow keys move from cell to cell.${zooming}`,
    );
  }

  function show(wanted: Area): void {
    area = wanted;
    draw();
  }

  function draw(): void {
    const shown = state.shown!;
    const { weights } = shown;
    const keys = shape()[1];
    layout = zoomedTo(frame, area);
    const { mapWidth, mapHeight, row, column } = layout;
    blocks = drawCells(context, paint, area, mapWidth, mapHeight);
    const complete = isWhole(area, shape());
    if (!complete) drawNumbers(context, weights, keys, area, [row, column], colours);
    const top = largest(shown, outlinedOf(state.selection.top)).filter(({ map }) => map === 0);
    drawOutlines(context, top, area, mapWidth, mapHeight, state.dark);
    labels = drawLabels(marks, layout, shown, frame.column);
    canvas.dataset.area = [area.query, area.key, area.queries, area.keys].join(" ");
    canvas.dataset.top = top.map(({ query, key }) => `${query}:${key}`).join(" ");
    canvas.style.touchAction = zooms() ? (complete ? "pan-x pan-y" : "none") : "";
    canvas.classList.toggle("part", !complete);
    out.disabled = all.disabled = complete;
    const [down, across] = [2 ** blocks.down, 2 ** blocks.across];
    said.hidden = down * across === 1;
    said.textContent = `Each pixel has the colour of the largest of ${down} × ${across} weights.`;
    point();
  }

  function point(): void {
    drawHover(labels, layout, state.shown!, state.cursor);
    if (zooms()) drawProfiles(labels.profiles, layout, state.shown!, state.cursor, state.selection.scale);
  }

  function pointAt(event: MouseEvent): void {
    const box = canvas.getBoundingClientRect();
    const [queries, keys] = shape();
    const query = Math.floor(area.query + (event.clientY - box.top) / layout.row);
    const key = Math.floor(area.key + (event.clientX - box.left) / layout.column);
    const on = [query >= 0 && query < queries, key >= 0 && key < keys];
    const seen = on[0] && on[1] ? seenAt(state.shown!.weights, keys, query, key, blocks) : [query, key];
    store.set({ cursor: { query: on[0] ? seen[0] : null, key: on[1] ? seen[1] : null } });
  }
  watchGestures(canvas, { isOn: zooms, area: () => area, shape, show });
  for (const moved of ["wheel", "dblclick", "pointermove", "pointerdown"] as const)
    canvas.addEventListener(moved, (event) => pointAt(event as MouseEvent));
  canvas.addEventListener("pointerleave", () => {
    if (document.activeElement !== canvas) store.set({ cursor: { query: null, key: null } });
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { query, key } = state.cursor;
    const at = (cell: number | null, first: number, count: number) => {
      const share = cell === null ? 0.5 : (cell + 0.5 - first) / count;
      return share < 0 || share > 1 ? 0.5 : share;
    };
    const [x, y] = [at(key, area.key, area.keys), at(query, area.query, area.queries)];
    const part = zooms() ? keyed(area, event, x, y, shape()) : null;
    const cursor = part ? null : moved(state.cursor, event.key, shape());
    if (!part && !cursor) return;
    event.preventDefault();
    event.stopPropagation(); // the page's own keys
    if (part) show(part);
    if (!cursor) return;
    if (cursor.query !== null && cursor.key !== null) {
      const near = including(area, cursor.query, cursor.key, shape());
      if (near.query !== area.query || near.key !== area.key) show(near);
    }
    store.set({ cursor });
  });
  return root;
}

/** Where `key` takes the cursor, or null where it is no key of ours. */
function moved({ query, key }: Cursor, pressed: string, [queries, keys]: readonly number[]): Cursor | null {
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
