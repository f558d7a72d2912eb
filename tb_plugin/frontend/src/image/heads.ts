// The same query in every head: one small picture each, which opens it.

import { html } from "../drawing/dom";
import { type Overlay, bitmapOf, drawOver, patchesOf } from "./overlay";
import { decodeMap } from "../data/record";
import { type Head, type Shown, partsOf } from "../data/shown";
import type { Store } from "../data/store";

const SIDE = 104; // of a small picture
const MOST_CELLS = 32_000_000; // of weights in memory

export function createHeads(store: Store): { root: HTMLElement; draw(shown: Shown, how: Overlay): void } {
  const { state } = store;
  const about = html("p", { class: "whose" });
  const tiles = html("div", { class: "every" }); // laid out as if they stood beside the input
  const input = html("canvas");
  const alone = html("div", { class: "tile input" }, input, "input");
  const title = html("h2", {}, "All heads");
  const root = html("div", { class: "heads" }, title, html("div", { class: "tiles" }, alone, tiles), about);

  let held: Shown | null = null;
  let maps: Float32Array[] = [];
  let turn = new AbortController();

  async function load(shown: Shown): Promise<void> {
    turn.abort();
    const { signal } = (turn = new AbortController());
    const { header, run, tag, at, sample } = shown;
    const [heads, queries, keys] = header.shape;
    const count = Math.max(1, Math.min(heads, Math.floor(MOST_CELLS / (queries * keys))));
    const wanted = Array.from({ length: heads }, (_, head) => head).slice(0, count);
    about.textContent = "";
    try {
      // All of them, as the mean of all heads asks for them: then they are here already.
      const [reply] = await store.source.records({ run, tags: [tag], steps: [at], parts: ["maps"], sample, heads: wanted }, signal);
      const each = await Promise.all(wanted.map((head) => decodeMap(header, partsOf(reply), sample, head)));
      if (signal.aborted) return;
      maps = each;
      about.textContent = count < heads ? `The first ${count} of ${heads} heads.` : "Each on its own scale.";
      tiles.replaceChildren(tile("mean", "mean"), ...wanted.map((head) => tile(`${head + 1}`, [head])));
      if (state.view === "image" && last && state.shown === shown) draw(shown, last);
    } catch (error) {
      if (signal.aborted) return;
      maps = [];
      tiles.replaceChildren();
      about.textContent = error instanceof Error ? error.message : String(error);
    }
  }

  function tile(name: string, head: Head): HTMLElement {
    const label = name === "mean" ? "Mean of all heads" : `Head ${name}`;
    const button = html("button", { class: "tile", "data-head": String(head), "aria-label": label }, html("canvas"), name);
    button.addEventListener("click", () => void store.select({ head }));
    return button;
  }

  let last: Overlay | null = null;

  function draw(shown: Shown, how: Overlay): void {
    last = how;
    const scale = Math.min(SIDE / how.height, SIDE / how.width);
    const small = { ...how, width: Math.round(how.width * scale), height: Math.round(how.height * scale) };
    alone.hidden = how.picture === null;
    if (how.picture) drawOver(input, how.picture, { ...small, opacity: 0 });
    title.hidden = tiles.hidden = about.hidden = shown.header.shape[0] === 1;
    if (tiles.hidden) return;
    if (held !== shown) {
      const same = held && maps.length > 0 && ["run", "tag", "at", "sample"].every((part) => held![part as keyof Shown] === shown[part as keyof Shown]);
      held = shown;
      if (!same) {
        maps = [];
        void load(shown);
      }
    }
    if (maps.length === 0) return;
    const rows = maps.map((map) => patchesOf(map, shown, how.query));
    const mean = rows[0].map((_, patch) => rows.reduce((sum, row) => sum + row[patch], 0) / rows.length);
    [mean, ...rows].forEach((row, index) => {
      const button = tiles.children[index] as HTMLElement;
      drawOver(button.querySelector("canvas")!, bitmapOf(row, small, state.selection).bitmap, small);
      button.setAttribute("aria-pressed", String(button.dataset.head === String(shown.head)));
    });
  }

  return { root, draw };
}
