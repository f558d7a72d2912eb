// The lag profile: attention by the distance between query and key, corrected for opportunity.

import { labelsOf } from "../data/record";
import type { Shown } from "../data/shown";
import { placeQueries } from "./timeline";

/** `values[i]` is of the lag `first + i`, in bins of `bin` steps; where no pair has it, `pairs` is 0. */
export interface Profile {
  first: number;
  bin: number;
  values: Float32Array; // times an even share of a row
  pairs: Uint32Array;
}

/** How many keys' breadths each query stands from the first key; null where nothing tells. */
export function placesOf(shown: Shown): number[] | null {
  const { header, timeline, sample } = shown;
  const [, queries, keys] = header.shape;
  const bin = header.full[1] / keys;
  const ahead = header.full[0] / queries / bin; // breadth of a query that comes after the keys
  const placed = (rows: number[]) => rows.map((x) => (x <= keys ? x - 0.5 : keys + (x - keys - 0.5) * ahead));
  if (timeline && timeline.rows.length > 0) return placed(timeline.rows);
  const labels = { queries: labelsOf(header.queries, sample), keys: labelsOf(header.keys, sample) };
  if (labels.queries && labels.keys) {
    return placed(
      placeQueries(
        { labels: labels.keys, count: keys, full: header.full[1] },
        { labels: labels.queries, count: queries, full: header.full[0] },
      ).rows,
    );
  }
  const alike = header.queries.kind === header.keys.kind && header.full[0] === header.full[1];
  return alike && queries === keys ? Array.from({ length: queries }, (_, row) => row) : null;
}

/** The mean over all pairs at each lag of `weight · n / Σ row`, n being the keys that the row may attend to.
 *
 * Uncorrected, short lags would win: more pairs have them, and where no key may lie ahead, rows are short. */
export function meanProfile(shown: Shown, places: number[] | null): Profile | null {
  if (places === null) return null;
  const [, queries, keys] = shown.header.shape;
  const causal = isCausal(shown, places);
  const first = Math.min(...places.map(Math.round)) - (keys - 1);
  const last = Math.max(...places.map(Math.round));
  const from = causal ? Math.max(0, first) : first;
  const values = new Float32Array(last - from + 1);
  const pairs = new Uint32Array(last - from + 1);
  for (let query = 0; query < queries; query++) {
    eachLag(shown, places, query, causal, (lag, value) => {
      values[lag - from] += value;
      pairs[lag - from]++;
    });
  }
  values.forEach((sum, index) => (values[index] = pairs[index] ? sum / pairs[index] : 0));
  return { first: from, bin: shown.header.full[1] / keys, values, pairs };
}

/** That of one row, over the lags of `like`. */
export function rowProfile(shown: Shown, places: number[], query: number, like: Profile): Profile {
  const values = new Float32Array(like.values.length);
  const pairs = new Uint32Array(like.values.length);
  eachLag(shown, places, query, isCausal(shown, places), (lag, value) => {
    values[lag - like.first] = value;
    pairs[lag - like.first] = 1;
  });
  return { ...like, values, pairs };
}

function eachLag(
  { weights, header }: Shown,
  places: number[],
  query: number,
  causal: boolean,
  tell: (lag: number, value: number) => void,
): void {
  const keys = header.shape[2];
  const place = Math.round(places[query]);
  const allowed = causal ? Math.min(keys, place + 1) : keys;
  const row = weights.subarray(query * keys, query * keys + allowed);
  const sum = row.reduce((a, b) => a + b, 0);
  if (sum === 0) return; // a masked row attends to nothing, at no lag
  row.forEach((weight, key) => tell(place - key, (weight * allowed) / sum));
}

/** Whether some key lies ahead of its query, and none of these has any weight. */
function isCausal({ weights, header }: Shown, places: number[]): boolean {
  const keys = header.shape[2];
  let ahead = 0;
  for (let query = 0; query < places.length; query++) {
    for (let key = Math.round(places[query]) + 1; key < keys; key++) {
      if (weights[query * keys + key] > 0) return false;
      ahead++;
    }
  }
  return ahead > 0;
}

const MOST = 3;

/** The lags that stand above their neighbours and above an even share, the strongest first; not those of too
 * few pairs to tell. */
export function strongest({ first, values, pairs }: Profile): number[] {
  const enough = pairs.reduce((a, b) => Math.max(a, b), 0) / 4;
  const there = (index: number) => (pairs[index] > 0 ? values[index] : -Infinity);
  return Array.from(values.keys())
    .filter((index) => pairs[index] > 0 && pairs[index] >= enough && first + index !== 0 && values[index] > 1)
    .filter((index) => {
      const [before, after] = [index - 1, index + 1].map((at) => (at in values ? there(at) : -Infinity));
      return values[index] > before && values[index] >= after;
    })
    .sort((a, b) => values[b] - values[a])
    .slice(0, MOST);
}
