// Curves over the steps: thin lines on a canvas, however many, and in an SVG above it what changes with the pointer.

import { html, setAttributes, svg } from "../drawing/dom";
import { ticks } from "../drawing/scale";

export interface Curve {
  name: string;
  values: (number | null)[]; // one a step
}

export interface Point {
  line: number | null; // null is the mean
  index: number; // of a step
}

/** What all charts below each other share. */
export interface Ground {
  steps: number[];
  width: number;
  dark: boolean;
}

export const LEFT = 84; // of a date, too
const TOP = 8;
const HEIGHT = 132;
const BOTTOM = 22;

/** Where a step stands: in the middle of a column that reaches half-way to its neighbours. */
export function place({ steps, width }: Ground): { x: (step: number) => number; edges: number[] } {
  const [first, last] = [steps[0], steps[steps.length - 1]];
  const half = steps.length > 1 ? (last - first) / (steps.length - 1) / 2 : 1;
  const x = (step: number) => LEFT + ((step - first + half) / (last - first + 2 * half)) * (width - LEFT - 8);
  const between = steps.slice(1).map((step, index) => x((step + steps[index]) / 2));
  return { x, edges: [x(first - half), ...between, x(last + half)] };
}

/** The step whose column holds `x`. */
export function stepAt(edges: number[], x: number): number {
  const after = edges.findIndex((edge) => edge > x);
  return Math.max(0, Math.min(edges.length - 2, after < 0 ? edges.length - 2 : after - 1));
}

export function stepLabels(ground: Ground, y: number): SVGElement[] {
  const { steps, width } = ground;
  const { x } = place(ground);
  const { values, format } = ticks(steps[0], steps[steps.length - 1], Math.max(2, Math.floor(width / 110)));
  const whole = steps.length > 1 ? values.filter(Number.isInteger) : steps;
  return whole.map((step) => svg("text", { x: x(step), y, "text-anchor": "middle" }, format(step)));
}

export function createChart(title: string, pointed: (point: Point | null) => void, picked: (index: number) => void) {
  const value = html("output", {});
  const canvas = html("canvas", { tabindex: 0, role: "img" });
  const marks = svg("svg", { class: "marks", "aria-hidden": "true" });
  const heading = html("h2", {}, title, " ", value);
  const root = html("figure", { class: "curves" }, heading, html("div", { class: "plot" }, canvas, marks));
  const hover = svg("g", {});
  let lines: Curve[] = [];
  let mean: (number | null)[] = [];
  let ground: Ground;
  let drawnWith = "";
  let edges: number[] = [];
  let x: (step: number) => number;
  let y: (value: number) => number;
  let at: Point | null = null;
  let now = 0;

  function draw(curves: Curve[], wanted: Ground): void {
    const look = [wanted.width, wanted.dark, wanted.steps.length].join();
    if (lines === curves && look === drawnWith) return;
    [lines, ground, drawnWith] = [curves, wanted, look];
    mean = ground.steps.map((_, index) => meanOf(lines.map(({ values }) => values[index])));
    ({ x, edges } = place(ground));
    const all = lines.flatMap(({ values }) => values.filter((one) => one !== null)) as number[];
    const low = all.reduce((a, b) => Math.min(a, b), Infinity);
    const high = all.reduce((a, b) => Math.max(a, b), -Infinity);
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.1;
    const [bottom, top] = all.length > 0 ? [Math.max(low - room, Math.min(0, low)), high + room] : [0, 1];
    y = (value) => TOP + HEIGHT * (1 - (value - bottom) / (top - bottom));
    const { values, format } = ticks(bottom, top, 5);
    marks.replaceChildren(
      ...values.flatMap((one) => [
        svg("line", { class: "grid", x1: LEFT, x2: ground.width - 8, y1: y(one), y2: y(one) }),
        svg("text", { x: LEFT - 8, y: y(one) + 4, "text-anchor": "end" }, format(one)),
      ]),
      ...stepLabels(ground, TOP + HEIGHT + 18),
      hover,
    );
    setAttributes(marks, { width: ground.width, height: TOP + HEIGHT + BOTTOM });
    setAttributes(canvas, {
      "aria-label": `${title} over ${ground.steps.length} steps: ${lines.length} curves. Arrow keys move, Enter goes to the step.`,
    });
    paint();
  }

  function paint(): void {
    const density = window.devicePixelRatio || 1;
    const height = TOP + HEIGHT + BOTTOM;
    canvas.style.cssText = `width:${ground.width}px;height:${height}px`;
    canvas.width = Math.round(ground.width * density);
    canvas.height = Math.round(height * density);
    const context = canvas.getContext("2d")!;
    const style = getComputedStyle(root);
    context.scale(density, density);
    context.lineJoin = "round";
    const stroke = (values: (number | null)[], colour: string, alpha: number, width: number) => {
      context.beginPath();
      walk(values, (px, py, pen) => {
        if (pen) context.lineTo(px, py);
        else {
          context.moveTo(px, py);
          context.lineTo(px + 0.01, py); // one that stands alone is a dot
        }
      });
      [context.strokeStyle, context.globalAlpha, context.lineWidth] = [colour, alpha, width];
      context.lineCap = "round";
      context.stroke();
    };
    const alone = lines.length === 1;
    const alpha = Math.max(0.15, Math.min(0.5, 6 / lines.length));
    for (const { values } of lines)
      stroke(values, style.getPropertyValue("--attended"), alone ? 1 : alpha, alone ? 2 : 1);
    if (!alone) stroke(mean, style.getPropertyValue("--text"), 1, 2);
  }

  function walk(values: (number | null)[], to: (x: number, y: number, pen: boolean) => void): void {
    let pen = false;
    values.forEach((one, index) => {
      if (one !== null) to(x(ground.steps[index]), y(one), pen);
      pen = one !== null;
    });
  }

  /** The step on the slider, the curve that stands out, and the step that is pointed at. */
  function mark(current: number, line: number | null, pointedAt: number | null): void {
    now = current;
    const index = pointedAt ?? current;
    const parts: SVGElement[] = [];
    const upright = (step: number, kind: string) => {
      const px = x(ground.steps[step]);
      parts.push(svg("line", { class: kind, x1: px, x2: px, y1: TOP, y2: TOP + HEIGHT }));
    };
    upright(current, "now");
    if (pointedAt !== null) upright(pointedAt, "cursor");
    const one = line === null ? undefined : lines[line];
    if (one && lines.length > 1) {
      let path = "";
      walk(one.values, (px, py, pen) => (path += `${pen ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`));
      parts.push(svg("path", { d: path }));
    }
    const values = one?.values ?? mean;
    if (values[index] != null)
      parts.push(svg("circle", { cx: x(ground.steps[index]), cy: y(values[index]!), r: 3.5, class: one ? "one" : "all" }));
    hover.replaceChildren(...parts);
    const alone = lines.length === 1;
    const said = [one && !alone ? `${one.name} ${written(one.values[index])}` : "", alone ? "" : "mean "];
    value.textContent = said.filter(Boolean).join(", ") + written(mean[index]);
    setAttributes(root, {
      "data-step": ground.steps[index],
      "data-mean": mean[index] ?? false,
      "data-line": one ? one.name : false,
      "data-value": one?.values[index] ?? false,
    });
  }

  function tell(point: Point | null): void {
    at = point;
    pointed(point);
  }
  canvas.addEventListener("pointermove", (event) => {
    const index = stepAt(edges, event.offsetX);
    let [line, away]: [number | null, number] = [null, Infinity];
    lines.forEach(({ values }, one) => {
      const distance = values[index] === null ? Infinity : Math.abs(y(values[index]!) - event.offsetY);
      if (distance < away) [line, away] = [one, distance];
    });
    const toMean = mean[index] === null ? Infinity : Math.abs(y(mean[index]!) - event.offsetY);
    tell({ line: toMean < away || away > 40 ? null : line, index });
  });
  canvas.addEventListener("pointerleave", () => {
    if (document.activeElement !== canvas) tell(null);
  });
  canvas.addEventListener("blur", () => tell(null));
  canvas.addEventListener("click", () => at && picked(at.index));
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && at) return picked(at.index);
    if (event.key === "Escape") return tell(null);
    const { line, index } = at ?? { line: null, index: now };
    const over = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!over) return;
    event.preventDefault();
    const next = (line ?? -1) + over[1];
    tell({
      line: next < 0 ? null : Math.min(lines.length - 1, next),
      index: Math.max(0, Math.min(ground.steps.length - 1, index + over[0])),
    });
  });

  return { root, draw, mark };
}

function meanOf(values: (number | null)[]): number | null {
  const known = values.filter((one) => one != null) as number[];
  return known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : null;
}

function written(value: number | null | undefined): string {
  return value == null ? "–" : value.toPrecision(4);
}
