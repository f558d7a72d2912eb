// The input series above the map on the same dates, and what was forecast and what came after them.

import { html, setAttributes, svg } from "../drawing/dom";
import { type Layout, layOut } from "../drawing/layout";
import { ticks } from "../drawing/scale";
import type { Shown } from "../data/shown";
import type { Selection, Store } from "../data/store";
import type { Line, Point, Timeline } from "./timeline";

const HEIGHT = 210;
const PAD = 14;
const DOT = 6.5; // radius of the day that a row attends to most

export function createSeries(store: Store): HTMLElement {
  const { state } = store;
  const legend = html("ul", { class: "legend" });
  const chart = svg("svg", {
    class: "chart",
    height: HEIGHT,
    role: "img",
    "aria-label": "Input series, forecast and target",
  });
  const input = html("select", { id: "series", "aria-label": "Input series" });
  input.addEventListener("change", () => void store.select({ series: input.value }));
  const root = html("section", { class: "series" }, html("div", { class: "series-head" }, input, legend), chart);

  let layout: Layout;
  let drawn: { shown: Shown | null; width: number } = { shown: null, width: 0 };
  let height: (value: number) => number;
  let dots: SVGGElement;
  let hover: SVGGElement;

  store.subscribe(() => {
    const { shown, width, view } = state;
    const timeline = shown?.timeline;
    root.hidden = !timeline || view !== "time";
    if (root.hidden || !shown || !timeline || width === 0) return;
    if (drawn.shown !== shown || drawn.width !== width) {
      drawn = { shown, width };
      layout = layOut(state, shown);
      height = scaleOf(timeline);
      dots = svg("g", { class: "attended" });
      hover = svg("g", { class: "hover" });
      setAttributes(chart, { width: layout.left + layout.width });
      input.hidden = timeline.inputs.length < 2;
      input.style.marginLeft = `${layout.left}px`;
      legend.style.marginLeft = `${input.hidden ? layout.left : 0}px`;
      input.replaceChildren(...timeline.inputs.map((name) => html("option", {}, name)));
      input.value = timeline.lines[0].name;
      chart.replaceChildren(
        ...drawAxes(timeline, layout, height),
        dots,
        ...timeline.lines.map((line) => drawLine(line, timeline, layout, height)),
        hover,
      );
    }
    const { query, key } = state.cursor;
    drawAttention(dots, shown, state.selection.floor, timeline, layout, height, query);
    drawHover(hover, timeline, layout, height, query, key);
    drawLegend(legend, shown, timeline, query);
  });

  chart.addEventListener("pointermove", (event) => {
    const { shown } = state;
    if (!shown?.timeline) return;
    const x = (event.clientX - chart.getBoundingClientRect().left - layout.left) / layout.column;
    const key = Math.floor(x);
    const query = shown.timeline.rows.findIndex((own) => own !== null && Math.floor(own) === key);
    const onMap = key >= 0 && key < shown.keys.length;
    store.set({
      cursor: { query: onMap ? state.cursor.query : query >= 0 ? query : null, key: onMap ? key : null },
    });
  });
  chart.addEventListener("pointerleave", () => store.set({ cursor: { query: null, key: null } }));
  return root;
}

function rangeOf({ lines }: Timeline): [low: number, high: number] {
  const values = lines.flatMap((line) => line.points.flatMap(({ value }) => (value === null ? [] : [value])));
  return values.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Infinity, -Infinity],
  );
}

function scaleOf(timeline: Timeline): (value: number) => number {
  const [low, high] = rangeOf(timeline);
  const span = high - low || Math.abs(high) || 1;
  return (value) => PAD + (HEIGHT - 2 * PAD) * (1 - (value - low + (high === low ? span / 2 : 0)) / span);
}

function drawAxes(
  timeline: Timeline,
  { left, column, width, mapWidth }: Layout,
  height: (value: number) => number,
): SVGElement[] {
  const { values: marks, format } = ticks(...rangeOf(timeline), 4);
  const grid = marks.flatMap((value) => {
    const y = height(value);
    return [
      svg("line", { class: "grid", x1: left, x2: left + width, y1: y, y2: y }),
      svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, format(value)),
    ];
  });
  if (timeline.columns * column <= mapWidth + 0.5) return grid;
  const ahead = svg("rect", {
    class: "ahead",
    x: left + mapWidth,
    y: 0,
    width: width - mapWidth,
    height: HEIGHT,
  });
  return [ahead, ...grid];
}

function drawLine(
  line: Line,
  { lines }: Timeline,
  { left, column }: Layout,
  height: (value: number) => number,
): SVGElement {
  const known = line.points.filter((point) => point.value !== null);
  const place = (point: Point) =>
    `${(left + point.x * column).toFixed(2)} ${height(point.value!).toFixed(2)}`;
  let path = "";
  let pen = "M";
  for (const point of line.points) {
    if (point.value !== null) path += `${pen}${place(point)}`;
    pen = point.value === null ? "M" : "L"; // a gap stays a gap
  }
  // What follows the input starts at its last value, so the eye sees the step that was forecast.
  const last = lines[0].points.filter((point) => point.value !== null).pop();
  if (line.role !== "input" && last && known[0]?.x > last.x)
    path = `M${place(last)}${path.replace("M", "L")}`;
  const marks =
    line.role !== "input" && column >= 5
      ? known.map((point) => svg("circle", { cx: left + point.x * column, cy: height(point.value!), r: 2.5 }))
      : [];
  return svg("g", { class: `series-${line.role}` }, svg("path", { d: path }), ...marks);
}

/** Each day as large as it is attended to, by the row under the cursor or by all rows on average, and from
 * the weight at which the colours begin. */
function drawAttention(
  group: SVGGElement,
  shown: Shown,
  floor: Selection["floor"],
  { lines }: Timeline,
  { left, column }: Layout,
  height: (value: number) => number,
  query: number | null,
): void {
  const attended = attentionOf(shown, query);
  const most = attended.reduce((a, b) => Math.max(a, b), 0);
  const least = floor !== "zero" ? attended.reduce((a, b) => Math.min(a, b), most) : 0;
  const shareOf = (weight: number) => (most > least ? (weight - least) / (most - least) : 0);
  if (lines[0].points.length > attended.length) {
    // Several days to a column: the column is what is attended to.
    group.replaceChildren(
      ...Array.from(attended, (weight, at) => {
        const [x, share] = [left + at * column, shareOf(weight)];
        return svg("rect", { x, y: 0, width: column, height: HEIGHT, "fill-opacity": 0.45 * share });
      }).filter((_, at) => shareOf(attended[at]) >= 1 / 400),
    );
    return;
  }
  const circles = lines[0].points.flatMap((point) => {
    const weight = attended[Math.floor(point.x)] ?? 0;
    const share = shareOf(weight);
    if (point.value === null || share < 1 / 400) return [];
    return [
      svg("circle", {
        cx: left + point.x * column,
        cy: height(point.value),
        r: DOT * Math.sqrt(share),
        "fill-opacity": 0.25 + 0.55 * share,
      }),
    ];
  });
  group.replaceChildren(...circles);
}

function attentionOf({ weights, header }: Shown, query: number | null): Float32Array {
  const [, queries, keys] = header.shape;
  if (query !== null) return weights.subarray(query * keys, (query + 1) * keys);
  const mean = new Float32Array(keys);
  weights.forEach((weight, cell) => (mean[cell % keys] += weight / queries));
  return mean;
}

function drawHover(
  group: SVGGElement,
  { lines, rows }: Timeline,
  { left, column }: Layout,
  height: (value: number) => number,
  query: number | null,
  key: number | null,
): void {
  const parts: SVGElement[] = [];
  const ring = (line: Line, point: Point) =>
    svg("circle", {
      class: `ring series-${line.role}`,
      cx: left + point.x * column,
      cy: height(point.value!),
      r: 5,
    });
  if (key !== null) {
    const x = left + (key + 0.5) * column;
    parts.push(svg("line", { class: "cursor", x1: x, x2: x, y1: 0, y2: HEIGHT }));
    for (const point of lines[0].points)
      if (Math.floor(point.x) === key && point.value !== null) parts.push(ring(lines[0], point));
  }
  const own = query === null ? null : rows[query];
  for (const line of lines.slice(1)) {
    for (const point of line.points)
      if (point.x === own && point.value !== null) parts.push(ring(line, point));
  }
  group.replaceChildren(...parts);
}

function drawLegend(
  legend: HTMLElement,
  shown: Shown,
  { lines }: Timeline,
  query: number | null,
): void {
  const item = (kind: string, name: string) => {
    const swatch = svg("svg", { width: 26, height: 12, class: kind, "aria-hidden": "true" });
    swatch.append(
      kind === "attended"
        ? svg("circle", { cx: 13, cy: 6, r: 5, "fill-opacity": 0.8 })
        : svg("path", { d: "M1 6H25" }),
    );
    return html("li", {}, swatch, name);
  };
  const whose = query === null ? "mean of all rows" : `row ${shown.queries[query]}`;
  legend.replaceChildren(
    ...lines.map((line) => item(`series-${line.role}`, line.name)),
    item("attended", `attention on that day, ${whose}`),
  );
}
