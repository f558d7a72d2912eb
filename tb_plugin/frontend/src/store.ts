// The page's one state: what the reader chose, and what is shown for it.

import { type Runs, type Step, fetchRecord, fetchRuns, fetchSteps } from "./api";
import {
  type InputsSample,
  type MapHeader,
  decodeInputs,
  decodeMap,
  decodeMapHeader,
  inputsTag,
  isInputsTag,
  labelsOf,
  splitTag,
} from "./record";
import { type Timeline, alignSeries } from "./timeline";

export interface Selection {
  run: string | null;
  tag: string | null;
  step: number | null; // null follows the newest
  sample: number;
  head: number | "mean";
  floor: "zero" | "lowest"; // where the colours begin
}

export const DEFAULTS: Selection = {
  run: null,
  tag: null,
  step: null,
  sample: 0,
  head: "mean",
  floor: "zero",
};

/** A record whose header is read: what can be chosen in it, and what is. */
export interface Opened {
  header: MapHeader;
  sample: number;
  head: number | "mean";
  sampleLabels: string[];
}

/** One map, decoded: everything a view needs to draw it. */
export interface Shown extends Opened {
  run: string;
  name: string;
  layer: string;
  at: Step;
  weights: Float32Array;
  low: number; // the weight of the first colour
  max: number;
  queries: string[];
  keys: string[];
  timeline: Timeline | null;
  inputsProblem: string | null;
}

export interface Cursor {
  query: number | null;
  key: number | null;
}

export interface State {
  runs: Runs | null;
  selection: Selection;
  steps: Step[];
  inputsSteps: Step[];
  opened: Opened | null;
  shown: Shown | null;
  cursor: Cursor;
  loading: boolean;
  problem: string | null;
  dark: boolean;
  width: number; // of the chart, in CSS pixels
}

export type Store = ReturnType<typeof createStore>;

export function mapTags(tags: string[]): string[] {
  return tags.filter((tag) => !isInputsTag(tag));
}

export function createStore(chosen: Partial<Selection>) {
  const state: State = {
    runs: null,
    selection: { ...DEFAULTS, ...chosen },
    steps: [],
    inputsSteps: [],
    opened: null,
    shown: null,
    cursor: { query: null, key: null },
    loading: true,
    problem: null,
    dark: false,
    width: 0,
  };
  const listeners: (() => void)[] = [];
  let turn = new AbortController();

  function set(patch: Partial<State>): void {
    Object.assign(state, patch);
    for (const listener of listeners) listener();
  }

  /** Runs `task`; a later call makes it late, and what a late one answers is dropped. */
  async function latest(task: (signal: AbortSignal) => Promise<Partial<State>>): Promise<void> {
    turn.abort();
    const { signal } = (turn = new AbortController());
    set({ loading: true });
    let patch: Partial<State>;
    try {
      patch = await task(signal);
    } catch (error) {
      patch = { shown: null, problem: error instanceof Error ? error.message : String(error) };
    }
    if (!signal.aborted) set({ problem: null, loading: false, ...patch });
  }

  /** The lists again, from the server: at the start and at each reload of TensorBoard. */
  function reload(): Promise<void> {
    return latest(async (signal) => {
      const all = await fetchRuns(signal);
      const runs = Object.fromEntries(Object.entries(all).filter(([, tags]) => mapTags(tags).length > 0));
      if (signal.aborted) return {};
      set({ runs, selection: existing(state.selection, runs) });
      return show(signal, true);
    });
  }

  function select(patch: Partial<Selection>): Promise<void> {
    const { run, tag } = state.selection;
    const selection = existing({ ...state.selection, ...patch }, state.runs ?? {});
    const moved = selection.run !== run || selection.tag !== tag;
    set({ selection, cursor: moved ? { query: null, key: null } : state.cursor });
    return latest((signal) => show(signal, moved));
  }

  async function show(signal: AbortSignal, listSteps: boolean): Promise<Partial<State>> {
    const { run, tag, step, sample: wantedSample, head: wantedHead, floor } = state.selection;
    if (run === null || tag === null) return { steps: [], opened: null, shown: null };
    const tags = state.runs?.[run] ?? [];
    const { name, layer } = splitTag(tag, tags);
    const inputs = inputsTag(name);
    if (listSteps) {
      const [steps, inputsSteps] = await Promise.all([
        fetchSteps(run, tag, signal),
        tags.includes(inputs) ? fetchSteps(run, inputs, signal) : [],
      ]).catch((error) => {
        if (!signal.aborted) set({ steps: [], opened: null });
        throw error;
      });
      if (signal.aborted) return {};
      set({ steps, inputsSteps });
    }
    const at = state.steps.find((one) => one.step === step) ?? state.steps[state.steps.length - 1];
    if (!at) return { shown: null };

    const blobs = await fetchRecord(run, tag, at, signal);
    const header = decodeMapHeader(blobs[0]);
    const sample = Math.min(wantedSample, header.samples - 1);
    const heads = header.shape[0];
    const head = heads === 1 ? 0 : wantedHead === "mean" ? "mean" : Math.min(wantedHead, heads - 1);
    let samples: InputsSample[] = [];
    let inputsProblem: string | null = null;
    const same = state.inputsSteps.find((one) => one.step === at.step);
    try {
      if (same) samples = decodeInputs((await fetchRecord(run, inputs, same, signal))[0]);
    } catch (error) {
      inputsProblem = (error as Error).message; // the map can be read without its inputs
    }
    const sampleLabels = Array.from(
      { length: header.samples },
      (_, index) => samples[index]?.label || `sample ${index + 1} of ${header.samples}`,
    );
    const opened: Opened = { header, sample, head, sampleLabels };
    if (signal.aborted) return {};
    set({ opened }); // a damaged head can be left for another
    const weights =
      head === "mean"
        ? await meanOverHeads(header, blobs, sample)
        : await decodeMap(header, blobs, sample, head);
    const shown: Shown = {
      ...opened,
      run,
      name,
      layer: header.layer || layer,
      at,
      weights,
      low: floor === "zero" ? 0 : weights.reduce((a, b) => Math.min(a, b), Infinity),
      max: weights.reduce((a, b) => Math.max(a, b), 0),
      queries: names(header.queries, sample, header.full[0]),
      keys: names(header.keys, sample, header.full[1]),
      timeline:
        samples[sample] && header.keys.kind === "time" ? timelineOf(header, sample, samples[sample]) : null,
      inputsProblem,
    };
    const { query, key } = state.cursor;
    const inside = (query ?? 0) < header.shape[1] && (key ?? 0) < header.shape[2];
    return { shown, cursor: inside ? state.cursor : { query: null, key: null } };
  }

  return { state, set, select, reload, subscribe: (listener: () => void) => listeners.push(listener) };
}

/** The selection, with what the runs do not hold replaced by what they do. */
function existing(selection: Selection, runs: Runs): Selection {
  const run =
    selection.run !== null && selection.run in runs ? selection.run : (Object.keys(runs)[0] ?? null);
  const tags = run === null ? [] : mapTags(runs[run]);
  const tag = selection.tag !== null && tags.includes(selection.tag) ? selection.tag : (tags[0] ?? null);
  return { ...selection, run, tag };
}

async function meanOverHeads(header: MapHeader, blobs: Uint8Array[], sample: number): Promise<Float32Array> {
  const heads = header.shape[0];
  const maps = await Promise.all(
    Array.from({ length: heads }, (_, head) => decodeMap(header, blobs, sample, head)),
  );
  return maps[0].map((_, cell) => maps.reduce((sum, map) => sum + map[cell], 0) / heads);
}

function timelineOf(header: MapHeader, sample: number, inputs: InputsSample): Timeline | null {
  const [, queries, keys] = header.shape;
  return alignSeries(
    { labels: labelsOf(header.keys, sample), count: keys, full: header.full[1] },
    { labels: labelsOf(header.queries, sample), count: queries, full: header.full[0] },
    inputs,
  );
}

/** A name for every position of an axis, labelled or not; counted from 0, as an array is indexed. */
function names(axis: MapHeader["queries"], sample: number, full: number): string[] {
  const labels = labelsOf(axis, sample);
  if (labels) return labels;
  return Array.from({ length: axis.length }, (_, index) => {
    if (axis.grid) return `row ${Math.floor(index / axis.grid[1])}, column ${index % axis.grid[1]}`;
    const first = Math.floor((index * full) / axis.length);
    const last = Math.max(first, Math.floor(((index + 1) * full) / axis.length) - 1);
    return first === last ? `${first}` : `${first}–${last}`;
  });
}
