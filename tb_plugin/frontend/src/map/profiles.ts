// Beside the map: the weights of the row and of the column under the cursor, or the means of all.

import { svg } from "../drawing/dom";
import { type Layout, PROFILE, PROFILE_GAP } from "../drawing/layout";
import { meansOf } from "../drawing/peaks";
import { formatWeight, shareOf } from "../drawing/scale";
import type { Shown } from "../data/shown";
import type { Cursor, Selection } from "../data/store";

/** On the colours' scale, from 0 to the largest weight of the row or column. */
export function drawProfiles(
  group: SVGGElement,
  layout: Layout,
  { weights, header }: Shown,
  { query, key }: Cursor,
  scale: Selection["scale"],
): void {
  const { left, top, mapWidth, mapHeight, area } = layout;
  const [, queries, keys] = header.shape;
  const row = query === null ? meansOf(weights, keys).row : weights.subarray(query * keys, (query + 1) * keys);
  const column =
    key === null
      ? meansOf(weights, keys).column
      : Float32Array.from({ length: queries }, (_, each) => weights[each * keys + key]);
  const [rowMost, columnMost] = [row, column].map((profile) => profile.reduce((a, b) => Math.max(a, b), 0));
  const base = top - PROFILE_GAP;
  const side = left + mapWidth + PROFILE_GAP;
  const word = (x: number, y: number, label: string, anchor: string) =>
    svg("text", { x, y, "text-anchor": anchor }, label);
  group.replaceChildren(
    svg("path", {
      class: "profile row-profile",
      d: outline(row, area.key, area.keys, mapWidth, shareOf(scale, 0, rowMost), (along, up) => [
        left + along,
        base - up,
      ]),
      "data-most": rowMost,
    }),
    svg("path", {
      class: "profile column-profile",
      d: outline(column, area.query, area.queries, mapHeight, shareOf(scale, 0, columnMost), (along, up) => [
        side + up,
        top + along,
      ]),
      "data-most": columnMost,
    }),
    svg("path", {
      class: "grid",
      d: `M${left} ${base + 0.5}h${mapWidth}M${side - 0.5} ${top}v${mapHeight}`,
    }),
    word(left - 10, base - PROFILE + 10, query === null ? "mean row" : "row", "end"),
    word(left - 10, base - PROFILE + 26, formatWeight(rowMost), "end"),
    word(side, base - 18, key === null ? "mean column" : "column", "start"),
    word(side, base - 2, formatWeight(columnMost), "start"),
  );
}

/** Steps as wide as cells; of cells narrower than a pixel, the largest on each pixel. */
function outline(
  profile: Float32Array,
  first: number,
  count: number,
  length: number,
  share: (weight: number) => number,
  at: (along: number, up: number) => [x: number, y: number],
): string {
  const steps = Math.min(Math.ceil(length), Math.ceil(first + count) - Math.floor(first));
  const narrow = count > length;
  const points: string[] = [];
  const point = (along: number, up: number) =>
    points.push(
      at(Math.max(0, Math.min(length, along)), up)
        .map((place) => place.toFixed(1))
        .join(" "),
    );
  point(0, 0);
  for (let step = 0; step < steps; step++) {
    const [from, to] = narrow
      ? [first + (step * count) / steps, first + ((step + 1) * count) / steps]
      : [Math.floor(first) + step, Math.floor(first) + step + 1];
    let most = 0;
    for (let cell = Math.floor(from); cell < Math.min(profile.length, Math.ceil(to)); cell++)
      most = Math.max(most, profile[cell]);
    const up = share(most) * PROFILE;
    point(((from - first) * length) / count, up);
    point(((to - first) * length) / count, up);
  }
  point(length, 0);
  return `M${points.join("L")}`;
}
