// A text shorter than others of its batch ends in padding: left out where nothing attends to it.

import type { Shown } from "../data/shown";

const PADDING = /^(\[pad\]|<pad>|<\|pad\|>)$/i;
const LITTLE = 0.001; // of a row; a byte a weight rounds some of it to zero

const trimmed = new WeakMap<Shown, Shown>();

/** A map without the padding at the ends of its axes; all of it stays if a token attends to padding. */
export function withoutPadding(shown: Shown): Shown {
  const known = trimmed.get(shown);
  if (known) return known;
  const [queries, keys] = [lengthOf(shown, "queries"), lengthOf(shown, "keys")];
  const columns = shown.keys.length;
  const attended = (map: Float32Array) => {
    for (let query = 0; query < queries; query++) {
      let mass = 0;
      for (let key = keys; key < columns; key++) mass += map[query * columns + key];
      if (mass > LITTLE) return true;
    }
    return false;
  };
  const whole = (queries === shown.queries.length && keys === columns) || shown.maps.some(attended);
  const cut = (map: Float32Array) => {
    const result = new Float32Array(queries * keys);
    for (let query = 0; query < queries; query++)
      result.set(map.subarray(query * columns, query * columns + keys), query * keys);
    return result;
  };
  const result = whole
    ? shown
    : resized(shown, shown.maps.map(cut), shown.queries.slice(0, queries), shown.keys.slice(0, keys));
  trimmed.set(shown, result);
  return result;
}

/** Of tokens, how many come before the padding at the end; of a pooled axis, whose labels are a few of many, all. */
function lengthOf({ header, ...shown }: Shown, which: "queries" | "keys"): number {
  const labels = shown[which];
  const pooled = header.full[which === "queries" ? 0 : 1] !== labels.length;
  return header[which].kind !== "token" || pooled ? labels.length : textLength(labels);
}

export function textLength(labels: string[]): number {
  let end = labels.length;
  while (end > 1 && PADDING.test(labels[end - 1])) end--;
  return end;
}

/** `shown` with other maps, of other axes. */
export function resized(shown: Shown, maps: Float32Array[], queries: string[], keys: string[]): Shown {
  const { header } = shown;
  return {
    ...shown,
    header: {
      ...header,
      shape: [header.shape[0], queries.length, keys.length],
      full: [queries.length, keys.length],
      queries: { ...header.queries, length: queries.length, labels: queries },
      keys: { ...header.keys, length: keys.length, labels: keys },
    },
    maps,
    weights: maps[0],
    max: maps.reduce((most, map) => map.reduce((a, b) => (b > a ? b : a), most), 0),
    queries,
    keys,
    timeline: null, // it is of the tokens that were logged
  };
}
