// Running text: what the chosen token attends to is marked in it.

import { createCanvasPassage } from "./canvaspassage";
import { html } from "../drawing/dom";
import { directionOf, lineDirection, runsOf } from "./script";
import type { Cursor } from "../data/store";
import { isSpecial } from "./subwords";
import type { Form, Look, Passage } from "./form";
import { type Side, createTokenNode, dress, within } from "./tokens";
import { axisName } from "../drawing/words";

const MOST_NODES = 1000; // tokens; more are drawn

export function createHighlight(): Form {
  const root = html("div", { class: "highlight" });
  let look: Look;
  let passages: { side: Side; passage: Passage; count: number; fromTheRight: boolean }[] = [];
  const form: Form = { root, single: true, draw, mark, hit, step };

  function draw(next: Look): void {
    look = next;
    const { shown, width } = look;
    const { queries, keys } = shown;
    form.single = queries.length === keys.length && queries.every((label, index) => label === keys[index]);
    const total = form.single ? keys.length : queries.length + keys.length;
    const make = (side: Side, labels: string[], name: string) => {
      const directions = labels.map((label) => (isSpecial(label) ? null : directionOf(label)));
      const line = lineDirection(directions);
      const runs = runsOf(directions, line);
      const passage =
        total > MOST_NODES
          ? createCanvasPassage(side, labels, runs, line, name, width)
          : createDomPassage(side, labels, runs, line, name);
      return { side, passage, count: labels.length, fromTheRight: line === "rtl" };
    };
    passages = form.single
      ? [make("both", keys, "Tokens")]
      : [
          make("query", queries, axisName(shown, "queries")),
          make("key", keys, axisName(shown, "keys")),
        ];
    root.replaceChildren(
      ...passages.flatMap(({ side, passage }) =>
        side === "both"
          ? [passage.root]
          : [html("div", { class: "axis" }, axisName(shown, side === "query" ? "queries" : "keys")), passage.root],
      ),
    );
  }

  function mark({ query, key }: Cursor): void {
    const { shown, ink } = look;
    const keys = shown.keys.length;
    const ofKey = (index: number) => (query === null ? null : ink(shown.weights[query * keys + index]));
    const ofQuery = (index: number) =>
      query !== null || key === null ? null : ink(shown.weights[index * keys + key]);
    for (const { side, passage } of passages) {
      if (side === "both") passage.paint(query === null ? ofQuery : ofKey, query ?? key);
      else if (side === "query") passage.paint(ofQuery, query);
      else passage.paint(ofKey, query === null ? key : null);
    }
  }

  function hit(event: MouseEvent): Cursor {
    const found = passages.find(({ passage }) => passage.root.contains(event.target as Node));
    const index = found?.passage.indexAt(event) ?? null;
    if (!found || index === null) return { query: null, key: null };
    return { query: found.side === "key" ? null : index, key: found.side === "query" ? null : index };
  }

  function step(side: string, pressed: string, shift: boolean, cursor: Cursor): Cursor | null {
    const { passage, count, fromTheRight } = passages.find((one) => one.side === side)!;
    const moved = side === "key" || (side === "both" && shift) ? "key" : "query";
    const next = neighbour(pressed, cursor[moved], count, fromTheRight, passage);
    if (next === null) return null;
    passage.reveal(next);
    return { ...cursor, [moved]: next };
  }

  return form;
}

/** Where an arrow leads: along the line as it is read, or to the nearest token of the line above or below. */
function neighbour(
  pressed: string,
  index: number | null,
  count: number,
  fromTheRight: boolean,
  passage: Passage,
): number | null {
  if (!/^(Arrow(Up|Down|Left|Right)|Home|End)$/.test(pressed)) return null;
  if (pressed === "Home") return 0;
  if (pressed === "End") return count - 1;
  if (index === null) return 0;
  if (pressed === "ArrowLeft" || pressed === "ArrowRight")
    return within(index + ((pressed === "ArrowRight") !== fromTheRight ? 1 : -1), count);
  const places = passage.places();
  const { x, y } = places[index];
  const up = pressed === "ArrowUp";
  const beyond = places.filter((one) => (up ? one.y < y : one.y > y));
  if (beyond.length === 0) return index;
  const line = beyond.reduce((a, b) => ((up ? b.y > a.y : b.y < a.y) ? b : a)).y;
  return places.reduce(
    (best, one, at) =>
      one.y === line && (best < 0 || Math.abs(one.x - x) < Math.abs(places[best].x - x)) ? at : best,
    -1,
  );
}

function createDomPassage(
  side: Side,
  labels: string[],
  runs: ReturnType<typeof runsOf>,
  line: "ltr" | "rtl",
  name: string,
): Passage {
  const nodes = labels.map((label, index) => createTokenNode(side, index, label));
  const parts = runs.map(({ direction, start, end }) =>
    direction === line
      ? nodes.slice(start, end)
      : [html("span", { class: "run", dir: direction }, ...nodes.slice(start, end))],
  );
  const root = html(
    "div",
    { class: "passage", "data-side": side, role: "listbox", "aria-label": name, dir: line, tabindex: 0 },
    ...parts.flat(),
  );
  return {
    root,
    paint: (inkOf, chosen) => nodes.forEach((node, index) => dress(node, inkOf(index), index === chosen)),
    indexAt: (event) => {
      const node = (event.target as Element).closest<HTMLElement>(".token");
      return node && Number(node.dataset.key ?? node.dataset.query);
    },
    places: () => nodes.map((node) => ({ x: node.offsetLeft + node.offsetWidth / 2, y: node.offsetTop })),
    reveal: (index) => nodes[index].scrollIntoView({ block: "nearest" }),
  };
}
