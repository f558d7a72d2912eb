// From records to what is looked at: one layer, step and sample, with the maps of the heads that were chosen.

import {
  type InputsSample,
  type MapHeader,
  type PictureHeader,
  type Reply,
  type Series,
  RecordError,
  classTokens,
  decodeInputs,
  decodeMap,
  decodeMapHeader,
  decodePixels,
  inputsTag,
  labelsOf,
  partOf,
  splitTag,
} from "./record";
import type { Query, Source, Step } from "./source";
import { type Timeline, alignSeries } from "../time/timeline";

export type Head = "mean" | "max" | number[]; // over all heads, or some of them side by side

/** What to look at; `head` null is the mean, or the first head where the maps are large. */
export interface Target {
  run: string;
  tag: string;
  at: Step;
  sample: number;
  head: Head | null;
  series?: string | null; // the input that is drawn; the first if left out
}

/** A record whose header is read: what can be chosen in it, and what is. */
export interface Opened {
  header: MapHeader;
  sample: number;
  head: Head;
  sampleLabels: string[];
}

export interface Picture extends PictureHeader {
  pixels: Uint8Array;
}

/** Decoded: everything a view needs to draw it. */
export interface Shown extends Opened {
  run: string;
  tag: string;
  name: string;
  layer: string;
  at: Step;
  maps: Float32Array[]; // one for each chosen head, or one over all
  weights: Float32Array; // the first of them
  max: number; // over all of them
  queries: string[];
  keys: string[];
  series: Series[]; // all that the model was shown of this sample
  timeline: Timeline | null;
  patches: Shown | null; // of a map that is folded to time, the map that was
  picture: Picture | null;
  inputsProblem: string | null;
}

const MANY_CELLS = 4_000_000; // more are not averaged unasked

/** For headers and, in one answer with them, the maps that are most likely chosen. */
export function mapsQuery({ run, tag, sample, head }: Omit<Target, "at">, steps: Step[]): Query {
  const likely = Array.isArray(head) ? { heads: head } : head === null ? { most: MANY_CELLS } : {};
  return { run, tags: [tag], steps, parts: ["maps"], sample, ...likely };
}

/** For what a model was shown. */
export function inputsQuery(run: string, name: string, steps: Step[]): Query {
  return { run, tags: [inputsTag(name)], steps, parts: ["maps"] };
}

/** Reads what `target` says. `opened` is told as soon as the header is known: a damaged head can be left. */
export async function show(
  source: Source,
  target: Target,
  tags: string[],
  inputsSteps: Step[],
  signal: AbortSignal,
  opened: (one: Opened) => void = () => {},
): Promise<Shown> {
  const { run, tag, at } = target;
  const { name, layer } = splitTag(tag, tags);
  const same = inputsSteps.find((one) => one.step === at.step);
  const [about, inputs] = await Promise.all([
    source.records(mapsQuery(target, [at]), signal),
    same ? source.records(inputsQuery(run, name, [same]), signal) : [],
  ]);
  const header = decodeMapHeader(partsOf(about[0])[0]);
  const heads = header.shape[0];
  const sample = Math.min(target.sample, header.samples - 1);
  const head = headOf(target.head, header);
  let samples: InputsSample[] = [];
  let picture: Picture | null = null;
  let inputsProblem: string | null = null;
  try {
    if (inputs.length > 0) {
      const parts = partsOf(inputs[0]);
      samples = decodeInputs(parts[0]);
      const described = samples[sample]?.picture ?? null;
      const pixels = described && (await decodePixels(described, parts));
      if (described && !pixels) throw new RecordError("The picture of this sample is damaged.");
      picture = described && { ...described, pixels: pixels! };
    }
  } catch (error) {
    inputsProblem = (error as Error).message; // the map can be read without its inputs
  }
  const sampleLabels = Array.from(
    { length: header.samples },
    (_, index) => samples[index]?.label || `sample ${index + 1} of ${header.samples}`,
  );
  const known: Opened = { header, sample, head, sampleLabels };
  if (!signal.aborted) opened(known);

  const chosen = typeof head === "string" ? Array.from({ length: heads }, (_, index) => index) : head;
  const guessed = chosen.every((one) => about[0].parts[partOf(header, sample, one)]?.length > 0);
  const [reply] = guessed ? about : await source.records(mapsQuery({ ...target, sample, head: chosen }, [at]), signal);
  const each = await Promise.all(chosen.map((one) => decodeMap(header, partsOf(reply), sample, one)));
  const maps = typeof head === "string" ? [over(each, head)] : each;
  const series = samples[sample]?.series ?? [];
  return {
    ...known,
    run,
    tag,
    name,
    layer: header.layer || layer,
    at,
    maps,
    weights: maps[0],
    max: largestOf(maps),
    queries: names(header.queries, sample, header.full[0]),
    keys: names(header.keys, sample, header.full[1]),
    series,
    timeline: header.keys.kind === "time" ? timelineOf(header, sample, series, target.series) : null,
    patches: null,
    picture,
    inputsProblem,
  };
}

export function partsOf({ error, parts }: Reply): Uint8Array[] {
  if (error !== null) throw new RecordError(error);
  return parts;
}

function headOf(wanted: Head | null, { shape: [heads, queries, keys] }: MapHeader): Head {
  if (heads === 1) return [0];
  if (wanted === null) return heads * queries * keys > MANY_CELLS ? [0] : "mean";
  if (typeof wanted === "string") return wanted;
  const there = wanted.filter((head) => head < heads);
  return there.length > 0 ? there : [heads - 1];
}

function over(maps: Float32Array[], how: "mean" | "max"): Float32Array {
  const result = new Float32Array(maps[0].length);
  for (const map of maps) {
    if (how === "mean") for (let cell = 0; cell < map.length; cell++) result[cell] += map[cell] / maps.length;
    else for (let cell = 0; cell < map.length; cell++) result[cell] = Math.max(result[cell], map[cell]);
  }
  return result;
}

function largestOf(maps: Float32Array[]): number {
  let most = 0;
  for (const map of maps) for (let cell = 0; cell < map.length; cell++) if (map[cell] > most) most = map[cell];
  return most;
}

function timelineOf(
  header: MapHeader,
  sample: number,
  series: Series[],
  chosen: string | null = null,
): Timeline | null {
  const [, queries, keys] = header.shape;
  return alignSeries(
    { labels: labelsOf(header.keys, sample), count: keys, full: header.full[1] },
    { labels: labelsOf(header.queries, sample), count: queries, full: header.full[0] },
    series,
    chosen,
  );
}

/** A name for every position of an axis, labelled or not; counted from 0, as an array is indexed. */
function names(axis: MapHeader["queries"], sample: number, full: number): string[] {
  const labels = labelsOf(axis, sample);
  if (labels) return labels;
  return Array.from({ length: axis.length }, (_, index) => {
    if (axis.grid) {
      const patch = index - classTokens(axis);
      if (patch < 0) return classTokens(axis) === 1 ? "class token" : `class token ${index}`;
      return `row ${Math.floor(patch / axis.grid[1])}, column ${patch % axis.grid[1]}`;
    }
    const first = Math.floor((index * full) / axis.length);
    const last = Math.max(first, Math.floor(((index + 1) * full) / axis.length) - 1);
    return first === last ? `${first}` : `${first}–${last}`;
  });
}
