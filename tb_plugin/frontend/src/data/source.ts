// Where records come from: TensorBoard's server (tb_plugin/http_api.md), or the page itself (zoo.plot.html).

import { type Reply, splitReply } from "./record";

export type Runs = Record<string, string[]>;

export interface Step {
  step: number;
  wall_time: number | null; // seconds; null where the writer gave none that is finite
}

export interface Query {
  run: string;
  tags: string[];
  steps: Step[]; // all tags × all steps
  parts: ("thumbnails" | "maps")[]; // besides the header
  sample?: number; // of the maps; all if left out
  heads?: number[];
  most?: number; // cells: of heads that have more, only the first is sent
}

export interface Source {
  runs(signal: AbortSignal): Promise<Runs>;
  newest(run: string, tag: string): Step | null; // as `runs` found it, if it did
  steps(run: string, tag: string, signal: AbortSignal): Promise<Step[]>;
  records(query: Query, signal: AbortSignal): Promise<Reply[]>;
}

/** What went wrong, as one sentence for the reader. */
export class SourceError extends Error {}

const KEPT_BYTES = 128 * 1024 * 1024;

export function serverSource(): Source {
  const kept = new Map<string, Reply>(); // a Map is ordered by insertion: the oldest use comes first
  let keptBytes = 0;
  let newest: Record<string, Record<string, Step>> = {};

  function keep(key: string, reply: Reply): void {
    if (reply.error !== null || kept.has(key)) return;
    kept.set(key, reply);
    keptBytes += bytesOf(reply);
    for (const [oldest, one] of kept) {
      if (keptBytes <= KEPT_BYTES || oldest === key) break;
      kept.delete(oldest);
      keptBytes -= bytesOf(one);
    }
  }

  return {
    async runs(signal) {
      const answer = await (await ask("tags", new URLSearchParams(), signal)).json();
      newest = answer.newest;
      return answer.runs;
    },
    newest: (run, tag) => newest[run]?.[tag] ?? null,
    async steps(run, tag, signal) {
      return (await (await ask("steps", new URLSearchParams({ run, tag }), signal)).json()).steps;
    },
    async records(query, signal) {
      const wanted = query.tags.flatMap((tag) =>
        query.steps.map((at) => {
          const key = keyOf(query, tag, at);
          return { tag, at, key, here: kept.get(key) }; // which another answer may push out meanwhile
        }),
      );
      const missing = wanted.filter(({ here }) => here === undefined);
      const found = new Map<string, Reply>();
      if (missing.length > 0) {
        const tags = [...new Set(missing.map(({ tag }) => tag))];
        const steps = [...new Set(missing.map(({ at }) => at))];
        const reply = await (await ask("records", search({ ...query, tags, steps }), signal)).arrayBuffer();
        for (const one of splitReply(reply)) {
          const at = steps.find(({ step }) => step === one.step)!;
          found.set(keyOf(query, one.tag, at), one);
        }
      }
      return wanted.map(({ key, here }) => {
        const reply = here ?? found.get(key)!;
        if (kept.delete(key)) keptBytes -= bytesOf(reply);
        keep(key, reply);
        return reply;
      });
    },
  };
}

/** Records that stand in the page itself: `{runs: {run: {tag: [{step, wall_time, parts: [base64, …]}, …]}}}`. */
export function embeddedSource(text: string): Source {
  const runs: Record<string, Record<string, { step: number; wall_time: number | null; parts: string[] }[]>> =
    JSON.parse(text).runs;
  const decoded = new Map<object, Uint8Array[]>(); // once each: a record is asked for at every choice
  return {
    runs: async () => Object.fromEntries(Object.entries(runs).map(([run, tags]) => [run, Object.keys(tags)])),
    newest: (run, tag) => runs[run]?.[tag]?.at(-1) ?? null,
    steps: async (run, tag) => runs[run][tag].map(({ step, wall_time }) => ({ step, wall_time })),
    records: async ({ run, tags, steps }) =>
      tags.flatMap((tag) =>
        steps.map(({ step }) => {
          const one = runs[run][tag].find((record) => record.step === step);
          if (one && !decoded.has(one))
            decoded.set(one, one.parts.map((part) => Uint8Array.from(atob(part), (c) => c.charCodeAt(0))));
          const parts = one ? decoded.get(one)! : [];
          const error = one ? null : `There is nothing at step ${step}.`;
          return { tag, step, wallTime: one?.wall_time ?? null, parts, error };
        }),
      ),
  };
}

async function ask(route: string, query: URLSearchParams, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(query.size ? `${route}?${query}` : route, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new SourceError("TensorBoard does not answer: see whether it still runs, then reload the page.");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  throw new SourceError(answer?.error ?? `TensorBoard answered ${response.status} to ${route}: see its log.`);
}

function search({ run, tags, steps, parts, sample, heads, most }: Query): URLSearchParams {
  const query = new URLSearchParams({ run, parts: ["header", ...parts].join(",") });
  for (const tag of tags) query.append("tag", tag);
  for (const { step } of steps) query.append("step", String(step));
  if (sample !== undefined) query.set("sample", String(sample));
  if (heads !== undefined) query.set("heads", heads.join(","));
  if (most !== undefined) query.set("most", String(most));
  // A record at one step and wall time never changes: an address that names both may be kept by the browser.
  query.set("version", hashed(steps.map(({ wall_time }) => wall_time).join()));
  return query;
}

function keyOf({ run, parts, sample, heads, most }: Query, tag: string, at: Step): string {
  return JSON.stringify([run, tag, at.step, at.wall_time, parts, sample, heads, most]);
}

function bytesOf(reply: Reply): number {
  return reply.parts.reduce((sum, part) => sum + part.byteLength, 256);
}

/** FNV-1a, 32 bits. */
function hashed(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(16);
}
