// From weights to colours and from numbers to text.

import type { Shown } from "../data/shown";
import type { Selection } from "../data/store";

// Lightness moves one way only, so the order of the weights survives colour blindness and print;
// zero is close to the page, in light and in dark.
const LIGHT = ["f1f4f3", "dcecdf", "b4dcc8", "7cc8bf", "48adbd", "2b8bb3", "25659f", "243f85", "1a1f5c"];
const DARK = ["272b31", "2b3358", "2f4a7d", "2b6a90", "258a92", "2faa87", "67c76e", "b4de55", "fcee6a"];

/** 256 colours as packed RGBA, in the byte order of ImageData. */
export function colours(dark: boolean): Uint32Array {
  const stops = (dark ? DARK : LIGHT).map((stop) =>
    [0, 2, 4].map((at) => parseInt(stop.slice(at, at + 2), 16)),
  );
  const packed = new Uint8ClampedArray(4 * 256);
  for (let level = 0; level < 256; level++) {
    const place = (level / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    const mixed = stops[low].map((part, i) => part + (place - low) * (stops[low + 1][i] - part));
    packed.set([...mixed, 255], 4 * level);
  }
  return new Uint32Array(packed.buffer);
}

export function gradient(dark: boolean): string {
  return `linear-gradient(to right, ${(dark ? DARK : LIGHT).map((stop) => `#${stop}`).join(", ")})`;
}

const ends = new WeakMap<object, Partial<Record<Selection["floor"], [low: number, high: number]>>>();

/** Where the colours begin and end for weights up to `max`: those of one map, or of several in the same colours. */
export function range(
  weights: Float32Array | Float32Array[],
  max: number,
  floor: Selection["floor"],
): [low: number, high: number] {
  if (floor === "zero") return [0, max];
  const known = ends.get(weights) ?? {};
  ends.set(weights, known); // millions of weights are not gone through at every change
  const maps = Array.isArray(weights) ? weights : [weights];
  return (known[floor] ??= floor === "lowest" ? [lowest(maps, max), max] : percentiles(maps, max));
}

function lowest(maps: Float32Array[], max: number): number {
  let least = max;
  for (const map of maps) for (let cell = 0; cell < map.length; cell++) if (map[cell] < least) least = map[cell];
  return least;
}

/** The 1st and the 99th percentile of the weights that are not 0. */
function percentiles(maps: Float32Array[], max: number): [low: number, high: number] {
  const bits = maps.map((map) => new Uint32Array(map.buffer, map.byteOffset, map.length));
  let count = 0;
  for (const map of maps) for (let cell = 0; cell < map.length; cell++) if (map[cell] > 0) count++;
  if (count === 0) return [0, max];
  return [ranked(bits, Math.floor(0.01 * (count - 1))), ranked(bits, Math.ceil(0.99 * (count - 1)))];
}

/** The weight with `rank` smaller ones that are not 0. Positive floats sort as their bits do: first the upper
 * half of the bits is found by counting, then the lower. */
function ranked(maps: Uint32Array[], rank: number): number {
  const counts = new Uint32Array(2 ** 16);
  const taken = () => {
    let half = 0;
    for (; rank >= counts[half]; half++) rank -= counts[half];
    return half;
  };
  for (const map of maps)
    for (let cell = 0; cell < map.length; cell++)
      if (map[cell] > 0 && map[cell] < 0x80000000) counts[map[cell] >>> 16]++;
  const upper = taken();
  counts.fill(0);
  for (const map of maps)
    for (let cell = 0; cell < map.length; cell++)
      if (map[cell] > 0 && map[cell] >>> 16 === upper) counts[map[cell] & 0xffff]++;
  return new Float32Array(Uint32Array.of(upper * 2 ** 16 + taken()).buffer)[0];
}

const DECADES = 10_000; // four of them at most

/** Where a weight stands between the first colour (0) and the last (1). */
export function shareOf(scale: Selection["scale"], low: number, high: number): (weight: number) => number {
  if (high <= low) return () => 0;
  const within = (share: number) => (share <= 0 ? 0 : share >= 1 ? 1 : share);
  if (scale === "linear") return (weight) => within((weight - low) / (high - low));
  if (scale === "power") return (weight) => Math.sqrt(within((weight - low) / (high - low)));
  const least = Math.max(low, high / DECADES);
  const decades = Math.log(high / least) || 1;
  return (weight) => (weight <= least ? 0 : within(Math.log(weight / least) / decades));
}

export interface Colouring {
  palette: Uint32Array;
  share: (weight: number) => number;
}

/** The colours of all maps that are shown. */
export function colouring({ maps, max }: Shown, { scale, floor }: Selection, dark: boolean): Colouring {
  return { palette: colours(dark), share: shareOf(scale, ...range(maps, max, floor)) };
}

/** The weight that stands at a share: `shareOf` the other way. */
export function weightAt(scale: Selection["scale"], low: number, high: number): (share: number) => number {
  if (high <= low) return () => low;
  if (scale === "linear") return (share) => low + (high - low) * share;
  if (scale === "power") return (share) => low + (high - low) * share ** 2;
  const least = Math.max(low, high / DECADES);
  return (share) => least * (high / least) ** share;
}

/** Four significant digits: what eight bits a weight can honestly show. */
export function formatWeight(weight: number): string {
  return weight === 0 ? "0" : weight.toPrecision(4);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

export function formatValue(value: number): string {
  return (Math.abs(value) >= 10 ? fine : small).format(value);
}

/** Round numbers that cover [low, high], about `count` of them, and how to write them. */
export function ticks(
  low: number,
  high: number,
  count: number,
): { values: number[]; format: (value: number) => string } {
  const rough = (high - low) / count || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? rough;
  const first = Math.ceil(low / step);
  // Counted, because near 2^53 a step may be too small to move a number.
  const values = Array.from({ length: 2 * count }, (_, i) => (first + i) * step).filter(
    (value) => value <= high,
  );
  return { values, format: (value) => (step >= 1 ? whole : small).format(value) };
}

// Of a difference: two hues that no colour blindness confounds, and zero close to the page.
const LIGHT_APART = ["8a3b08", "c9651c", "eca666", "f7d9b8", "f3f4f4", "bcd9ea", "6fb0d6", "2a78b0", "133f73"];
const DARK_APART = ["ffcf8f", "f2994a", "b4622a", "663f2b", "272b31", "274964", "2f73a8", "59a8e0", "b0dcff"];

/** 255 colours as packed RGBA, of which the middle one, 127, is that of no difference. */
export function differenceColours(dark: boolean): Uint32Array {
  const stops = (dark ? DARK_APART : LIGHT_APART).map((stop) =>
    [0, 2, 4].map((at) => parseInt(stop.slice(at, at + 2), 16)),
  );
  const packed = new Uint8ClampedArray(4 * 255);
  for (let level = 0; level < 255; level++) {
    const place = (level / 254) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    packed.set([...stops[low].map((part, i) => part + (place - low) * (stops[low + 1][i] - part)), 255], 4 * level);
  }
  return new Uint32Array(packed.buffer);
}

export function differenceGradient(dark: boolean): string {
  return `linear-gradient(to right, ${(dark ? DARK_APART : LIGHT_APART).map((stop) => `#${stop}`).join(", ")})`;
}
