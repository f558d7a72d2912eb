// Decoded maps that were shown or soon may be: a step that is looked at again costs its painting alone.

import type { Shown, Target } from "./shown";

export const KEPT_BYTES = 192 * 1024 * 1024;

export function bytesOf({ maps, picture }: Shown): number {
  const pixels = picture?.pixels.byteLength ?? 0;
  return maps.reduce((sum, map) => sum + map.byteLength, pixels + 20_000); // labels, and a header
}

export function keepShown() {
  const kept = new Map<string, Shown>(); // ordered by insertion: the oldest use comes first
  let bytes = 0;
  return {
    get(target: Target): Shown | undefined {
      return kept.get(keyOf(target));
    },
    add(target: Target, shown: Shown): void {
      const key = keyOf(target);
      const before = kept.get(key);
      if (before) bytes -= bytesOf(before);
      kept.delete(key);
      kept.set(key, shown);
      bytes += bytesOf(shown);
      for (const [oldest, one] of kept) {
        if (bytes <= KEPT_BYTES || oldest === key) break;
        kept.delete(oldest);
        bytes -= bytesOf(one);
      }
    },
  };
}

function keyOf({ run, tag, at, sample, head, series }: Target): string {
  return JSON.stringify([run, tag, at.step, at.wall_time, sample, head, series]);
}
