// A map of patches laid over the picture that they were cut from.

import { html } from "../drawing/dom";
import { classTokens } from "../data/record";
import { colours, range, shareOf } from "../drawing/scale";
import type { Picture, Shown } from "../data/shown";
import type { Selection } from "../data/store";

export interface Overlay {
  picture: HTMLCanvasElement | null;
  upsideDown: boolean; // of a spectrogram, low frequencies are the first row of patches and stand at the bottom
  grid: [rows: number, columns: number];
  width: number; // on screen, in CSS pixels
  height: number;
  opacity: number; // of the map
  smooth: boolean; // between the patches
  query: number | null; // whose attention it is; null is the mean of all
}

// Over a picture the page's own colour of zero would read as white; these begin in the dark, in both themes.
const PALETTE = colours(true);

/** The picture, one pixel each. */
export function pixelsOf({ shape: [rows, columns, channels], pixels }: Picture): HTMLCanvasElement {
  const image = new ImageData(columns, rows);
  for (let at = 0; at < rows * columns; at++) {
    for (let part = 0; part < 3; part++) image.data[4 * at + part] = pixels[channels * at + (channels === 3 ? part : 0)];
    image.data[4 * at + 3] = 255;
  }
  return painted(image);
}

/** What a query gives each patch, or all queries on average. */
export function patchesOf(weights: Float32Array, { header }: Shown, query: number | null): Float32Array {
  const [, queries, keys] = header.shape;
  const first = classTokens(header.keys);
  if (query !== null) return weights.subarray(query * keys + first, (query + 1) * keys);
  const mean = new Float32Array(keys);
  weights.forEach((weight, cell) => (mean[cell % keys] += weight / queries));
  return mean.subarray(first);
}

/** One pixel a patch, coloured from the least to the largest of these weights. */
export function bitmapOf(
  weights: Float32Array,
  { grid: [rows, columns], upsideDown }: Overlay,
  { floor, scale }: Selection,
): { bitmap: HTMLCanvasElement; low: number; high: number } {
  const most = weights.reduce((a, b) => (b > a ? b : a), 0);
  const [low, high] = range(weights, most, floor);
  const share = shareOf(scale, low, high);
  const pixels = new Uint32Array(rows * columns);
  weights.forEach((weight, patch) => {
    const row = Math.floor(patch / columns);
    pixels[(upsideDown ? rows - 1 - row : row) * columns + (patch % columns)] = PALETTE[Math.round(255 * share(weight))];
  });
  return { bitmap: painted(new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows)), low, high };
}

export function drawOver(
  canvas: HTMLCanvasElement,
  bitmap: HTMLCanvasElement,
  { picture, width, height, opacity, smooth }: Overlay,
): void {
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d")!;
  context.scale(density, density);
  context.imageSmoothingQuality = "high";
  if (picture) {
    context.imageSmoothingEnabled = picture.width > width; // few pixels are shown as they are
    context.drawImage(picture, 0, 0, width, height);
  }
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = smooth;
  context.drawImage(bitmap, 0, 0, width, height);
  context.globalAlpha = 1;
}

/** Where a patch stands on the screen. */
export function patchBox(
  patch: number,
  { grid: [rows, columns], width, height, upsideDown }: Overlay,
): { x: number; y: number; width: number; height: number } {
  const row = Math.floor(patch / columns);
  const fromTop = upsideDown ? rows - 1 - row : row;
  return {
    x: ((patch % columns) * width) / columns,
    y: (fromTop * height) / rows,
    width: width / columns,
    height: height / rows,
  };
}

function painted(image: ImageData): HTMLCanvasElement {
  const canvas = html("canvas", { width: image.width, height: image.height });
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return canvas;
}
