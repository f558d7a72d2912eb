// Several heads side by side in the same colours; a click opens one alone.

import { whole } from "./area";
import { type Blocks, type Paint, drawCells, drawOutlines, painter, seenAt } from "./cells";
import { html } from "../drawing/dom";
import { outlinedOf } from "./legend";
import { largest } from "../drawing/peaks";
import { colouring, formatWeight } from "../drawing/scale";
import type { Shown } from "../data/shown";
import type { Cursor, Store } from "../data/store";

const GAP = 20;
const WIDEST = 420;
const NARROWEST = 150;
const ROWS = 2; // as many rows of maps as are tried to be seen at once

interface Small {
  root: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  name: HTMLElement;
  most: HTMLElement;
  paint: Paint;
  blocks: Blocks;
}

export function createSmallMaps(store: Store): HTMLElement {
  const { state } = store;
  const root = html("div", { class: "small-maps" });
  const smalls: Small[] = [];
  let drawn: { shown: Shown | null; look: string; cursor: Cursor | null } = {
    shown: null,
    look: "",
    cursor: null,
  };

  function add(index: number): void {
    const canvas = html("canvas", {});
    const name = html("span", { class: "name" });
    const most = html("span", { class: "most" });
    const title = html("span", { class: "title" }, name, most);
    const made = html("button", { class: "small" }, title, canvas);
    made.addEventListener("click", () => void store.select({ head: [(state.shown!.head as number[])[index]] }));
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const { maps, header } = state.shown!;
      const [, queries, keys] = header.shape;
      const at = (place: number, count: number) => Math.max(0, Math.min(count - 1, Math.floor(place * count)));
      const row = at((event.clientY - box.top) / box.height, queries);
      const column = at((event.clientX - box.left) / box.width, keys);
      const [query, key] = seenAt(maps[index], keys, row, column, smalls[index].blocks);
      store.set({ cursor: { query, key, map: index } });
    });
    canvas.addEventListener("pointerleave", () => store.set({ cursor: { query: null, key: null } }));
    smalls.push({
      root: made,
      canvas,
      name,
      most,
      paint: () => canvas,
      blocks: { down: 0, across: 0 },
    });
    root.append(made);
  }

  store.subscribe(() => {
    const { shown, view, dark, width, selection, cursor } = state;
    root.hidden = !shown || view !== "map" || shown.maps.length === 1;
    if (root.hidden || !shown || width === 0) return;
    const look = JSON.stringify([dark, width, selection.scale, selection.floor, selection.top]);
    if (drawn.shown !== shown || drawn.look !== look) {
      while (smalls.length > shown.maps.length) smalls.pop()!.root.remove();
      while (smalls.length < shown.maps.length) add(smalls.length);
      const [, queries, keys] = shown.header.shape;
      const colours = colouring(shown, selection, dark);
      const wide = widthOf(shown.maps.length, width);
      const high = wide * Math.max(0.25, Math.min(1.25, queries / keys));
      smalls.forEach((small, index) => {
        const map = shown.maps[index];
        const head = (shown.head as number[])[index];
        const density = window.devicePixelRatio || 1;
        small.paint = painter(map, keys, colours);
        small.canvas.style.cssText = `width:${wide}px;height:${high}px`;
        small.canvas.width = Math.round(wide * density);
        small.canvas.height = Math.round(high * density);
        small.name.textContent = `head ${head + 1}`;
        small.most.textContent = `max ${formatWeight(shown.header.max[shown.sample][head])}`;
        small.root.title = `Open head ${head + 1} alone`;
        draw(small, index, shown, wide, high);
      });
      drawn = { shown, look, cursor };
    } else if (drawn.cursor !== cursor) {
      for (const index of new Set([drawn.cursor?.map, cursor.map])) {
        const small = index === undefined ? undefined : smalls[index];
        if (small) draw(small, index!, shown, small.canvas.clientWidth, small.canvas.clientHeight);
      }
      drawn.cursor = cursor;
    }
  });

  function draw(small: Small, index: number, shown: Shown, wide: number, high: number): void {
    const context = small.canvas.getContext("2d")!;
    const area = whole(shown.header.shape.slice(1));
    small.blocks = drawCells(context, small.paint, area, wide, high);
    const top = largest(shown, outlinedOf(state.selection.top)).filter(({ map }) => map === index);
    drawOutlines(context, top, area, wide, high, state.dark);
    small.canvas.dataset.top = top.map(({ query, key }) => `${query}:${key}`).join(" ");
    const { query, key, map } = state.cursor;
    if (map !== index || query === null || key === null) return;
    context.fillStyle = state.dark ? "#e8eaed" : "#1b1f24";
    context.globalAlpha = 0.5;
    context.fillRect(0, ((query + 0.5) * high) / area.queries - 0.5, wide, 1);
    context.fillRect(((key + 0.5) * wide) / area.keys - 0.5, 0, 1, high);
    context.globalAlpha = 1;
  }
  return root;
}

/** As wide as lets them stand in one row, if they are three, or in few. */
function widthOf(count: number, width: number): number {
  const most = Math.max(1, Math.floor((width + GAP) / (NARROWEST + GAP)));
  const columns = Math.min(most, Math.max(Math.min(3, count), Math.ceil(count / ROWS)));
  return Math.min(WIDEST, Math.floor((width + GAP) / columns) - GAP);
}
