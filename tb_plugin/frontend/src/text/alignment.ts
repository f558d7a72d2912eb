// A translation's alignment: queries down, keys across, the greatest weight of each row outlined.

import { html } from "../drawing/dom";
import { LABEL_MOST, textWidth } from "../drawing/layout";
import type { Shown } from "../data/shown";
import type { Cursor } from "../data/store";
import type { Form, Look } from "./form";
import { visible, within } from "./tokens";
import { axisName } from "../drawing/words";

const CELL_MOST = 30;
const CELL_LEAST = 16; // a label needs as much
const TITLE = 22;

export function createAlignment(): Form {
  const canvas = html("canvas", { role: "img", tabindex: 0, "data-side": "cell" });
  const labels = html("div", { "aria-hidden": "true" });
  const sheet = html("div", { class: "sheet" }, canvas, labels);
  const root = html("div", { class: "alignment" }, sheet);
  let look: Look;
  let cell = CELL_MOST;
  let nodes: { query: HTMLElement[]; key: HTMLElement[] };

  function draw(next: Look): void {
    look = next;
    const { shown, width } = look;
    const { queries, keys } = shown;
    const widest = (names: string[]) => Math.max(...names.map((name) => Math.min(LABEL_MOST, 1.1 * textWidth(name))));
    const down = `${axisName(shown, "queries")} ↓`;
    const left = Math.ceil(Math.max(widest(queries), textWidth(down))) + 16;
    const rise = Math.ceil(widest(keys) * Math.SQRT1_2) + 26;
    const top = TITLE + rise;
    cell = Math.max(CELL_LEAST, Math.min(CELL_MOST, (width - left - rise) / keys.length));
    nodes = {
      query: queries.map((label, query) => labelOf("query", query, label, { top: top + query * cell, width: left - 8 })),
      key: keys.map((label, key) => labelOf("key", key, label, { top: top - 8, left: left + (key + 0.5) * cell })),
    };
    const titles = [
      title(down, 0, top - TITLE),
      title(`${axisName(shown, "keys")} →`, left, 0),
    ];
    labels.replaceChildren(...titles, ...nodes.query, ...nodes.key);
    const size = { width: cell * keys.length, height: cell * queries.length };
    sheet.style.width = `${left + size.width + rise}px`;
    sheet.style.height = `${top + size.height + 8}px`;
    canvas.style.cssText = `left:${left}px;top:${top}px;width:${size.width}px;height:${size.height}px`;
    canvas.setAttribute(
      "aria-label",
      `Alignment of ${queries.length} queries in rows with ${keys.length} keys in columns. Arrow keys move from cell to cell.`,
    );
  }

  function labelOf(side: "query" | "key", index: number, label: string, place: Record<string, number>): HTMLElement {
    const node = html("span", { class: `label ${side}`, [`data-${side}`]: index, dir: "auto" }, visible(label));
    for (const [name, value] of Object.entries(place)) node.style.setProperty(name, `${value}px`);
    if (side === "query") node.style.height = node.style.lineHeight = `${cell}px`;
    return node;
  }

  function mark({ query, key }: Cursor): void {
    const { shown, ink } = look;
    const { queries, keys } = shown;
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(cell * keys.length * density);
    canvas.height = Math.round(cell * queries.length * density);
    const context = canvas.getContext("2d")!;
    context.scale(density, density);
    const style = getComputedStyle(root);
    const [text, page] = ["--text", "--page"].map((colour) => style.getPropertyValue(colour).trim());
    for (let row = 0, at = 0; row < queries.length; row++) {
      for (let column = 0; column < keys.length; column++, at++) {
        context.fillStyle = ink(shown.weights[at]).background;
        context.fillRect(column * cell + 0.5, row * cell + 0.5, cell - 1, cell - 1);
      }
    }
    const outline = (row: number, column: number, grow: number, colour: string, wide: number) => {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.strokeRect(column * cell + 1.5 - grow, row * cell + 1.5 - grow, cell - 3 + 2 * grow, cell - 3 + 2 * grow);
    };
    greatest(shown).forEach((column, row) => {
      if (column === null) return;
      outline(row, column, 0, page, 3);
      outline(row, column, 0.5, text, 2);
    });
    context.strokeStyle = text;
    context.lineWidth = 1;
    context.globalAlpha = 0.5;
    if (query !== null) context.strokeRect(0.5, query * cell + 0.5, cell * keys.length - 1, cell - 1);
    if (key !== null) context.strokeRect(key * cell + 0.5, 0.5, cell - 1, cell * queries.length - 1);
    context.globalAlpha = 1;
    if (query !== null && key !== null) outline(query, key, 1, text, 3);
    for (const [index, node] of nodes.query.entries()) node.classList.toggle("chosen", index === query);
    for (const [index, node] of nodes.key.entries()) node.classList.toggle("chosen", index === key);
  }

  function hit(event: MouseEvent): Cursor {
    const { shown } = look;
    const label = (event.target as Element).closest<HTMLElement>(".label");
    if (label) {
      const { query, key } = label.dataset;
      return { query: query === undefined ? null : Number(query), key: key === undefined ? null : Number(key) };
    }
    const box = canvas.getBoundingClientRect();
    const query = Math.floor((event.clientY - box.top) / cell);
    const key = Math.floor((event.clientX - box.left) / cell);
    const inside = query >= 0 && query < shown.queries.length && key >= 0 && key < shown.keys.length;
    return inside ? { query, key } : { query: null, key: null };
  }

  function step(_side: string, pressed: string, _shift: boolean, { query, key }: Cursor): Cursor | null {
    const { queries, keys } = look.shown;
    const by = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      Home: [0, -keys.length],
      End: [0, keys.length],
    }[pressed];
    if (!by) return null;
    if (query === null || key === null) return { query: query ?? 0, key: key ?? 0 };
    return { query: within(query + by[0], queries.length), key: within(key + by[1], keys.length) };
  }

  return { root, single: false, draw, mark, hit, step };
}

function title(name: string, left: number, top: number): HTMLElement {
  const node = html("span", { class: "axis" }, name);
  node.style.left = `${left}px`;
  node.style.top = `${top}px`;
  return node;
}

/** The key of each query's greatest weight; null where the row is empty. */
function greatest({ weights, keys }: Shown): (number | null)[] {
  return Array.from({ length: weights.length / keys.length }, (_, row) => {
    const own = weights.subarray(row * keys.length, (row + 1) * keys.length);
    const most = own.reduce((best, weight, key) => (weight > own[best] ? key : best), 0);
    return own[most] > 0 ? most : null;
  });
}
