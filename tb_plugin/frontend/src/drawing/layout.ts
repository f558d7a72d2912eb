// One set of measures for the series and the map, so that a day has the same x in both.

import type { Shown } from "../data/shown";
import type { State } from "../data/store";

/** The part of a map that is on screen, in cells: a whole map, or what was zoomed in on. */
export interface Area {
  query: number;
  key: number;
  queries: number;
  keys: number;
}

export interface Layout {
  left: number; // of the map
  top: number; // of the map, over which are the query axis' title and the row profile
  column: number; // width of a column
  row: number; // height of a row
  width: number; // of all columns, those after the map included
  mapWidth: number;
  mapHeight: number;
  area: Area;
}

export const TITLE = 24; // height of the query axis' title
export const PROFILE = 52; // height of the row profile, width of the column profile,
export const PROFILE_GAP = 10; // their distance from the map,
const PROFILE_ROOM = 104; // and what the column profile takes with its words
export const LABEL_MOST = 160; // pixels of a label on an axis
export const OVERHANG = 36; // of the last label, into the page's margin
const FONT = '12px -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const ROW_MOST = 36;
const ROW_NAMED = 16; // high enough for a label in each row,
const EACH_NAMED = 64; // up to so many rows
const COLUMN_MOST = 48;
const MEASURED = 100; // of thousands of labels
const canvas = document.createElement("canvas").getContext("2d")!;
const widths = new WeakMap<string[], number>();

canvas.font = FONT;

export function textWidth(text: string): number {
  return canvas.measureText(text).width;
}

/** `text`, cut to `most` pixels. */
export function clip(text: string, most: number): string {
  if (textWidth(text) <= most) return text;
  let end = Math.min(text.length, Math.ceil(most / 2));
  while (end > 1 && textWidth(`${text.slice(0, end)}…`) > most) end--;
  return `${text.slice(0, end)}…`;
}

/** Of the widest label on an axis, which is one of those with the most letters; measured once. */
export function widest(labels: string[]): number {
  let width = widths.get(labels);
  if (width === undefined) {
    const long = [...labels].sort((a, b) => b.length - a.length).slice(0, MEASURED);
    width = long.reduce((most, label) => Math.max(most, Math.min(LABEL_MOST, textWidth(label))), 0);
    widths.set(labels, width);
  }
  return width;
}

export function layOut(state: State, shown: Shown): Layout {
  const [, queries, keys] = shown.header.shape;
  const timed = state.view === "time" && shown.timeline !== null;
  const profiles = state.view === "map";
  const columns = timed ? shown.timeline!.columns : keys;
  const left = Math.ceil(Math.max(64, widest(shown.queries) + 16));
  // With its series the map stands below the controls, above the fold; alone it may fill a window.
  const most = Math.max(360, window.innerHeight - (profiles ? 240 : 400));
  const named = queries <= EACH_NAMED && (!profiles || shown.header.queries.kind === "token");
  const least = named ? ROW_NAMED : profiles ? 0 : 1;
  const room = Math.max(200, state.width - left - (profiles ? PROFILE_ROOM : 0));
  // A row of a square map is no higher than its columns can be wide.
  const row = Math.min(ROW_MOST, Math.max(least, most / queries), queries === keys ? room / keys : Infinity);
  const column = timed ? room / columns : Math.min(room / columns, queries === keys ? row : COLUMN_MOST);
  return {
    left,
    top: TITLE + (profiles ? PROFILE + PROFILE_GAP : 0),
    column,
    row,
    width: column * columns,
    mapWidth: column * keys,
    mapHeight: row * queries,
    area: { query: 0, key: 0, queries, keys },
  };
}

/** The same frame on the page, with a part of the map in it. */
export function zoomedTo(layout: Layout, area: Area): Layout {
  return { ...layout, area, row: layout.mapHeight / area.queries, column: layout.mapWidth / area.keys };
}

/** The indices between `first` and `end`, counted from the last of all, whose labels stand `apart` pixels from each other. */
export function thin(count: number, size: number, apart: number, first = 0, end = count): number[] {
  const stride = Math.max(1, Math.ceil(apart / size));
  const kept: number[] = [];
  for (let index = count - 1 - stride * Math.ceil((count - end) / stride); index >= first; index -= stride)
    if (index < end) kept.push(index);
  return kept.reverse();
}
