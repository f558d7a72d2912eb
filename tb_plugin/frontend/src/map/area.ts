// Zooming and panning: which part of a map is on screen, and the gestures that change it.

import type { Area } from "../drawing/layout";

const FEWEST = 5; // cells in a row or column, at the highest zoom
const STEP = 1.5; // of a key or a button

export function whole([queries, keys]: readonly number[]): Area {
  return { query: 0, key: 0, queries, keys };
}

export function isWhole(area: Area, [queries, keys]: readonly number[]): boolean {
  return area.queries === queries && area.keys === keys;
}

/** The part that is `factor` times as large on screen, with the same cell at the place `(x, y)`, 0 to 1. */
export function zoomed(area: Area, factor: number, x: number, y: number, shape: readonly number[]): Area {
  const fewer = (cells: number, all: number) => {
    const wanted = Math.max(cells / factor, Math.min(all, FEWEST));
    return wanted > all - 0.01 ? all : wanted;
  };
  const queries = fewer(area.queries, shape[0]);
  const keys = fewer(area.keys, shape[1]);
  return inside(
    {
      queries,
      keys,
      query: area.query + y * (area.queries - queries),
      key: area.key + x * (area.keys - keys),
    },
    shape,
  );
}

export function panned(area: Area, queries: number, keys: number, shape: readonly number[]): Area {
  return inside({ ...area, query: area.query + queries, key: area.key + keys }, shape);
}

/** The part, moved by as little as brings a cell into it. */
export function including(area: Area, query: number, key: number, shape: readonly number[]): Area {
  const near = (start: number, length: number, cell: number) =>
    Math.max(cell + 1 - length, Math.min(start, cell));
  return inside(
    { ...area, query: near(area.query, area.queries, query), key: near(area.key, area.keys, key) },
    shape,
  );
}

function inside(area: Area, [queries, keys]: readonly number[]): Area {
  const within = (start: number, room: number) => Math.max(0, Math.min(start, room));
  return {
    ...area,
    query: within(area.query, queries - area.queries),
    key: within(area.key, keys - area.keys),
  };
}

/** What a pressed key makes of the part, or null where it is no key of ours. */
export function keyed(
  area: Area,
  { key, shiftKey }: KeyboardEvent,
  x: number,
  y: number,
  shape: readonly number[],
): Area | null {
  if (key === "+" || key === "=") return zoomed(area, STEP, x, y, shape);
  if (key === "-" || key === "_") return zoomed(area, 1 / STEP, x, y, shape);
  if (key === "0") return whole(shape);
  const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
  if (!by || !shiftKey) return null;
  return panned(area, (by[0] * area.queries) / 8, (by[1] * area.keys) / 8, shape);
}

interface Gestures {
  isOn: () => boolean;
  area: () => Area;
  shape: () => readonly number[];
  show: (area: Area) => void;
}

/** Wheel, pinch, drag and double click. */
export function watchGestures(canvas: HTMLCanvasElement, { isOn, area, shape, show }: Gestures): void {
  const down = new Map<number, [x: number, y: number]>();

  function place(clientX: number, clientY: number): [x: number, y: number] {
    const box = canvas.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  }

  canvas.addEventListener(
    "wheel",
    (event) => {
      // A page that scrolls already goes on scrolling, and one that shows the whole map may begin to.
      if (!isOn() || !event.cancelable) return;
      if (event.deltaY > 0 && !event.ctrlKey && isWhole(area(), shape())) return;
      event.preventDefault();
      const turned = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
      // A pinch on a touch pad arrives as a wheel with control.
      const factor = Math.exp(-turned * (event.ctrlKey ? 0.01 : 0.002));
      show(zoomed(area(), factor, ...place(event.clientX, event.clientY), shape()));
    },
    { passive: false },
  );
  canvas.addEventListener("dblclick", (event) => {
    if (isOn()) show(zoomed(area(), 2, ...place(event.clientX, event.clientY), shape()));
  });
  canvas.addEventListener("pointerdown", (event) => {
    if (!isOn() || event.button !== 0) return;
    down.set(event.pointerId, [event.clientX, event.clientY]);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const from = down.get(event.pointerId);
    if (!from || !isOn()) return;
    const to: [number, number] = [event.clientX, event.clientY];
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    down.set(event.pointerId, to);
    const middle = (one: [number, number]) =>
      place(...(other ? ([(one[0] + other[0]) / 2, (one[1] + other[1]) / 2] as const) : one));
    const apart = (one: [number, number]) =>
      other ? Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1])) : 1;
    const [[x0, y0], [x, y]] = [middle(from), middle(to)];
    const now = area();
    const moved = panned(now, (y0 - y) * now.queries, (x0 - x) * now.keys, shape());
    show(zoomed(moved, apart(to) / apart(from), x, y, shape()));
  });
  for (const end of ["pointerup", "pointercancel"] as const)
    canvas.addEventListener(end, (event) => down.delete(event.pointerId));
}
