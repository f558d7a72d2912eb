// The cells of a map on a canvas: one bitmap, of which every draw scales a part.

import { html } from "../drawing/dom";
import type { Area } from "../drawing/layout";
import type { Cell } from "../drawing/peaks";
import { type Colouring, formatWeight } from "../drawing/scale";

/** Cells smaller than a pixel are drawn in blocks of 2^down × 2^across, each in the colour of its largest weight. */
export interface Blocks {
  down: number;
  across: number;
}

interface Reduced {
  weights: Float32Array;
  rows: number;
  columns: number;
}

const NUMBERED: [width: number, height: number] = [50, 20]; // a cell that is larger shows its weight
const GAP_FROM = 6; // a cell that is larger stands apart from its neighbours
const OUTLINE_LEAST = 7;
const TILE = 256; // rows and columns that are painted at once: of millions only those that are seen
const reductions = new WeakMap<Float32Array, Map<string, Reduced>>();

/** Blocks of at least one pixel. */
export function blocksFor(row: number, column: number): Blocks {
  const power = (size: number) => Math.max(0, Math.ceil(Math.log2(1 / size) - 1e-9));
  return { down: power(row), across: power(column) };
}

/** The largest weight of each block: peaks are seen at any size. */
function reduce(weights: Float32Array, keys: number, { down, across }: Blocks): Reduced {
  const queries = weights.length / keys;
  if (down === 0 && across === 0) return { weights, rows: queries, columns: keys };
  const known = reductions.get(weights) ?? new Map<string, Reduced>();
  reductions.set(weights, known);
  const name = `${down} ${across}`;
  let reduced = known.get(name);
  if (!reduced) {
    const [rows, columns] = [((queries - 1) >> down) + 1, ((keys - 1) >> across) + 1];
    const most = new Float32Array(rows * columns);
    for (let query = 0, cell = 0; query < queries; query++) {
      const start = (query >> down) * columns;
      for (let key = 0; key < keys; key++, cell++) {
        const block = start + (key >> across);
        if (weights[cell] > most[block]) most[block] = weights[cell];
      }
    }
    known.set(name, (reduced = { weights: most, rows, columns }));
  }
  return reduced;
}

/** The cell whose colour is seen at a cell: the largest of its block. */
export function seenAt(
  weights: Float32Array,
  keys: number,
  query: number,
  key: number,
  { down, across }: Blocks,
): [query: number, key: number] {
  const queries = weights.length / keys;
  const [top, left] = [(query >> down) << down, (key >> across) << across];
  let seen: [number, number] = [query, key];
  for (let q = top; q < Math.min(queries, top + 2 ** down); q++)
    for (let k = left; k < Math.min(keys, left + 2 ** across); k++)
      if (weights[q * keys + k] > weights[seen[0] * keys + seen[1]]) seen = [q, k];
  return seen;
}

/** The bitmap of a map in blocks, painted at least where `area` is. */
export type Paint = (blocks: Blocks, area: Area) => HTMLCanvasElement;

/** Bitmaps with one pixel a block, of which each tile is painted when it is first seen. */
export function painter(weights: Float32Array, keys: number, { palette, share }: Colouring): Paint {
  const bitmaps = new Map<string, { bitmap: HTMLCanvasElement; painted: Set<number> }>();

  function paintTile(context: CanvasRenderingContext2D, reduced: Reduced, top: number, left: number): void {
    const [high, wide] = [Math.min(TILE, reduced.rows - top), Math.min(TILE, reduced.columns - left)];
    const pixels = new Uint32Array(high * wide);
    for (let row = 0, pixel = 0; row < high; row++) {
      const start = (top + row) * reduced.columns + left;
      for (let at = start; at < start + wide; at++, pixel++)
        pixels[pixel] = palette[Math.round(255 * share(reduced.weights[at]))];
    }
    const image = new ImageData(new Uint8ClampedArray(pixels.buffer), wide, high);
    context.putImageData(image, left, top);
  }

  return (blocks, area) => {
    const name = `${blocks.down} ${blocks.across}`;
    const reduced = reduce(weights, keys, blocks);
    const { rows, columns } = reduced;
    const known = bitmaps.get(name);
    const { bitmap, painted } = known ?? {
      bitmap: html("canvas", { width: columns, height: rows }),
      painted: new Set(),
    };
    if (!known) bitmaps.set(name, { bitmap, painted });
    const context = bitmap.getContext("2d")!;
    const first = (cell: number, power: number) => Math.floor(cell / 2 ** power / TILE) * TILE;
    const bottom = Math.min(rows, (area.query + area.queries) / 2 ** blocks.down);
    const right = Math.min(columns, (area.key + area.keys) / 2 ** blocks.across);
    for (let top = first(area.query, blocks.down); top < bottom; top += TILE)
      for (let left = first(area.key, blocks.across); left < right; left += TILE) {
        if (painted.has(top * columns + left)) continue;
        painted.add(top * columns + left);
        paintTile(context, reduced, top, left);
      }
    return bitmap;
  };
}

/** Draws a part of a map over `width` × `height` CSS pixels, and says in which blocks. */
export function drawCells(
  context: CanvasRenderingContext2D,
  paint: Paint,
  area: Area,
  width: number,
  height: number,
): Blocks {
  const density = window.devicePixelRatio || 1;
  const [row, column] = [height / area.queries, width / area.keys];
  const blocks = blocksFor(row * density, column * density);
  const [down, across] = [2 ** blocks.down, 2 ** blocks.across];
  const source = [area.key / across, area.query / down, area.keys / across, area.queries / down] as const;
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(paint(blocks, area), ...source, 0, 0, width, height);
  if (column >= GAP_FROM)
    for (let key = Math.floor(area.key) + 1; key < area.key + area.keys; key++)
      context.clearRect((key - area.key) * column - 0.5, 0, 1, height);
  if (row >= GAP_FROM)
    for (let query = Math.floor(area.query) + 1; query < area.query + area.queries; query++)
      context.clearRect(0, (query - area.query) * row - 0.5, width, 1);
  return blocks;
}

/** The weights in their cells, where these are large enough. */
export function drawNumbers(
  context: CanvasRenderingContext2D,
  weights: Float32Array,
  keys: number,
  area: Area,
  [row, column]: [row: number, column: number],
  { palette, share }: Colouring,
): void {
  if (column < NUMBERED[0] || row < NUMBERED[1]) return;
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const [endQuery, endKey] = [Math.ceil(area.query + area.queries), Math.ceil(area.key + area.keys)];
  for (let query = Math.floor(area.query); query < endQuery; query++)
    for (let key = Math.floor(area.key); key < endKey; key++) {
      const weight = weights[query * keys + key];
      const colour = palette[Math.round(255 * share(weight))];
      context.fillStyle = luminance(colour) > 0.179 ? "#000" : "#fff"; // at least 4.5 : 1, whatever the colour
      const short = weight === 0 ? "0" : weight < 0.0005 ? weight.toExponential(1) : formatWeight(weight).slice(0, 6);
      context.fillText(short, (key + 0.5 - area.key) * column, (query + 0.5 - area.query) * row);
    }
}

function luminance(packed: number): number {
  const [red, green, blue] = [0, 8, 16].map((bits) => (((packed >> bits) & 255) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** A frame around each of some cells, never too small to be seen. */
export function drawOutlines(
  context: CanvasRenderingContext2D,
  cells: Cell[],
  area: Area,
  width: number,
  height: number,
  dark: boolean,
): void {
  if (cells.length === 0) return;
  const [row, column] = [height / area.queries, width / area.keys];
  const frames = new Path2D();
  for (const { query, key } of cells) {
    const [high, wide] = [Math.max(OUTLINE_LEAST, row), Math.max(OUTLINE_LEAST, column)];
    const x = (key + 0.5 - area.key) * column - wide / 2;
    const y = (query + 0.5 - area.query) * row - high / 2;
    frames.rect(Math.round(x), Math.round(y), Math.round(wide), Math.round(high));
  }
  context.lineJoin = "round";
  context.strokeStyle = dark ? "#1c1f23" : "#fff";
  context.lineWidth = 4;
  context.stroke(frames);
  context.strokeStyle = dark ? "#ff5fa2" : "#c2410c"; // colours that no ramp has
  context.lineWidth = 2;
  context.stroke(frames);
}
