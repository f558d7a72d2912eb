// Where each day of the input, forecast and target series stands over the columns of a map.

import type { InputsSample, Series } from "./record";

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
  rows: (number | null)[]; // x of each query's own date
}

export interface Days {
  labels: string[] | null;
  count: number;
  full: number; // before pooling
}

export function alignSeries(keys: Days, queries: Days, sample: InputsSample): Timeline | null {
  const columnOf = new Map<string, number>();
  keys.labels?.forEach((label, column) => columnOf.set(label, column + 0.5));

  const follows =
    queries.labels !== null ||
    sample.series.some((s) => s.role !== "input" && s.values.length === queries.full);
  let columns = keys.count;
  const rows = Array.from({ length: follows ? queries.count : 0 }, (_, row) => {
    const known = queries.labels && columnOf.get(queries.labels[row]);
    return known ?? columns++ + 0.5;
  });
  queries.labels?.forEach((label, row) => columnOf.set(label, rows[row]));

  const lines = sample.series.map((series) => {
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

  const input = lines.find(
    (line) => line.role === "input" && line.points.some((point) => point.value !== null),
  );
  if (!input) return null;
  // Other inputs have units of their own; forecast and target share the first one's axis.
  return {
    lines: [input, ...lines.filter((line) => line.role !== "input" && line.points.length > 0)],
    columns,
    rows,
  };
}
