// Over the cells: the axes' labels, and the crosshair.

import { setAttributes, svg } from "../drawing/dom";
import { LABEL_MOST, type Layout, OVERHANG, clip, textWidth, thin, widest } from "../drawing/layout";
import type { Shown } from "../data/shown";
import type { Cursor } from "../data/store";
import { axisName } from "../drawing/words";

const SLANT = Math.PI / 4;
const TITLE_LINE = 14;

/** Labels with the room that each takes along its axis. */
export interface Marks {
  hover: SVGGElement;
  profiles: SVGGElement;
  keys: Taken[];
  queries: Taken[];
}

interface Taken {
  label: SVGElement;
  from: number;
  to: number;
}

/** `reserved` is the width of a column when the whole map is shown: zooming does not move what is below. */
export function drawLabels(marks: SVGSVGElement, layout: Layout, shown: Shown, reserved: number): Marks {
  const { left, top, mapWidth, mapHeight, row, column, width, area } = layout;
  const { queries, keys, timeline, header } = shown;
  const bottom = top + mapHeight;
  const text = (x: number, y: number, label: string, attributes = {}) =>
    svg("text", { x, y, ...attributes }, label);
  const seen = (centre: number, length: number) => centre >= 0 && centre <= length;

  const most = widest(keys);
  // Every token matters; of days and indices a few are enough.
  const slants = (size: number) => header.keys.kind === "token" && most + 12 > size;
  const slanted = slants(column) && column >= 12;
  const right = left + width + OVERHANG;
  const keyLabels = thin(
    keys.length,
    column,
    slanted ? 0 : most + 14,
    Math.floor(area.key),
    Math.ceil(area.key + area.keys),
  ).flatMap((index): Taken[] => {
    const along = (index + 0.5 - area.key) * column;
    if (!seen(along, mapWidth)) return [];
    const label = clip(keys[index], LABEL_MOST);
    const long = textWidth(label);
    if (slanted) {
      const x = left + along + 4;
      const turned = { "text-anchor": "end", transform: `rotate(-45 ${x} ${bottom + 14})` };
      const from = x - long * Math.cos(SLANT) - 8;
      return [{ label: text(x, bottom + 14, label, turned), from, to: x + 4 }];
    }
    const x = Math.min(left + along, right - long / 2);
    const label_ = text(x, bottom + 18, label, { "text-anchor": "middle" });
    return [{ label: label_, from: x - long / 2, to: x + long / 2 }];
  });
  const rowLabels = thin(
    queries.length,
    row,
    row < 15 ? 30 : 15,
    Math.floor(area.query),
    Math.ceil(area.query + area.queries),
  ).flatMap((index): Taken[] => {
    const along = (index + 0.5 - area.query) * row;
    if (!seen(along, mapHeight)) return [];
    const y = top + along;
    const label = text(left - 10, y + 4, clip(queries[index], LABEL_MOST), { "text-anchor": "end" });
    return [{ label, from: y - 7, to: y + 7 }];
  });
  const dots = (width > mapWidth ? (timeline?.rows ?? []) : []).flatMap((x, index) =>
    x !== null && x * column > mapWidth
      ? [
          svg("circle", {
            class: "own-day",
            cx: left + x * column,
            cy: top + (index + 0.5) * row,
            r: Math.min(3.5, row / 2, column / 2),
          }),
        ]
      : [],
  );
  const deep = most * Math.sin(SLANT) + 24;
  const depth = slanted ? deep : 26;
  const hover = svg("g", { class: "hover" });
  const profiles = svg("g", { class: "profiles" });
  const ahead = svg("rect", {
    class: "ahead",
    x: left + mapWidth,
    y: 0,
    width: width - mapWidth,
    height: bottom,
  });
  marks.replaceChildren(
    ahead,
    text(0, TITLE_LINE, `${axisName(shown, "queries")} ↓`, { class: "axis" }),
    text(left, bottom + depth + 16, `${axisName(shown, "keys")} →`, { class: "axis" }),
    svg("g", { class: "keys" }, ...keyLabels.map(({ label }) => label)),
    svg("g", { class: "queries" }, ...rowLabels.map(({ label }) => label)),
    ...dots,
    profiles,
    hover,
  );
  setAttributes(marks, { width: right, height: bottom + (slants(reserved) ? deep : 26) + 24 });
  return { hover, profiles, keys: keyLabels, queries: rowLabels };
}

export function drawHover(marks: Marks, layout: Layout, shown: Shown, { query, key }: Cursor): void {
  const { left, top, mapWidth, mapHeight, row, column, width, area } = layout;
  const parts: SVGElement[] = [];
  const pill = (right: number, middle: number, label: string) => {
    const wide = textWidth(label) + 12;
    parts.push(
      svg("rect", { class: "pill", x: right - wide, y: middle - 10, width: wide, height: 20, rx: 4 }),
      svg("text", { class: "pill", x: right - 6, y: middle + 4, "text-anchor": "end" }, label),
    );
    return wide;
  };
  const [y, high] = seen(query, area.query, row, mapHeight);
  const [x, wide] = seen(key, area.key, column, mapWidth);
  marks.queries.forEach(({ label }) => label.classList.remove("near"));
  marks.keys.forEach(({ label }) => label.classList.remove("near"));
  if (query !== null && high > 0) {
    const own = width > mapWidth && shown.timeline?.rows[query];
    parts.push(svg("rect", { class: "line", x: left, y: top + y, width: mapWidth, height: high }));
    if (own && own * column > mapWidth)
      parts.push(svg("circle", { class: "own-day", cx: left + own * column, cy: top + y + high / 2, r: 5.5 }));
    const middle = top + y + high / 2;
    pill(left - 4, middle, clip(shown.queries[query], LABEL_MOST));
    hideCovered(marks.queries, middle - 10, middle + 10);
  }
  if (key !== null && wide > 0) {
    const label = clip(shown.keys[key], LABEL_MOST);
    parts.push(svg("rect", { class: "line", x: left + x, y: top, width: wide, height: mapHeight }));
    const end = Math.min(left + x + wide / 2 + textWidth(label) / 2 + 6, left + width + OVERHANG);
    hideCovered(marks.keys, end - pill(end, top + mapHeight + 14, label), end);
  }
  if (query !== null && key !== null && high > 0 && wide > 0) {
    const cell = { x: left + x, y: top + y, width: wide, height: high };
    parts.push(svg("rect", { class: "halo", ...cell }), svg("rect", { class: "cell", ...cell }));
  }
  marks.hover.replaceChildren(...parts);
}

/** Where a position begins on screen, and how much of it is seen. */
function seen(position: number | null, first: number, size: number, length: number): [from: number, seen: number] {
  if (position === null) return [0, 0];
  const from = Math.max(0, (position - first) * size);
  return [from, Math.min(length, (position + 1 - first) * size) - from];
}

/** Half a label beside the cursor's own would read as another label. */
function hideCovered(labels: Taken[], from: number, to: number): void {
  for (const one of labels) if (one.from < to && from < one.to) one.label.classList.add("near");
}
