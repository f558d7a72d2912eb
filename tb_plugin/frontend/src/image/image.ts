// The picture under its map: of the patch that is pointed at, of the only query, or of all on average.

import { html, setAttributes } from "../drawing/dom";
import { createHeads } from "./heads";
import { type Overlay, bitmapOf, drawOver, patchBox, patchesOf, pixelsOf } from "./overlay";
import { classTokens } from "../data/record";
import { formatWeight, gradient } from "../drawing/scale";
import type { Shown } from "../data/shown";
import type { Store } from "../data/store";
import { axisName } from "../drawing/words";

const TALLEST = 440; // of the picture on screen
const WIDEST = 620;

export function createImage(store: Store): HTMLElement {
  const { state } = store;
  const canvas = html("canvas", { id: "picture", tabindex: 0, role: "img" });
  const low = html("div", { class: "axis-name" }, "time →");
  const side = html("div", { class: "axis-name side" }, "frequency →");
  const whose = html("p", { class: "whose" });
  const missing = html("p", { class: "whose" }, "No picture was logged with this map: pass pictures=… when logging.");
  const opacity = html("input", { type: "range", id: "opacity", min: 0, max: 100, value: 65 });
  const look = html(
    "select",
    { id: "upsampling", "aria-label": "Between patches" },
    html("option", { value: "blocky" }, "patch by patch"),
    html("option", { value: "smooth" }, "smooth"),
  );
  const slider = html("input", { type: "range", id: "query", min: 0, value: 0 });
  const queryName = html("output", { for: "query" });
  const bar = html("div", { class: "bar" });
  const ends = html("div", { class: "ends" });
  const queries = labelled("Query", slider, queryName);
  const tools = html(
    "div",
    { class: "controls" },
    queries,
    labelled("Opacity of the map", opacity),
    labelled("Between patches", look),
    labelled("Attention weight", html("div", { class: "ramp" }, bar, ends)),
  );
  const heads = createHeads(store);
  const stage = html("div", { class: "stage" }, side, canvas, low);
  const root = html("section", { class: "image" }, tools, html("div", { class: "pictures" }, html("div", {}, stage, whose, missing), heads.root));

  let held: number | null = null; // the query that stays when the pointer leaves
  let drawn: { shown: Shown | null; look: string } = { shown: null, look: "" };
  let picture: HTMLCanvasElement | null = null;

  store.subscribe(() => {
    const { shown, view, width, cursor, dark, selection } = state;
    root.hidden = view !== "image" || width === 0 || !shown?.header.keys.grid;
    if (root.hidden || !shown) return;
    if (held !== null && held >= shown.queries.length) held = null;
    const query = cursor.query ?? held ?? (shown.queries.length === 1 ? 0 : null);
    const now = JSON.stringify([query, cursor.key, held, width, dark, selection.scale, selection.floor, selection.head]);
    if (drawn.shown !== shown) picture = shown.picture && pixelsOf(shown.picture);
    if (drawn.shown !== shown || drawn.look !== now) draw(shown, query);
    drawn = { shown, look: now };
  });

  function overlay(shown: Shown, query: number | null): Overlay {
    const { picture: about, header } = shown;
    const [rows, columns] = header.keys.grid!;
    const [height, breadth] = about?.shape ?? [rows, columns];
    const scale = Math.min(TALLEST / height, Math.min(WIDEST, state.width - 40) / breadth);
    return {
      picture,
      upsideDown: about?.kind === "spectrogram",
      grid: [rows, columns],
      width: Math.round(breadth * scale),
      height: Math.round(height * scale),
      opacity: picture ? opacity.valueAsNumber / 100 : 1,
      smooth: look.value === "smooth",
      query,
    };
  }

  function draw(shown: Shown, query: number | null): void {
    const how = overlay(shown, query);
    const map = bitmapOf(patchesOf(shown.weights, shown, query), how, state.selection);
    drawOver(canvas, map.bitmap, how);
    outline(shown, how);
    const spectrogram = shown.picture?.kind === "spectrogram";
    low.hidden = side.hidden = !spectrogram;
    missing.hidden = shown.picture !== null;
    setAttributes(opacity.closest(".control")!, { hidden: shown.picture === null });
    opacity.style.setProperty("--done", `${opacity.value}%`);

    const one = shown.queries.length === 1;
    const first = classTokens(shown.header.keys);
    const choices = own(shown) ? first : shown.queries.length; // patches are chosen in the picture
    queries.hidden = one || choices === 0;
    slider.max = String(choices);
    slider.value = String(query === null || query >= choices ? 0 : query + 1);
    slider.style.setProperty("--done", `${(100 * slider.valueAsNumber) / choices}%`);
    setAttributes(slider, { "aria-label": axisName(shown, "queries"), "aria-valuetext": nameOf(shown, query) });
    queryName.textContent = nameOf(shown, query);
    whose.textContent = own(shown)
      ? query === null
        ? "Mean of all queries: point at a patch to see what it attends to, click to hold it."
        : query < first
          ? `What the ${shown.queries[query]} attends to.`
          : `What the patch in ${shown.queries[query]} attends to${held === query ? "; click it again to let go." : "."}`
      : one ? "" : `What ${nameOf(shown, query)} ${query === null ? "attend" : "attends"} to.`;
    bar.style.background = gradient(true);
    ends.replaceChildren(...[map.low, map.high].map((end) => html("span", {}, formatWeight(end))));
    setAttributes(canvas, {
      "aria-label":
        `The input under the attention of ${shown.layer}, ${how.grid[0]} rows of ${how.grid[1]} patches. ` +
        (own(shown) ? "Arrow keys choose the patch that attends, Escape lets it go." : "Arrow keys choose a patch."),
      "data-query": query ?? "mean",
      "data-highest": map.high,
    });
    heads.draw(shown, how);
  }

  function outline(shown: Shown, how: Overlay): void {
    const context = canvas.getContext("2d")!;
    const box = (index: number, breadth: number) => {
      const patch = index - classTokens(shown.header.keys);
      if (patch < 0) return;
      const { x, y, width, height } = patchBox(patch, how);
      for (const [line, colour] of [[breadth + 2, "#000000"], [breadth, "#ffffff"]] as const) {
        context.lineWidth = line;
        context.strokeStyle = colour;
        context.strokeRect(x, y, width, height);
      }
    };
    const { key } = state.cursor;
    if (key !== null) box(key, 1);
    if (how.query !== null && own(shown)) box(how.query, 3);
  }

  /** Whether the patches of the picture are the queries too. */
  function own({ header }: Shown): boolean {
    const { queries, keys } = header;
    return queries.kind === "patch" && String(queries.grid) === String(keys.grid) && queries.length === keys.length;
  }

  function nameOf(shown: Shown, query: number | null): string {
    return query === null ? `all ${shown.queries.length} queries` : `“${shown.queries[query]}”`;
  }

  function patchAt(event: PointerEvent | MouseEvent): number | null {
    const box = canvas.getBoundingClientRect();
    const [rows, columns] = state.shown!.header.keys.grid!;
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const fromTop = Math.floor(((event.clientY - box.top) / box.height) * rows);
    if (column < 0 || column >= columns || fromTop < 0 || fromTop >= rows) return null;
    const row = state.shown!.picture?.kind === "spectrogram" ? rows - 1 - fromTop : fromTop;
    return classTokens(state.shown!.header.keys) + row * columns + column;
  }

  function pointAt(patch: number | null): void {
    const chooses = held === null && own(state.shown!);
    store.set({ cursor: { query: chooses ? patch : held, key: chooses ? null : patch } });
  }

  function hold(query: number | null): void {
    held = query;
    store.set({ cursor: { query: held, key: null } });
  }

  canvas.addEventListener("pointermove", (event) => pointAt(patchAt(event)));
  canvas.addEventListener("pointerleave", () => pointAt(null));
  canvas.addEventListener("click", (event) => {
    const patch = patchAt(event);
    if (own(state.shown!)) hold(patch === held ? null : patch);
  });
  canvas.addEventListener("keydown", (event) => {
    const shown = state.shown!;
    const from = own(shown) ? held : state.cursor.key;
    const patch = moved(from, event.key, shown);
    if (patch === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // arrows mean patches here
    if (own(shown)) hold(patch);
    else pointAt(patch);
  });
  slider.addEventListener("input", () => hold(slider.valueAsNumber === 0 ? null : slider.valueAsNumber - 1));
  for (const control of [opacity, look]) {
    control.addEventListener("input", () => {
      drawn.look = "";
      store.set({});
    });
  }
  return root;
}

/** Where `pressed` takes a patch: another, none, or undefined where it is no key of ours. */
function moved(from: number | null, pressed: string, { header, picture }: Shown): number | null | undefined {
  if (pressed === "Escape") return null;
  const [rows, columns] = header.keys.grid!;
  const up = picture?.kind === "spectrogram" ? 1 : -1;
  const step = { ArrowUp: [up, 0], ArrowDown: [-up, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[pressed];
  if (!step) return undefined;
  const first = classTokens(header.keys);
  if (from === null || from < first) return first + Math.floor(rows / 2) * columns + Math.floor(columns / 2);
  const within = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));
  const row = within(Math.floor((from - first) / columns) + step[0], rows);
  return first + row * columns + within(((from - first) % columns) + step[1], columns);
}

function labelled(name: string, ...parts: HTMLElement[]): HTMLElement {
  const id = parts[0].id;
  const title = id ? html("label", { class: "name", for: id }, name) : html("span", { class: "name" }, name);
  return html("div", { class: "control" }, title, html("div", { class: "row" }, ...parts));
}
