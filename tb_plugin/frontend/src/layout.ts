// One set of measures for the series and the map, so that a day has the same x in both.

import type { Shown, State } from "./store";

export interface Layout {
  left: number; // of the map's first column
  column: number; // width of a column
  row: number; // height of a row
  width: number; // of all columns, those after the map included
  mapWidth: number;
  mapHeight: number;
}

export const LABEL_MOST = 160; // pixels of a label on an axis
export const OVERHANG = 36; // of the last label, into the page's margin
const FONT = '12px -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const ROW_MOST = 36;
const ROW_NAMED = 16; // high enough for a label in each row,
const EACH_NAMED = 64; // up to so many rows
const COLUMN_MOST = 48;
const canvas = document.createElement("canvas").getContext("2d")!;

export function textWidth(text: string): number {
  canvas.font = FONT;
  return canvas.measureText(text).width;
}

/** `text`, cut to `most` pixels. */
export function clip(text: string, most: number): string {
  if (textWidth(text) <= most) return text;
  let end = Math.min(text.length, Math.ceil(most / 2));
  while (end > 1 && textWidth(`${text.slice(0, end)}…`) > most) end--;
  return `${text.slice(0, end)}…`;
}

export function layOut(state: State, shown: Shown): Layout {
  const [, queries, keys] = shown.header.shape;
  const columns = shown.timeline?.columns ?? keys;
  const widest = shown.queries.reduce((most, label) => Math.max(most, textWidth(clip(label, LABEL_MOST))), 0);
  const left = Math.ceil(Math.max(64, widest + 16));
  const most = Math.max(360, window.innerHeight - 400); // below the controls, above the fold
  const least = queries <= EACH_NAMED ? ROW_NAMED : 1;
  const row = Math.min(ROW_MOST, Math.max(least, most / queries));
  const room = Math.max(200, state.width - left) / columns;
  const column = shown.timeline ? room : Math.min(room, queries === keys ? row : COLUMN_MOST);
  return { left, column, row, width: column * columns, mapWidth: column * keys, mapHeight: row * queries };
}

/** The indices, counted from the last, whose labels stand at least `apart` pixels from each other. */
export function thin(count: number, size: number, apart: number): number[] {
  const stride = Math.max(1, Math.ceil(apart / size));
  const kept: number[] = [];
  for (let index = count - 1; index >= 0; index -= stride) kept.unshift(index);
  return kept;
}
