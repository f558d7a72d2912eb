// The server's routes (tb_plugin/http_api.md), relative to the page: `data/plugin/attention/`.

import { splitReply } from "./record";

export type Runs = Record<string, string[]>;

export interface Step {
  step: number;
  wall_time: number | null; // seconds; null where the writer gave none that is finite
}

/** What went wrong, as one sentence for the reader. */
export class ApiError extends Error {}

const KEPT_BYTES = 64 * 1024 * 1024;
const kept = new Map<string, ArrayBuffer>();

async function ask(route: string, query: Record<string, string>, signal: AbortSignal): Promise<Response> {
  const search = new URLSearchParams(query).toString();
  let response: Response;
  try {
    response = await fetch(search ? `${route}?${search}` : route, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError("TensorBoard does not answer: see whether it still runs, then reload the page.");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  throw new ApiError(answer?.error ?? `TensorBoard answered ${response.status} to ${route}: see its log.`);
}

export async function fetchRuns(signal: AbortSignal): Promise<Runs> {
  return (await (await ask("tags", {}, signal)).json()).runs;
}

export async function fetchSteps(run: string, tag: string, signal: AbortSignal): Promise<Step[]> {
  return (await (await ask("steps", { run, tag }, signal)).json()).steps;
}

/** The blobs of one record; a (run, tag, step, wall time) never changes, so the last ones are kept. */
export async function fetchRecord(
  run: string,
  tag: string,
  at: Step,
  signal: AbortSignal,
): Promise<Uint8Array[]> {
  const key = JSON.stringify([run, tag, at.step, at.wall_time]);
  const reply =
    kept.get(key) ?? (await (await ask("step", { run, tag, step: String(at.step) }, signal)).arrayBuffer());
  kept.delete(key); // a Map is ordered by insertion: the oldest use comes first
  kept.set(key, reply);
  let bytes = [...kept.values()].reduce((sum, one) => sum + one.byteLength, 0);
  for (const [oldest, { byteLength }] of kept) {
    if (bytes <= KEPT_BYTES || oldest === key) break;
    kept.delete(oldest);
    bytes -= byteLength;
  }
  return splitReply(reply);
}
