// Layers × heads as thumbnails, with what each map looks like in numbers.

import { html } from "../drawing/dom";
import { type MapHeader, decodeMapHeader, decodeThumbnails, labelsOf, splitTag } from "../data/record";
import { type Head, type Shown, partsOf } from "../data/shown";
import type { Step } from "../data/source";
import { nearestFirst } from "../data/steps_ahead";
import { type State, type Store, mapTags } from "../data/store";
import { textLength } from "../text/padding";
import { NAMES, SHOWN, type ShownStatistic, type Thumb, createSheet, summary, wordsOf } from "./thumbnails";

interface Layer {
  tag: string;
  layer: string;
  header: MapHeader | null;
  thumbnails: Uint8Array[][] | null; // [sample][head]
  problem: string | null;
}

/** What all thumbnails are of, and the one that is chosen. */
type Place = Pick<Shown, "run" | "tag" | "name" | "at" | "sample"> & { head: Head | null };

const KEPT_BYTES = 64 * 1024 * 1024;
const CHUNK_LAYERS = 80; // records in one request
const TABLE_MOST = 200;
const collator = new Intl.Collator("en", { numeric: true });

export function createOverview(store: Store): HTMLElement {
  const { state, source } = store;
  const kept = new Map<string, Layer[]>();
  let wantedOf = ""; // run and name
  let turn = new AbortController();
  let busy = false;
  let ahead = false;
  let drawn: { layers: Layer[] | null; look: string } = { layers: null, look: "" };
  let thumbs: Thumb[] = [];
  let place: Place | null = null;

  const sort = select("Sort by", ["layer", "layer and head"], ...SHOWN.map((one) => [one, NAMES[one]]));
  const direction = html("button", { class: "turn", "aria-label": "Largest first", "aria-pressed": "false" }, "↑");
  const which = select("Only where", ...SHOWN.map((one) => [one, NAMES[one]]));
  const least = bound("at least");
  const most = bound("at most");
  const count = html("span", { class: "count" });
  const bar = html(
    "div",
    { class: "overview-bar" },
    labelled("Sort by", sort, direction),
    labelled("Only where", which, html("span", {}, "is from"), least, html("span", {}, "to"), most),
    count,
  );
  const warnings = html("ul", { class: "notes warnings" });
  const words = html("p", { class: "thumb-words", role: "status" });
  const problems = html("ul", { class: "notes" });
  const rows = html("tbody");
  const table = html(
    "details",
    {},
    html("summary", {}, "These numbers as a table"),
    html("table", {}, html("thead", {}, row("th", "layer", "head", ...SHOWN.map((one) => NAMES[one]))), rows),
  );
  const sheet = createSheet(open, (thumb) => {
    words.textContent = thumb ? wordsOf(thumb) : hint();
    words.classList.toggle("hint", thumb === null);
  });
  const root = html("section", { class: "overview" }, bar, warnings, words, sheet.root, problems, table);

  function open(thumb: Thumb): void {
    void store.select({ view: "map", tag: thumb.tag, head: [thumb.head] });
  }

  store.subscribe(update);
  for (const input of [sort, which, least, most]) input.addEventListener("input", update);
  table.addEventListener("toggle", fillTable);
  direction.addEventListener("click", () => {
    const down = direction.getAttribute("aria-pressed") !== "true";
    direction.setAttribute("aria-pressed", String(down));
    direction.textContent = down ? "↓" : "↑";
    update();
  });

  function update(): void {
    place = placeOf(state);
    root.hidden = place === null || state.view !== "overview";
    if (root.hidden || !place || state.width === 0) return;
    const { run, name, at } = place;
    const now = `${run}\n${name}`;
    if (now !== wantedOf) {
      wantedOf = now;
      turn.abort();
      turn = new AbortController();
      busy = ahead = false;
      kept.clear();
    }
    const layers = kept.get(keyOf(at));
    if (layers) draw(layers, at);
    else if (!busy) void fetchNow(at, turn.signal);
    if (layers && !busy && !ahead) void fetchAround(layers, turn.signal);
  }

  function tagsOf(run: string, name: string): string[] {
    const tags = state.runs?.[run] ?? [];
    return mapTags(tags)
      .filter((tag) => splitTag(tag, tags).name === name)
      .sort((a, b) => collator.compare(a, b));
  }

  /** The step on the slider now, and when that is there, the one on the slider then: none is given up half-way. */
  async function fetchNow(at: Step, signal: AbortSignal): Promise<void> {
    busy = true;
    try {
      await fetchChunk([at], signal);
    } catch (error) {
      if (!signal.aborted) words.textContent = error instanceof Error ? error.message : String(error);
    }
    if (signal.aborted) return;
    busy = false;
    if (kept.has(keyOf(at))) update();
  }

  async function fetchAround(layers: Layer[], signal: AbortSignal): Promise<void> {
    const bytes = layers.reduce((sum, { header, thumbnails }) => {
      const each = thumbnails ? header!.samples * header!.shape[0] * thumbnails[0][0].length : 0;
      return sum + each + 20_000;
    }, 0);
    const wanted = Math.min(state.steps.length, Math.floor(KEPT_BYTES / bytes));
    const chunk = Math.max(1, Math.floor(CHUNK_LAYERS / layers.length));
    const isMissing = (at: Step) => !root.hidden && !kept.has(keyOf(at));
    ahead = true;
    await nearestFirst(state, wanted, chunk, isMissing, fetchChunk, signal);
    for (const key of kept.keys()) {
      if (kept.size <= Math.max(2, wanted)) break;
      kept.delete(key);
    }
    if (!signal.aborted) ahead = false;
  }

  async function fetchChunk(steps: Step[], signal: AbortSignal): Promise<void> {
    const { run, name } = place!;
    const tags = tagsOf(run, name);
    const replies = await source.records({ run, tags, steps, parts: ["thumbnails"] }, signal);
    for (const at of steps) {
      const of = replies.filter(({ step }) => step === at.step);
      const layers = of.map(async (reply): Promise<Layer> => {
        const { layer } = splitTag(reply.tag, state.runs?.[run] ?? []);
        const none = { tag: reply.tag, layer, header: null, thumbnails: null };
        try {
          const parts = partsOf(reply);
          const header = decodeMapHeader(parts[0]);
          const thumbnails = await decodeThumbnails(header, parts);
          const why = header.format === 1 ? "it was logged in format 1, which has none" : "they are damaged";
          const problem = thumbnails ? null : `No thumbnails: ${why}.`;
          return { ...none, layer: header.layer || layer, header, thumbnails, problem };
        } catch (error) {
          return { ...none, problem: (error as Error).message };
        }
      });
      const decoded = await Promise.all(layers);
      if (signal.aborted) return;
      kept.set(keyOf(at), decoded);
    }
  }

  function draw(layers: Layer[], at: Step): void {
    const { opened, dark, width, selection } = state;
    const down = direction.getAttribute("aria-pressed") === "true";
    const controls = [sort.value, down, which.value, least.value, most.value];
    const { tag, head, sample } = opened ? { ...place!, ...opened } : place!;
    const look = JSON.stringify([dark, width, selection.scale, sample, tag, head, controls]);
    if (drawn.layers === layers && drawn.look === look) return;
    drawn = { layers, look };
    const all = layers.flatMap((layer) => thumbsOf(layer, sample));
    thumbs = ordered(all.filter(inRange), down);
    const flat = sort.value !== "layer";
    const here = Array.isArray(head) && head.length === 1 ? head[0] : null;
    sheet.draw(thumbs, { flat, width, dark, scale: selection.scale, sorted: sort.value, tag, here });
    root.dataset.step = String(at.step);
    root.dataset.shown = String(thumbs.length);
    count.textContent = thumbs.length === all.length ? `${all.length} heads` : `${thumbs.length} of ${all.length} heads`;
    const notes = summary(all);
    warnings.hidden = notes.length === 0;
    warnings.replaceChildren(...notes.map((note) => html("li", {}, note)));
    const wrong = layers.filter(({ problem }) => problem !== null);
    problems.hidden = wrong.length === 0;
    problems.replaceChildren(...wrong.map(({ layer, problem }) => html("li", {}, `${layer}: ${problem}`)));
    if (!sheet.focused()) words.textContent = hint();
    fillTable();
  }

  function inRange({ statistics }: Thumb): boolean {
    const value = statistics[which.value as ShownStatistic];
    const low = least.valueAsNumber;
    const high = most.valueAsNumber;
    if (Number.isNaN(low) && Number.isNaN(high)) return true;
    return value !== null && !(value < low) && !(value > high);
  }

  function ordered(some: Thumb[], down: boolean): Thumb[] {
    const by = sort.value as ShownStatistic | "layer";
    if (by === "layer") return down ? some.reverse() : some;
    const known = some.filter(({ statistics }) => statistics[by] !== null);
    known.sort((a, b) => (down ? -1 : 1) * (a.statistics[by]! - b.statistics[by]!));
    return [...known, ...some.filter(({ statistics }) => statistics[by] === null)];
  }

  function hint(): string {
    return thumbs.length > 0
      ? "Point at a map to read its numbers, click to open it. Each has colours of its own, from 0 to its largest weight."
      : "No head is in this range.";
  }

  function fillTable(): void {
    if (!table.open) return;
    const number = (value: number | null) => (value === null ? "–" : value.toFixed(4));
    const first = thumbs.slice(0, TABLE_MOST).map(({ layer, head, statistics }) =>
      row("td", layer, String(head + 1), ...SHOWN.map((one) => number(statistics[one]))),
    );
    const more = thumbs.length - first.length;
    rows.replaceChildren(...first, ...(more > 0 ? [row("td", `and ${more} more`)] : []));
  }

  return root;
}

/** That of the map that is shown, or that was to be shown and is damaged. */
function placeOf({ shown, selection, runs, steps }: State): Place | null {
  if (shown) return shown;
  const { run, tag, sample, head } = selection;
  const at = steps.find(({ step }) => step === selection.step) ?? steps[steps.length - 1];
  if (run === null || tag === null || !at) return null;
  return { run, tag, name: splitTag(tag, runs?.[run] ?? []).name, at, sample, head };
}

function thumbsOf({ tag, layer, header, thumbnails }: Layer, wanted: number): Thumb[] {
  if (!header || !thumbnails) return [];
  const sample = Math.min(wanted, header.samples - 1);
  return thumbnails[sample].map((levels, head): Thumb => {
    const of = (name: ShownStatistic | "sink_key") => header.statistics[name]?.[sample][head] ?? null;
    const statistics = { entropy: of("entropy"), distance: of("distance"), sink: of("sink"), padding: of("padding") };
    const seen = statistics.padding === 0 ? withoutPadding(header, sample, levels) : { levels, size: header.thumbnail! };
    return { tag, layer, head, header, sample, ...seen, statistics, sinkKey: of("sink_key") };
  });
}

/** The part of a thumbnail before the padding at the end of a text, to which nothing goes. */
function withoutPadding(header: MapHeader, sample: number, levels: Uint8Array): Pick<Thumb, "levels" | "size"> {
  const [rows, keys] = header.thumbnail!;
  const share = (axis: MapHeader["keys"]) => {
    const labels = labelsOf(axis, sample);
    return labels && axis.kind === "token" ? textLength(labels) / labels.length - 1e-9 : 1;
  };
  const size: Thumb["size"] = [Math.ceil(rows * share(header.queries)), Math.ceil(keys * share(header.keys))];
  const cut = Array.from({ length: size[0] }, (_, row) => [...levels.subarray(row * keys, row * keys + size[1])]);
  return { levels: Uint8Array.from(cut.flat()), size };
}

function keyOf({ step, wall_time }: Step): string {
  return `${step} ${wall_time}`;
}

function labelled(name: string, ...parts: HTMLElement[]): HTMLElement {
  const title = html("span", { class: "name" }, name);
  return html("div", { class: "control" }, title, html("div", { class: "row" }, ...parts));
}

function select(label: string, ...options: string[][]): HTMLSelectElement {
  return html("select", { "aria-label": label }, ...options.map(([value, text]) => html("option", { value }, text)));
}

function bound(label: string): HTMLInputElement {
  return html("input", { type: "number", min: 0, max: 1, step: 0.05, "aria-label": label });
}

function row(cell: "th" | "td", ...texts: string[]): HTMLElement {
  return html("tr", {}, ...texts.map((text) => html(cell, {}, text)));
}
