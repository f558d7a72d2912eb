// A sheet of thumbnails: one canvas for each layer, or for some lines of a sorted list.

import { html } from "../drawing/dom";
import { clip, textWidth } from "../drawing/layout";
import { type MapHeader, labelsOf } from "../data/record";
import { colours, shareOf } from "../drawing/scale";
import type { Selection } from "../data/store";

export const SHOWN = ["entropy", "distance", "sink", "padding"] as const;
export type ShownStatistic = (typeof SHOWN)[number];
export const NAMES: Record<ShownStatistic, string> = {
  entropy: "entropy",
  distance: "distance",
  sink: "mass on one key",
  padding: "padding",
};
const SHORT: Record<ShownStatistic, string> = { ...NAMES, sink: "one key" };
const MUCH = 0.5; // of the mass on one key, or on padding, is worth a word

export interface Thumb {
  tag: string;
  layer: string;
  head: number;
  sample: number;
  header: MapHeader;
  levels: Uint8Array;
  size: [rows: number, columns: number];
  statistics: Record<ShownStatistic, number | null>;
  sinkKey: number | null;
}

interface Look {
  flat: boolean; // one list, and not a row for each layer
  width: number;
  dark: boolean;
  scale: Selection["scale"];
  sorted: string;
  tag: string; // of the map that is chosen, and its head
  here: number | null;
}

interface Block {
  root: HTMLElement;
  canvas: HTMLCanvasElement;
  thumbs: Thumb[];
  first: number; // place of its first in the whole list
}

const LEAST = 78; // pixels of a thumbnail with its numbers
const MOST = 132;
const GAP = 8;
const LINE = 14; // of text
const FLAT_LINES = 4;

export function createSheet(open: (thumb: Thumb) => void, focus: (thumb: Thumb | null) => void) {
  const chosen = html("div", { class: "thumb-ring chosen" });
  const ring = html("div", { class: "thumb-ring" });
  const root = html("div", {
    class: "thumb-sheet",
    tabindex: 0,
    role: "application",
    "aria-label": "Thumbnails. Arrow keys move from one to the next, Enter opens it.",
  });
  let blocks: Block[] = [];
  let thumbs: Thumb[] = [];
  let look: Look;
  let columns = 1;
  let side = LEAST;
  let at: number | null = null;
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const block = blocks.find(({ canvas }) => canvas === target);
      if (!block) continue;
      block.root.classList.toggle("near", isIntersecting);
      paint(block);
    }
  });

  function draw(wanted: Thumb[], how: Look): void {
    const before = at === null ? null : thumbs[at];
    [thumbs, look] = [wanted, how];
    const room = Math.max(1, Math.floor((look.width + GAP) / (LEAST + GAP)));
    const longest = look.flat ? thumbs.length : Math.max(1, ...groups(thumbs).map((group) => group.length));
    columns = Math.ceil(longest / Math.ceil(longest / room)) || 1;
    if (look.flat) columns = Math.min(room, Math.max(1, thumbs.length));
    side = Math.floor(Math.min(MOST, (look.width + GAP) / columns - GAP));
    let first = 0;
    const parts = look.flat ? chunks(thumbs, FLAT_LINES * columns) : groups(thumbs);
    blocks = parts.map((part, index) => {
      const block = blocks[index] ?? made();
      block.thumbs = part;
      block.first = first;
      first += part.length;
      return block;
    });
    near.disconnect();
    root.replaceChildren(...blocks.map((block) => block.root), chosen, ring);
    for (const block of blocks) {
      const title = block.root.firstElementChild as HTMLElement;
      title.textContent = look.flat ? "" : block.thumbs[0].layer;
      title.hidden = look.flat;
      block.canvas.style.width = `${columns * (side + GAP) - GAP}px`;
      block.canvas.style.height = `${Math.ceil(block.thumbs.length / columns) * cellHeight(block)}px`;
      near.observe(block.canvas);
      paint(block);
    }
    // What is pointed at is a layer and a head, wherever they are sorted to.
    const same = before && thumbs.findIndex(({ tag, head }) => tag === before.tag && head === before.head);
    move(same === null || same < 0 ? null : same, false);
    place(chosen, look.here === null ? -1 : thumbs.findIndex(({ tag, head }) => tag === look.tag && head === look.here));
  }

  function made(): Block {
    const canvas = html("canvas", { "aria-hidden": "true" });
    return { root: html("div", { class: "thumb-block" }, html("h2", {}), canvas), canvas, thumbs: [], first: 0 };
  }

  /** The picture's height, alike in all of a block. */
  function pictureHeight({ thumbs }: Block): number {
    return Math.max(...thumbs.map(({ size: [rows, keys] }) => Math.round(side * Math.max(0.25, Math.min(1, rows / keys)))));
  }

  function captionHeight(): number {
    return (look.flat ? 2 : 1) * LINE + 2;
  }

  function cellHeight(block: Block): number {
    return captionHeight() + pictureHeight(block) + SHOWN.length * LINE + 20;
  }

  function cornerOf(block: Block, index: number): [x: number, y: number] {
    return [(index % columns) * (side + GAP), Math.floor(index / columns) * cellHeight(block)];
  }

  function paint(block: Block): void {
    const { canvas } = block;
    const density = window.devicePixelRatio || 1;
    const seen = block.root.classList.contains("near");
    canvas.width = seen ? Math.round(parseFloat(canvas.style.width) * density) : 0; // out of sight it keeps no pixels
    canvas.height = seen ? Math.round(parseFloat(canvas.style.height) * density) : 0;
    if (!seen) return;
    const context = canvas.getContext("2d")!;
    context.scale(density, density);
    const style = getComputedStyle(root);
    const [text, muted, problem] = ["--text", "--muted", "--problem"].map((name) => style.getPropertyValue(name));
    const height = pictureHeight(block);
    const atlas = atlasOf(block.thumbs, look);
    block.thumbs.forEach((thumb, index) => {
      const [x, y] = cornerOf(block, index);
      const put = (words: string, line: number, colour: string, right = false, bold = false) => {
        context.font = `${bold ? 600 : 400} 11px ${style.fontFamily}`;
        context.fillStyle = colour;
        context.textAlign = right ? "right" : "left";
        context.fillText(words, right ? x + side : x, line);
      };
      if (look.flat) put(clip(thumb.layer, side), y + LINE - 3, text);
      put(`head ${thumb.head + 1}`, y + captionHeight() - 5, muted);
      const top = y + captionHeight();
      const [rows, keys] = thumb.size;
      context.imageSmoothingEnabled = false;
      context.drawImage(atlas, 32 * index, 0, keys, rows, x, top, side, height);
      SHOWN.forEach((name, line) => {
        const value = thumb.statistics[name];
        const much = (name === "sink" || name === "padding") && value !== null && value > MUCH;
        const base = top + height + 2 + (line + 1) * LINE;
        const written = value === null ? "–" : much ? percent(value) : value.toFixed(2);
        const label = much && name === "sink" ? keyName(thumb, false) : SHORT[name];
        put(clip(label, side - textWidth(written) - 2), base, much ? problem : muted, false, much);
        put(written, base, much ? problem : name === look.sorted ? text : muted, true, much || name === look.sorted);
      });
    });
  }

  function blockOf(index: number): Block {
    return blocks[blocks.filter(({ first }) => first <= index).length - 1];
  }

  function place(mark: HTMLElement, index: number): void {
    mark.hidden = index < 0;
    if (mark.hidden) return;
    const block = blockOf(index);
    const [x, y] = cornerOf(block, index - block.first);
    mark.style.left = `${block.canvas.offsetLeft + x}px`;
    mark.style.top = `${block.canvas.offsetTop + y + captionHeight()}px`;
    mark.style.width = `${side}px`;
    mark.style.height = `${pictureHeight(block)}px`;
  }

  function move(index: number | null, scroll: boolean): void {
    at = index;
    place(ring, index ?? -1);
    focus(index === null ? null : thumbs[index]);
    if (scroll && index !== null) ring.scrollIntoView({ block: "nearest" });
  }

  function under(event: MouseEvent): number | null {
    const block = blocks.find(({ canvas }) => canvas === event.target);
    if (!block) return null;
    const column = Math.floor(event.offsetX / (side + GAP));
    const index = Math.floor(event.offsetY / cellHeight(block)) * columns + column;
    return column < columns && index < block.thumbs.length ? block.first + index : null;
  }

  root.addEventListener("pointermove", (event) => {
    const index = under(event);
    if (index !== at) move(index, false);
  });
  root.addEventListener("pointerleave", () => {
    if (document.activeElement !== root) move(null, false);
  });
  root.addEventListener("click", (event) => {
    const index = under(event);
    if (index !== null) open(thumbs[index]);
  });
  root.addEventListener("focus", () => {
    if (at === null && thumbs.length > 0 && root.matches(":focus-visible")) move(0, false);
  });
  root.addEventListener("blur", () => move(null, false));
  root.addEventListener("keydown", (event) => {
    if (thumbs.length === 0) return;
    if (event.key === "Enter" && at !== null) return open(thumbs[at]);
    if (event.key === "Escape") return move(null, false);
    const next = neighbour(event.key);
    if (next === null) return;
    event.preventDefault();
    move(Math.max(0, Math.min(thumbs.length - 1, next)), true);
  });

  /** Where a key leads: to the side in order of the list, up and down to the nearest in the same column. */
  function neighbour(key: string): number | null {
    const here = at ?? 0;
    if (key === "Home") return 0;
    if (key === "End") return thumbs.length - 1;
    if (key === "ArrowLeft") return here - 1;
    if (key === "ArrowRight") return here + (at === null ? 0 : 1);
    if (key !== "ArrowUp" && key !== "ArrowDown") return null;
    const block = blockOf(here);
    const inside = here - block.first;
    const column = inside % columns;
    const lines = (one: Block) => Math.ceil(one.thumbs.length / columns);
    const line = Math.floor(inside / columns) + (key === "ArrowUp" ? -1 : 1);
    const beyond = line < 0 ? -1 : line >= lines(block) ? 1 : 0;
    const to = blocks[blocks.indexOf(block) + beyond];
    if (!to) return here;
    const within = [lines(to) - 1, line, 0][beyond + 1];
    return to.first + Math.min(to.thumbs.length - 1, within * columns + column);
  }

  return { root, draw, focused: () => at !== null };
}

/** All pictures of a block side by side, 32 pixels apart: painted once, and then scaled to their places. */
function atlasOf(thumbs: Thumb[], { dark, scale }: Look): HTMLCanvasElement {
  const share = shareOf(scale, 0, 1);
  const palette = colours(dark);
  const shades = Uint32Array.from({ length: 256 }, (_, level) => palette[Math.round(255 * share((level / 255) ** 2))]);
  const width = 32 * thumbs.length;
  const pixels = new Uint32Array(32 * width);
  thumbs.forEach(({ levels, size: [rows, keys] }, index) => {
    for (let row = 0; row < rows; row++)
      for (let key = 0; key < keys; key++) pixels[row * width + 32 * index + key] = shades[levels[row * keys + key]];
  });
  const canvas = html("canvas", { width, height: 32 });
  canvas.getContext("2d")!.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, 32), 0, 0);
  return canvas;
}

function groups(thumbs: Thumb[]): Thumb[][] {
  const byTag = new Map<string, Thumb[]>();
  for (const thumb of thumbs) byTag.set(thumb.tag, [...(byTag.get(thumb.tag) ?? []), thumb]);
  return [...byTag.values()];
}

function chunks(thumbs: Thumb[], size: number): Thumb[][] {
  return Array.from({ length: Math.ceil(thumbs.length / size) }, (_, at) => thumbs.slice(at * size, (at + 1) * size));
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** The key that most mass sits on, by its place in the whole map, and its label where the map was not pooled. */
function keyName({ header, sample, sinkKey }: Thumb, long: boolean): string {
  if (sinkKey === null) return "one key";
  const label = header.full[1] === header.shape[2] ? labelsOf(header.keys, sample)?.[sinkKey] : undefined;
  if (label === undefined) return `key ${sinkKey}`;
  return long ? `key ${sinkKey} (“${label}”)` : `on “${label}”`;
}

/** A thumbnail in words. */
export function wordsOf(thumb: Thumb): string {
  const said = SHOWN.map((name) => {
    const value = thumb.statistics[name];
    if (value === null) return `${NAMES[name]} –`;
    if (name === "sink") return `${percent(value)} of the mass on ${keyName(thumb, true)}`;
    if (name === "padding") return `${percent(value)} on padding`;
    return `${NAMES[name]} ${value.toFixed(3)}`;
  });
  return [thumb.layer, `head ${thumb.head + 1}`, ...said].join(" · ");
}

/** A word of warning for each way in which most mass goes where nothing is. */
export function summary(all: Thumb[]): string[] {
  return (["sink", "padding"] as const).flatMap((name) => {
    const much = all.filter(({ statistics }) => (statistics[name] ?? 0) > MUCH);
    if (much.length === 0) return [];
    const worst = much.reduce((a, b) => (b.statistics[name]! > a.statistics[name]! ? b : a));
    const share = `${percent(worst.statistics[name]!)} on`;
    const where = name === "sink" ? keyName(worst, true) : "padding";
    const what = name === "sink" ? "one key" : "padding";
    const of = all.length === 1 ? "" : `In ${much.length} of ${all.length} heads most`;
    return [`${of || "Most"} of the mass sits on ${what}: ${share} ${where} in ${worst.layer}, head ${worst.head + 1}.`];
  });
}
