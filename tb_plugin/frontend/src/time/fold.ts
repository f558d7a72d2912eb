// Patches of a picture of a series, folded to time: those that stand above each other are the same time.

import { type Axis, type Series, classTokens } from "../data/record";
import type { Shown } from "../data/shown";
import { alignSeries } from "./timeline";

/** Whether the keys are patches in columns of time: some series goes evenly into the columns of their grid. */
export function foldable({ header, series }: Shown): boolean {
  const grid = header.keys.grid;
  return grid !== null && header.keys.kind === "patch" && series.some((one) => spans(one, grid[1]));
}

/** Over time where it can be: keys that stand above each other summed, queries on the same grid averaged. */
export function inTime(shown: Shown, chosen: string | null): Shown {
  if (!foldable(shown)) return shown;
  const { header } = shown;
  const [, columns] = header.keys.grid!;
  const alike = header.queries.kind === "patch" && header.queries.grid?.[1] === columns;
  const rows = alike ? columns : header.shape[1];
  const [firstQuery, firstKey] = [alike ? classTokens(header.queries) : 0, classTokens(header.keys)];
  const perRow = (header.shape[1] - firstQuery) / rows;
  const maps = shown.maps.map((map) => {
    const folded = new Float32Array(rows * columns);
    map.forEach((weight, cell) => {
      const query = Math.floor(cell / header.shape[2]) - firstQuery;
      const key = (cell % header.shape[2]) - firstKey;
      if (query >= 0 && key >= 0)
        folded[(alike ? query % columns : query) * columns + (key % columns)] += weight / perRow;
    });
    return folded;
  });

  const input = shown.series.find((one) => spans(one, columns))!;
  const inputs = shown.series.filter((one) => spans(one, columns) && one.values.length === input.values.length);
  const keys = spanNames(input, columns);
  const time: Axis = { kind: "time", length: columns, labels: keys, grid: null };
  const timeline = alignSeries(
    { labels: null, count: columns, full: input.values.length },
    { labels: null, count: rows, full: header.full[0] },
    inputs,
    chosen,
  );
  return {
    ...shown,
    header: {
      ...header,
      shape: [header.shape[0], rows, columns],
      full: [alike ? input.values.length : header.full[0], input.values.length],
      queries: alike ? time : header.queries,
      keys: time,
    },
    maps,
    weights: maps[0],
    max: maps.reduce((most, map) => map.reduce((a, b) => (b > a ? b : a), most), 0),
    queries: alike ? keys : shown.queries,
    keys,
    timeline: timeline && { ...timeline, rows: alike ? keys.map((_, column) => column + 0.5) : [] },
    patches: shown,
  };
}

function spans({ role, values }: Series, columns: number): boolean {
  return role === "input" && values.length >= columns && values.length % columns === 0;
}

function spanNames({ labels }: Series, columns: number): string[] {
  const each = labels.length / columns;
  return Array.from({ length: columns }, (_, column) => {
    const [first, last] = [labels[column * each], labels[(column + 1) * each - 1]];
    return first === last ? first : `${first} – ${last}`;
  });
}
