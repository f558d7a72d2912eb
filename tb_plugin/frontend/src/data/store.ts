// The page's one state: what the reader chose, and what is shown for it.

import { foldable, inTime } from "../time/fold";
import { keepShown } from "./kept";
import { inputsTag, isInputsTag, splitTag } from "./record";
import { type Head, type Opened, type Shown, type Target, show } from "./shown";
import type { Runs, Source, Step } from "./source";

export const VIEWS = ["overview", "map", "time", "image", "text", "training", "compare"] as const;
export type View = (typeof VIEWS)[number];
export const SCALES = ["linear", "power", "log"] as const;
export const FLOORS = ["zero", "lowest", "robust"] as const;

export const FORMS = ["lines", "highlight", "matrix"] as const;

export interface Selection {
  view: View | null; // null is the one that suits what is shown
  run: string | null;
  tag: string | null;
  step: number | null; // null follows the newest
  sample: number;
  head: Head | null;
  scale: (typeof SCALES)[number];
  floor: (typeof FLOORS)[number]; // where the colours begin, and whether they end before the rarest weights
  series: string | null; // the input that is drawn; null is the first
  top: number; // how many of the largest weights are outlined
  text: (typeof FORMS)[number] | null; // how text is drawn; null is the one that suits its length
  words: boolean; // whether text is shown by words, their pieces merged
  // What is compared with it; null is the same.
  otherRun: string | null;
  otherTag: string | null;
  otherStep: number | null;
  otherSample: number | null;
  otherHead: Head | null;
}

export const DEFAULTS: Selection = {
  view: null,
  run: null,
  tag: null,
  step: null,
  sample: 0,
  head: null,
  scale: "linear",
  floor: "zero",
  series: null,
  top: 0,
  text: null,
  words: false,
  otherRun: null,
  otherTag: null,
  otherStep: null,
  otherSample: null,
  otherHead: null,
};

export interface Cursor {
  query: number | null;
  key: number | null;
  map?: number; // of several maps side by side; the first if left out
}

/** What changes how it is drawn, and not what. */
const LOOKS: readonly string[] = ["scale", "floor", "top"] satisfies (keyof Selection)[];

export interface State {
  runs: Runs | null;
  selection: Selection;
  view: View; // the one on screen
  steps: Step[];
  inputsSteps: Step[];
  opened: Opened | null;
  shown: Shown | null;
  other: Shown | null; // only while two are compared
  otherProblem: string | null;
  cursor: Cursor;
  ahead: number; // counts up when steps around the one shown have been fetched
  loading: boolean;
  problem: string | null;
  dark: boolean;
  width: number; // of the chart, in CSS pixels
}

export type Store = ReturnType<typeof createStore>;

export function mapTags(tags: string[]): string[] {
  return tags.filter((tag) => !isInputsTag(tag));
}

export function createStore(source: Source, chosen: Partial<Selection>) {
  const state: State = {
    runs: null,
    selection: { ...DEFAULTS, ...chosen },
    view: chosen.view ?? "map",
    steps: [],
    inputsSteps: [],
    opened: null,
    shown: null,
    other: null,
    otherProblem: null,
    cursor: { query: null, key: null },
    ahead: 0,
    loading: true,
    problem: null,
    dark: false,
    width: 0,
  };
  const listeners: (() => void)[] = [];
  const kept = keepShown();
  let turn = new AbortController();
  let listed = ""; // whose steps `state.steps` are: a listing may have been given up for a later choice

  function set(patch: Partial<State>): void {
    Object.assign(state, patch);
    for (const listener of listeners) listener();
  }

  /** Runs `task`; a later call makes it late, and what a late one answers is dropped. */
  async function latest(task: (signal: AbortSignal) => Promise<Partial<State>>): Promise<void> {
    turn.abort();
    const { signal } = (turn = new AbortController());
    if (!state.loading) set({ loading: true });
    let patch: Partial<State>;
    try {
      patch = await task(signal);
    } catch (error) {
      const view = state.selection.view ?? state.view;
      patch = { view, shown: null, other: null, problem: error instanceof Error ? error.message : String(error) };
    }
    if (!signal.aborted) set({ problem: null, loading: false, ...patch });
  }

  /** The lists again, from the server: at the start and at each reload of TensorBoard. */
  function reload(): Promise<void> {
    return latest(async (signal) => {
      const all = await source.runs(signal);
      const runs = Object.fromEntries(Object.entries(all).filter(([, tags]) => mapTags(tags).length > 0));
      if (signal.aborted) return {};
      set({ runs, selection: existing(state.selection, runs) });
      listed = "";
      return load(signal);
    });
  }

  function select(patch: Partial<Selection>): Promise<void> {
    const { run, tag } = state.selection;
    const selection = existing({ ...state.selection, ...patch }, state.runs ?? {});
    const moved = selection.run !== run || selection.tag !== tag;
    if (Object.keys(patch).every((name) => LOOKS.includes(name))) {
      set({ selection });
      return Promise.resolve();
    }
    const ready = moved || selection.view === "compare" ? undefined : keptAt(null, selection);
    if (ready) {
      turn.abort();
      set({ selection, loading: false, problem: null, ...patchOf(ready, selection) });
      return Promise.resolve();
    }
    set({ selection, cursor: moved ? { query: null, key: null } : state.cursor, loading: true });
    return latest(load);
  }

  /** What is selected, at a step (null is the selected one), if that is decoded already. */
  function keptAt(at: Step | null, selection = state.selection): Shown | undefined {
    const { run, tag, step, sample, head, series } = selection;
    const here = at ?? at_(state.steps, step);
    if (run === null || tag === null || !here) return undefined;
    return kept.get({ run, tag, at: here, sample, head, series });
  }

  /** Decodes what is selected at another step, so that it is ready. */
  async function readAt(at: Step, signal: AbortSignal): Promise<void> {
    const { run, tag, sample, head, series } = state.selection;
    if (run === null || tag === null) return;
    await read({ run, tag, at, sample, head, series }, state.runs?.[run] ?? [], state.inputsSteps, signal);
  }

  async function read(
    target: Target,
    tags: string[],
    inputsSteps: Step[],
    signal: AbortSignal,
    opened?: (one: Opened) => void,
  ): Promise<Shown> {
    const shown = kept.get(target) ?? (await show(source, target, tags, inputsSteps, signal, opened));
    // Where the list of inputs is older than that of maps, they are looked for again.
    if (inputsSteps.length === 0 || inputsSteps.some(({ step }) => step === target.at.step))
      kept.add(target, shown);
    return shown;
  }

  function patchOf(whole: Shown, selection: Selection): Partial<State> {
    const view = selection.view ?? suited(whole);
    const shown = view === "time" ? inTime(whole, selection.series) : whole;
    const { query, key } = state.cursor;
    const inside = (query ?? 0) < shown.queries.length && (key ?? 0) < shown.keys.length;
    const cursor = inside ? state.cursor : { query: null, key: null };
    return { shown, opened: whole, other: null, otherProblem: null, view, cursor };
  }

  async function load(signal: AbortSignal): Promise<Partial<State>> {
    const { run, tag, step, sample, head, series } = state.selection;
    if (run === null || tag === null) return { steps: [], opened: null, shown: null, other: null };
    const tags = state.runs?.[run] ?? [];
    const listSteps = listed !== `${run}\n${tag}`;
    const target = (at: Step): Target => ({ run, tag, at, sample, head, series });
    const opened = (one: Opened) => set({ opened: one });
    // The newest step is known before all of them are listed: it is read meanwhile.
    const newest = listSteps && step === null ? source.newest(run, tag) : null;
    const newestInputs = source.newest(run, inputsTag(splitTag(tag, tags).name));
    const early = newest && read(target(newest), tags, newestInputs ? [newestInputs] : [], signal, opened);
    early?.catch(() => {}); // told below, unless another step is shown
    if (listSteps) {
      const [steps, inputsSteps] = await stepsOf(run, tag, signal).catch((error) => {
        if (!signal.aborted) set({ steps: [], opened: null });
        throw error;
      });
      if (signal.aborted) return {};
      listed = `${run}\n${tag}`;
      set({ steps, inputsSteps });
    }
    const at = at_(state.steps, step);
    if (!at) return { shown: null, other: null };
    const isNewest = newest?.step === at.step && newest.wall_time === at.wall_time;
    const whole = await (early && isNewest ? early : read(target(at), tags, state.inputsSteps, signal, opened));
    const patch = patchOf(whole, state.selection);
    if (patch.view !== "compare") return patch;
    try {
      return { ...patch, other: await compared(whole, signal) };
    } catch (error) {
      return { ...patch, otherProblem: (error as Error).message }; // the first can be read without it
    }
  }

  /** The steps of a layer's maps, and of what the model was shown. */
  async function stepsOf(run: string, tag: string, signal: AbortSignal): Promise<[Step[], Step[]]> {
    const tags = state.runs?.[run] ?? [];
    const inputs = inputsTag(splitTag(tag, tags).name);
    return Promise.all([
      source.steps(run, tag, signal),
      tags.includes(inputs) ? source.steps(run, inputs, signal) : [],
    ]);
  }

  /** The other one of two that are compared: what `selection` says, and else the same. */
  async function compared(shown: Shown, signal: AbortSignal): Promise<Shown | null> {
    const { otherRun, otherTag, otherStep, otherSample, otherHead } = state.selection;
    const run = otherRun !== null && state.runs?.[otherRun] ? otherRun : shown.run;
    const tags = state.runs?.[run] ?? [];
    const tag = [otherTag, shown.tag, mapTags(tags)[0]].find((one) => one != null && tags.includes(one));
    if (!tag) return null;
    const same = run === shown.run && tag === shown.tag;
    const [steps, inputsSteps] = same
      ? [state.steps, state.inputsSteps]
      : await stepsOf(run, tag, signal);
    const at = at_(steps, otherStep ?? shown.at.step);
    if (!at) return null;
    const target = { run, tag, at, sample: otherSample ?? shown.sample, head: otherHead ?? shown.head };
    return read(target, tags, inputsSteps, signal);
  }

  return {
    state,
    source,
    set,
    select,
    reload,
    stepsOf,
    keptAt,
    readAt,
    subscribe: (listener: () => void) => listeners.push(listener),
  };
}

function at_(steps: Step[], step: number | null): Step | undefined {
  return steps.find((one) => one.step === step) ?? steps[steps.length - 1];
}

/** The selection, with what the runs do not hold replaced by what they do. */
function existing(selection: Selection, runs: Runs): Selection {
  const run =
    selection.run !== null && selection.run in runs ? selection.run : (Object.keys(runs)[0] ?? null);
  const tags = run === null ? [] : mapTags(runs[run]);
  const tag = selection.tag !== null && tags.includes(selection.tag) ? selection.tag : (tags[0] ?? null);
  return { ...selection, run, tag };
}

/** Which views there are for what is shown: a picture wants patches, text wants tokens, a series wants times. */
export function viewsFor(given: Shown | null): View[] {
  if (!given) return ["overview", "map"]; // of a damaged map; the other layers can be read
  const shown = given.patches ?? given;
  const { header, timeline } = shown;
  const kinds = [header.queries.kind, header.keys.kind];
  return VIEWS.filter(
    (view) =>
      (view !== "time" || timeline !== null || header.keys.kind === "time" || foldable(shown)) &&
      (view !== "image" || header.keys.grid !== null) &&
      (view !== "text" || kinds.includes("token")),
  );
}

function suited(shown: Shown): View {
  const views = viewsFor(shown);
  return (["time", "image", "text"] as const).find((view) => views.includes(view)) ?? "map";
}
