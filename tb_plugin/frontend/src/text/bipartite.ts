// Queries left, keys right, and a line from each query to what it attends to.

import { html } from "../drawing/dom";
import type { Form, Look } from "./form";
import type { Cursor } from "../data/store";
import { createTokenNode, dress, within } from "./tokens";
import { axisName } from "../drawing/words";

const ROW = 26; // pixels, as in text.css
const MOST_LINES = 4000;
const LEAST_SHARE = 0.02; // fainter ones are not drawn: they would only be haze
// Of several heads; apart from each other for the colour-blind too (Okabe and Ito).
const HEADS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9"];

export function createBipartite(): Form {
  const canvas = html("canvas", { "aria-hidden": "true" });
  const names = { query: html("div", { class: "axis" }), key: html("div", { class: "axis" }) };
  const lists = { query: list("query"), key: list("key") };
  const legend = html("ul", { class: "legend heads" });
  const root = html(
    "div",
    { class: "bipartite" },
    legend,
    html("div", { class: "sides" }, names.query, html("div"), names.key, lists.query, canvas, lists.key),
  );
  let look: Look;
  let nodes: { query: HTMLElement[]; key: HTMLElement[] };

  function draw(next: Look): void {
    look = next;
    const { shown } = look;
    nodes = {
      query: shown.queries.map((label, query) => createTokenNode("query", query, label)),
      key: shown.keys.map((label, key) => createTokenNode("key", key, label)),
    };
    for (const side of ["query", "key"] as const) {
      lists[side].replaceChildren(...nodes[side]);
      const name = axisName(shown, side === "query" ? "queries" : "keys");
      lists[side].setAttribute("aria-label", name);
      names[side].textContent = name;
    }
    const heads = typeof shown.head === "string" || shown.maps.length === 1 ? [] : shown.head;
    legend.replaceChildren(
      ...heads.map((head, index) => {
        const mark = html("span", { class: "swatch" });
        mark.style.background = headColour(index);
        return html("li", {}, mark, `head ${head + 1}`);
      }),
    );
    legend.hidden = heads.length === 0 || heads.length > HEADS.length;
    canvas.style.height = `${ROW * Math.max(shown.queries.length, shown.keys.length)}px`;
  }

  function headColour(map: number): string {
    const { length } = look.shown.maps;
    return length > 1 && length <= HEADS.length
      ? HEADS[map]
      : getComputedStyle(root).getPropertyValue("--attended").trim();
  }

  function mark(cursor: Cursor): void {
    const { shown, ink } = look;
    const keys = shown.keys.length;
    const { query, key } = cursor;
    for (const [index, node] of nodes.query.entries()) {
      const weight = query === null && key !== null ? shown.weights[index * keys + key] : null;
      dress(node, weight === null ? null : ink(weight), index === query);
    }
    for (const [index, node] of nodes.key.entries()) {
      const weight = query !== null ? shown.weights[query * keys + index] : null;
      dress(node, weight === null ? null : ink(weight), index === key);
    }
    drawLines(cursor);
  }

  function drawLines({ query, key }: Cursor): void {
    const { shown, share } = look;
    const keys = shown.keys.length;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    const context = canvas.getContext("2d")!;
    context.scale(density, density);
    const lines: [share: number, map: number, cell: number][] = [];
    shown.maps.forEach((map, number) => {
      const first = query === null ? 0 : query * keys;
      const end = query === null ? map.length : first + keys;
      for (let cell = first; cell < end; cell++) {
        if (query === null && key !== null && cell % keys !== key) continue;
        const part = share(map[cell]);
        if (part >= LEAST_SHARE) lines.push([part, number, cell]);
      }
    });
    lines.sort(([a], [b]) => b - a).splice(MOST_LINES);
    const colours = shown.maps.map((_, map) => headColour(map));
    for (const [part, map, cell] of lines.reverse()) {
      const from = (Math.floor(cell / keys) + 0.5) * ROW;
      const to = ((cell % keys) + 0.5) * ROW;
      const aside = query !== null && key !== null && cell % keys !== key;
      context.strokeStyle = colours[map];
      context.globalAlpha = (aside ? 0.25 : 0.95) * part;
      context.lineWidth = 0.5 + 4 * part;
      context.beginPath();
      context.moveTo(0, from);
      context.bezierCurveTo(width / 2, from, width / 2, to, width, to);
      context.stroke();
    }
  }

  function hit(event: MouseEvent): Cursor {
    const token = (event.target as Element).closest<HTMLElement>(".token");
    const { query, key } = token?.dataset ?? {};
    return { query: query === undefined ? null : Number(query), key: key === undefined ? null : Number(key) };
  }

  function step(side: string, pressed: string, _shift: boolean, cursor: Cursor): Cursor | null {
    const own = side === "query" ? "query" : "key";
    const count = nodes[own].length;
    const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, Home: -count, End: count }[pressed];
    if (by === undefined) return null;
    const index = cursor[own] === null && by < count ? 0 : within((cursor[own] ?? 0) + by, count);
    nodes[own][index].scrollIntoView({ block: "nearest" });
    return { ...cursor, [own]: index };
  }

  return { root, single: false, draw, mark, hit, step };
}

function list(side: "query" | "key"): HTMLElement {
  return html("div", { class: side, "data-side": side, role: "listbox", tabindex: 0 });
}
