// The steps around the one that is shown, fetched and decoded in the background, so that they are ready.

import { KEPT_BYTES, bytesOf } from "./kept";
import { type Shown, inputsQuery, mapsQuery } from "./shown";
import type { Step } from "./source";
import type { State, Store } from "./store";

const MOST_CELLS = 512 ** 2; // of a map
const MOST_BYTES = 128 * 1024 * 1024; // fetched for one selection
const MOST_STEPS = 1000;
const CHUNK_STEPS = 20;
const CHUNK_MAPS = 160; // the server reads so many in half a second, and the reader's own choice waits for them

export function fetchStepsAhead(store: Store): void {
  const { state, source } = store;
  let selected = "";
  let seen: { shown: Shown | null; steps: Step[] } = { shown: null, steps: [] };
  let turn = new AbortController();
  let failed = new Set<Step>();
  let busy = false;
  let complete: Step[] = []; // a list of steps that are all there

  store.subscribe(() => {
    const { selection, shown, steps } = state;
    const now = [selection.run, selection.tag, selection.sample, selection.head].join("\n");
    if (now !== selected) {
      selected = now;
      turn.abort();
      turn = new AbortController();
      failed = new Set();
      complete = [];
      busy = false;
    }
    if (busy || state.loading || !shown || complete === steps) return;
    if (seen.shown === shown && seen.steps === steps) return;
    seen = { shown, steps };
    const { signal } = turn;
    const isMissing = (at: Step) => !failed.has(at) && !store.keptAt(at);
    busy = true;
    const [wanted, chunk] = around(shown, steps);
    void nearestFirst(state, wanted, chunk, isMissing, fetchChunk, signal).then(() => {
      if (signal.aborted) return;
      busy = false;
      if (wanted >= steps.length && steps.every((at) => !isMissing(at))) complete = steps;
    });
  });

  async function fetchChunk(chunk: Step[], signal: AbortSignal): Promise<void> {
    const { name } = state.shown!;
    const { run, tag, sample, head } = state.selection;
    if (run === null || tag === null) return;
    const inputs = state.inputsSteps.filter(({ step }) => chunk.some((at) => at.step === step));
    await Promise.all([ // as the store will ask, step by step, so that it finds them
      source.records(mapsQuery({ run, tag, sample, head }, chunk), signal),
      inputs.length > 0 ? source.records(inputsQuery(run, name, inputs), signal) : [],
    ]);
    for (const at of chunk) {
      if (signal.aborted) return;
      await store.readAt(at, signal).catch(() => {}); // what is wrong is said when it is shown
      if (!store.keptAt(at)) failed.add(at);
    }
    store.set({ ahead: state.ahead + 1 });
  }
}

/** How many steps are worth fetching, and how many at once. */
function around(shown: Shown, steps: Step[]): [wanted: number, chunk: number] {
  const { header, head } = shown;
  const [all, queries, keys] = header.shape;
  const heads = typeof head === "string" ? all : head.length;
  const cells = queries * keys;
  if (cells > MOST_CELLS) return [0, 0];
  const fetched = MOST_BYTES / (heads * cells * (header.scale === "exact" ? 4 : 1));
  const decoded = (0.8 * KEPT_BYTES) / bytesOf(shown);
  const wanted = Math.floor(Math.min(steps.length, MOST_STEPS, fetched, decoded));
  return [wanted, Math.max(1, Math.min(CHUNK_STEPS, Math.floor(CHUNK_MAPS / heads)))];
}

/** Fetches the `wanted` steps next to the one that is shown, `chunk` by `chunk`, the nearest first. */
export async function nearestFirst(
  state: State,
  wanted: number,
  chunk: number,
  isMissing: (at: Step) => boolean,
  fetch: (steps: Step[], signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const here = state.steps.findIndex(({ step }) => step === state.shown?.at.step);
    const first = Math.max(0, Math.min(state.steps.length - wanted, here - (wanted >> 1)));
    const near = state.steps
      .slice(first, first + wanted)
      .map((at, index) => ({ at, away: Math.abs(first + index - here) }))
      .filter(({ at }) => isMissing(at))
      .sort((a, b) => a.away - b.away)
      .slice(0, chunk)
      .map(({ at }) => at);
    if (near.length === 0 || signal.aborted) return;
    try {
      await fetch(near, signal);
    } catch {
      return; // what is shown says what is wrong
    }
  }
}
