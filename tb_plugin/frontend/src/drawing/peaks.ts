// What is dear to find in millions of weights, and is found once: the largest, and means.

import type { Shown } from "../data/shown";

export interface Cell {
  map: number; // index into Shown.maps
  query: number;
  key: number;
  weight: number;
}

export const MOST_TOP = 100;
const tops = new WeakMap<Float32Array[], Cell[]>();
const means = new WeakMap<Float32Array, { row: Float32Array; column: Float32Array }>();

/** The largest weights of all maps, largest first, of equal ones the first; at most a hundred. */
export function largest({ maps, header }: Shown, count: number): Cell[] {
  let cells = tops.get(maps);
  if (!cells) {
    const keys = header.shape[2];
    cells = findLargest(maps).map(({ map, cell, weight }) => ({
      map,
      query: Math.floor(cell / keys),
      key: cell % keys,
      weight,
    }));
    tops.set(maps, cells);
  }
  return cells.slice(0, count);
}

function findLargest(maps: Float32Array[]): { map: number; cell: number; weight: number }[] {
  const found: { map: number; cell: number; weight: number }[] = [];
  let least = -1;
  for (const [map, weights] of maps.entries())
    for (let cell = 0; cell < weights.length; cell++) {
      const weight = weights[cell];
      if (!(weight > least)) continue;
      let place = found.length;
      while (place > 0 && found[place - 1].weight < weight) place--;
      found.splice(place, 0, { map, cell, weight });
      if (found.length > MOST_TOP) found.pop();
      if (found.length === MOST_TOP) least = found[MOST_TOP - 1].weight;
    }
  return found;
}

/** The mean of all rows, and the mean of all columns. */
export function meansOf(weights: Float32Array, keys: number): { row: Float32Array; column: Float32Array } {
  let found = means.get(weights);
  if (!found) {
    const queries = weights.length / keys;
    const row = new Float64Array(keys);
    const column = new Float32Array(queries);
    for (let query = 0, cell = 0; query < queries; query++) {
      let sum = 0;
      for (let key = 0; key < keys; key++, cell++) {
        sum += weights[cell];
        row[key] += weights[cell];
      }
      column[query] = sum / keys;
    }
    found = { row: Float32Array.from(row, (sum) => sum / queries), column };
    means.set(weights, found);
  }
  return found;
}
