// Where each day of the input, forecast and target series stands over the columns of a map.

import type { Series } from "../data/record";

/** `x` counts columns from the map's left edge: the centre of column j is j + 0.5. */
export interface Point {
  x: number;
  value: number | null;
  label: string;
}

export interface Line {
  name: string;
  role: Series["role"];
  points: Point[];
}

export interface Timeline {
  lines: Line[];
  columns: number; // the map's, and one for each query date that lies after them
  rows: number[]; // x of each query's own date; empty where nothing tells
  inputs: string[]; // the series that can be drawn; one of them is
}

export interface Days {
  labels: string[] | null;
  count: number;
  full: number; // before pooling
}

/** The x of each query's own date, a column of its own for each that is no key's, and the columns in all. */
export function placeQueries(keys: Days, queries: Days): { rows: number[]; columns: number } {
  const columnOf = new Map(keys.labels?.map((label, column) => [label, column + 0.5]));
  let columns = keys.count;
  const rows = Array.from({ length: queries.count }, (_, row) => {
    const known = queries.labels && columnOf.get(queries.labels[row]);
    return known ?? columns++ + 0.5;
  });
  return { rows, columns };
}

export function alignSeries(
  keys: Days,
  queries: Days,
  series: Series[],
  chosen: string | null = null,
): Timeline | null {
  const follows =
    queries.labels !== null || series.some((s) => s.role !== "input" && s.values.length === queries.full);
  const { rows, columns } = follows ? placeQueries(keys, queries) : { rows: [], columns: keys.count };
  const columnOf = new Map<string, number>();
  keys.labels?.forEach((label, column) => columnOf.set(label, column + 0.5));
  queries.labels?.forEach((label, row) => columnOf.set(label, rows[row]));

  const lines = series.map((series) => {
    const days = series.role === "input" ? keys : queries;
    const start = series.role === "input" ? 0 : (rows[0] ?? keys.count + 0.5) - 0.5;
    const byLabel = series.labels.some((label) => columnOf.has(label));
    const place = (index: number) => {
      if (byLabel) return columnOf.get(series.labels[index]);
      if (series.values.length === days.full) return start + ((index + 0.5) * days.count) / days.full;
      return undefined;
    };
    const points: Point[] = [];
    series.values.forEach((value, index) => {
      const x = place(index);
      if (x !== undefined) points.push({ x, value, label: series.labels[index] });
    });
    return { name: series.name, role: series.role, points };
  });

  const inputs = lines.filter(
    (line) => line.role === "input" && line.points.some((point) => point.value !== null),
  );
  if (inputs.length === 0) return null;
  // Other inputs have units of their own; forecast and target share the first one's axis.
  const input = inputs.find((line) => line.name === chosen) ?? inputs[0];
  const others = input === inputs[0] ? lines.filter((line) => line.role !== "input" && line.points.length > 0) : [];
  return { lines: [input, ...others], columns, rows, inputs: inputs.map((line) => line.name) };
}
