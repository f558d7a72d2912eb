// How attention changes over the steps: each head's statistics, one weight, and the row that it stands in.

import { type Curve, type Ground, type Point, createChart } from "./curves";
import { html } from "../drawing/dom";
import { type MapHeader, decodeMapHeader } from "../data/record";
import { createRowMap } from "./row_map";
import { type Shown, partsOf } from "../data/shown";
import type { Step } from "../data/source";
import type { Store } from "../data/store";
import { NAMES, SHOWN, type ShownStatistic } from "../overview/thumbnails";

const CHUNK = 500; // headers in one request
const SIDE_BY_SIDE = 760; // pixels

export function createTraining(store: Store): HTMLElement {
  const { state, source } = store;
  let of = "";
  let turn = new AbortController();
  let headers = new Map<string, MapHeader | null>(); // by step; null where it cannot be read
  let busy = false;
  let curves: { of: string; lines: Partial<Record<ShownStatistic, Curve[]>> } = { of: "", lines: {} };
  let hovered: Point | null = null;
  let largest = { of: "", query: 0, key: 0 }; // the cell that is followed where none is chosen

  const charts = Object.fromEntries(SHOWN.map((name) => [name, chart(NAMES[name])])) as Record<
    ShownStatistic,
    ReturnType<typeof createChart>
  >;
  const cell = chart("weight");
  const rowMap = createRowMap((index, key) => {
    store.set({ cursor: { query: cellOf(state.shown!).query, key } });
    goTo(index);
  });
  const statistics = html("div", { class: "charts" }, ...SHOWN.map((name) => charts[name].root));
  const note = html("p", { class: "training-note", role: "status" });
  const query = html("input", { type: "number", min: 0, step: 1, "aria-label": "Query" });
  const key = html("input", { type: "number", min: 0, step: 1, "aria-label": "Key" });
  const queryName = html("span", {});
  const keyName = html("span", {});
  const progress = html("span", { class: "progress" });
  const chooser = html(
    "div",
    { class: "cell-chooser" },
    html("label", {}, "query ", query, queryName),
    html("label", {}, "key ", key, keyName),
    progress,
  );
  const followed = html("div", { class: "charts" }, cell.root, rowMap.root);
  const root = html("section", { class: "training" }, note, statistics, chooser, followed);

  function chart(title: string): ReturnType<typeof createChart> {
    return createChart(
      title,
      (point) => {
        hovered = point;
        mark();
      },
      goTo,
    );
  }

  function goTo(index: number): void {
    void store.select({ step: index === state.steps.length - 1 ? null : state.steps[index].step });
  }

  for (const input of [query, key])
    input.addEventListener("input", () => {
      const { shown } = state;
      if (!shown || Number.isNaN(query.valueAsNumber) || Number.isNaN(key.valueAsNumber)) return;
      const within = (value: number, count: number) => Math.max(0, Math.min(count - 1, Math.floor(value)));
      const [, queries, keys] = shown.header.shape;
      store.set({ cursor: { query: within(query.valueAsNumber, queries), key: within(key.valueAsNumber, keys) } });
    });

  let drawn: unknown[] = [];
  store.subscribe(() => {
    const { shown, steps, view, width, cursor, ahead, dark, selection } = state;
    root.hidden = shown === null || view !== "training";
    if (root.hidden || !shown || width === 0) return;
    const now = `${shown.run}\n${shown.tag}`;
    if (now !== of) {
      of = now;
      turn.abort();
      turn = new AbortController();
      headers = new Map();
      busy = false;
    }
    if (!busy && steps.some((at) => !headers.has(keyOf(at)))) void fetchHeaders(shown, steps, turn.signal);
    const seen = [shown, steps, width, cursor, ahead, dark, headers.size, selection.scale];
    if (seen.every((one, index) => one === drawn[index])) return;
    drawn = seen;
    draw(shown);
  });

  async function fetchHeaders({ run, tag }: Shown, steps: Step[], signal: AbortSignal): Promise<void> {
    busy = true;
    const missing = steps.filter((at) => !headers.has(keyOf(at)));
    for (let first = 0; first < missing.length; first += CHUNK) {
      const chunk = missing.slice(first, first + CHUNK);
      const replies = await source.records({ run, tags: [tag], steps: chunk, parts: [] }, signal).catch(() => null);
      if (signal.aborted) return;
      chunk.forEach((at, index) => {
        try {
          headers.set(keyOf(at), replies && decodeMapHeader(partsOf(replies[index])[0]));
        } catch {
          headers.set(keyOf(at), null); // a gap
        }
      });
    }
    busy = false;
    store.set({});
  }

  function grounds(): { narrow: Ground; wide: Ground } {
    const { steps, width, dark } = state;
    const each = width >= SIDE_BY_SIDE ? Math.floor((width - 32) / 2) : width;
    const numbers = steps.map(({ step }) => step);
    return { narrow: { steps: numbers, width: each, dark }, wide: { steps: numbers, width, dark } };
  }

  function draw(shown: Shown): void {
    const { steps, selection } = state;
    const { narrow, wide } = grounds();
    const lines = statisticsOf(shown);
    for (const name of SHOWN) {
      charts[name].root.hidden = !lines[name];
      if (lines[name]) charts[name].draw(lines[name], narrow);
    }
    const unread = steps.filter((at) => headers.get(keyOf(at)) === null).length;
    const none = SHOWN.every((name) => !lines[name]);
    note.textContent = busy
      ? "Reading the steps…"
      : [
          none
            ? "These records hold no statistics: they were logged in format 1, or without them."
            : "Each head is thin, their mean bold: point at a curve to see whose it is, click to go to its step.",
          unread > 0 ? `${unread} of ${steps.length} steps cannot be read, and are gaps.` : "",
        ].join(" ").trim();
    note.hidden = note.textContent === "";

    const at = cellOf(shown);
    const [, queries, keys] = shown.header.shape;
    const alike = steps.map((one) => {
      const kept = one.step === shown.at.step ? shown : store.keptAt(one);
      return kept && kept.keys.length === keys && kept.queries.length === queries ? kept : null;
    });
    const first = at.query * keys;
    const weights = shown.maps.map(
      (_, map): Curve => ({
        name: Array.isArray(shown.head) ? `head ${shown.head[map] + 1}` : `${shown.head} of the heads`,
        values: alike.map((one) => one?.maps[map]?.[first + at.key] ?? null),
      }),
    );
    cell.draw(weights, wide);
    const rows = alike.map((one) => one && one.weights.subarray(first, first + keys));
    const name = `${weights[0].name}: row of query ${shown.queries[at.query]}, its keys over the steps`;
    rowMap.draw({ rows, keys: shown.keys, scale: selection.scale }, wide, name);
    const read = alike.filter(Boolean).length;
    progress.textContent = read < steps.length ? `the maps of ${read} of ${steps.length} steps are read` : "";
    setInput(query, queryName, at.query, shown.queries);
    setInput(key, keyName, at.key, shown.keys);
    mark();
  }

  function mark(): void {
    const { shown, steps } = state;
    if (!shown || steps.length === 0) return;
    const current = steps.findIndex(({ step }) => step === shown.at.step);
    const chosen = Array.isArray(shown.head) && shown.head.length === 1 ? shown.head[0] : null;
    for (const name of SHOWN)
      if (!charts[name].root.hidden) charts[name].mark(current, hovered ? hovered.line : chosen, hovered?.index ?? null);
    cell.mark(current, shown.maps.length === 1 ? 0 : (hovered?.line ?? null), hovered?.index ?? null);
    rowMap.mark(current, cellOf(shown).key);
  }

  /** Of the sample that is shown, for each statistic that was logged a curve a head. */
  function statisticsOf({ sample, header }: Shown): typeof curves.lines {
    const { steps } = state;
    const now = JSON.stringify([of, sample, steps.length, headers.size]);
    if (curves.of === now) return curves.lines;
    const lines: typeof curves.lines = {};
    for (const name of SHOWN) {
      const heads = Array.from({ length: header.shape[0] }, (_, head): Curve => {
        const values = steps.map((at) => headers.get(keyOf(at))?.statistics[name]?.[sample]?.[head] ?? null);
        return { name: `head ${head + 1}`, values };
      });
      if (heads.some(({ values }) => values.some((one) => one !== null))) lines[name] = heads;
    }
    curves = { of: now, lines };
    return lines;
  }

  /** The cell that is chosen, or the largest weight when this map was first looked at: it stays while steps change. */
  function cellOf(shown: Shown): { query: number; key: number } {
    const now = JSON.stringify([shown.run, shown.tag, shown.sample, shown.head, shown.header.shape]);
    const keys = shown.keys.length;
    if (largest.of !== now) {
      const cell = Math.max(0, shown.weights.indexOf(shown.weights.reduce((a, b) => (b > a ? b : a), 0)));
      largest = { of: now, query: Math.floor(cell / keys), key: cell % keys };
    }
    return { query: state.cursor.query ?? largest.query, key: state.cursor.key ?? largest.key };
  }

  return root;
}

function setInput(input: HTMLInputElement, name: HTMLElement, value: number, labels: string[]): void {
  input.max = String(labels.length - 1);
  if (document.activeElement !== input) input.value = String(value);
  name.textContent = labels[value] === String(value) ? "" : labels[value];
}

function keyOf({ step, wall_time }: Step): string {
  return `${step} ${wall_time}`;
}
