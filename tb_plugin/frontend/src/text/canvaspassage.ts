// Running text of thousands of tokens: only the lines in sight are drawn, and no token is a node.

import { html } from "../drawing/dom";
import type { Passage } from "./form";
import type { Direction, runsOf } from "./script";
import { isSpecial } from "./subwords";
import { type Side, visible } from "./tokens";

const FONT = '15px -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const LINE = 32;
const BOX = 26;
const PAD = 5;
const GAP = 3;
const MOST_HEIGHT = 17 * LINE; // of what is in sight

interface Box {
  left: number;
  line: number;
  width: number;
}

export function createCanvasPassage(
  side: Side,
  labels: string[],
  runs: ReturnType<typeof runsOf>,
  line: Direction,
  name: string,
  width: number,
): Passage {
  const context = document.createElement("canvas").getContext("2d")!;
  const texts = labels.map(visible);
  const boxes = layOut(texts, runs, line, width - 16, context); // clear of the scroll bar
  const height = LINE * (boxes[boxes.length - 1].line + 1);
  const seen = Math.min(height, MOST_HEIGHT);
  const canvas = html("canvas", {
    class: "passage",
    "data-side": side,
    role: "img",
    tabindex: 0,
    "aria-label": `${name}: ${labels.length}. Arrow keys choose one, the weights are read above.`,
  });
  const spacer = html("div", {}, canvas);
  const root = html("div", { class: "scroller" }, spacer);
  spacer.style.height = `${height}px`;
  root.style.height = `${seen}px`;
  canvas.style.cssText = `width:${width - 16}px;height:${seen}px`;
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.round((width - 16) * density);
  canvas.height = Math.round(seen * density);
  const drawn = canvas.getContext("2d")!;
  let inkOf: Parameters<Passage["paint"]>[0] = () => null;
  let chosen: number | null = null;

  function draw(): void {
    const style = getComputedStyle(root);
    const [text, page, muted] = ["--text", "--page", "--muted"].map((colour) => style.getPropertyValue(colour).trim());
    drawn.setTransform(density, 0, 0, density, 0, -root.scrollTop * density);
    drawn.clearRect(0, root.scrollTop, width, seen);
    drawn.font = FONT;
    drawn.textBaseline = "middle";
    drawn.textAlign = "left";
    const first = Math.floor(root.scrollTop / LINE);
    const last = Math.ceil((root.scrollTop + seen) / LINE);
    for (const { start, end, direction } of runs) {
      drawn.direction = direction;
      for (let index = start; index < end; index++) {
        const box = boxes[index];
        if (box.line < first || box.line > last) continue;
        const ink = index === chosen ? { background: text, text: page } : inkOf(index);
        const top = box.line * LINE + (LINE - BOX) / 2;
        if (ink) {
          drawn.fillStyle = ink.background;
          drawn.beginPath();
          drawn.roundRect(box.left, top, box.width, BOX, 4);
          drawn.fill();
        }
        drawn.fillStyle = ink?.text ?? (isSpecial(labels[index]) ? muted : text);
        drawn.fillText(texts[index], box.left + PAD, top + BOX / 2 + 1, box.width - 2 * PAD);
      }
    }
  }
  root.addEventListener("scroll", draw);

  return {
    root,
    paint(next, at) {
      [inkOf, chosen] = [next, at];
      draw();
    },
    indexAt(event) {
      const bounds = spacer.getBoundingClientRect();
      const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
      const at = boxes.findIndex(
        (box) => box.line === Math.floor(y / LINE) && x >= box.left && x < box.left + box.width,
      );
      return at < 0 ? null : at;
    },
    places: () => boxes.map(({ left, width, line }) => ({ x: left + width / 2, y: line })),
    reveal(index) {
      const top = boxes[index].line * LINE;
      if (top < root.scrollTop) root.scrollTop = top;
      else if (top + LINE > root.scrollTop + seen) root.scrollTop = top + LINE - seen;
    },
  };
}

/** Tokens from the side where reading begins; within a line, those of the other direction the other way round. */
function layOut(
  texts: string[],
  runs: ReturnType<typeof runsOf>,
  line: Direction,
  width: number,
  context: CanvasRenderingContext2D,
): Box[] {
  context.font = FONT;
  const boxes: Box[] = [];
  let x = 0;
  for (const text of texts) {
    const wide = Math.min(width, Math.ceil(context.measureText(text).width) + 2 * PAD);
    const row = boxes[boxes.length - 1]?.line ?? 0;
    const breaks = x > 0 && x + wide > width;
    if (breaks) x = 0;
    boxes.push({ left: x, line: breaks ? row + 1 : row, width: wide });
    x += wide + GAP;
  }
  for (const { direction, start, end } of runs) {
    if (direction === line) continue;
    for (let from = start; from < end; ) {
      let to = from;
      while (to < end && boxes[to].line === boxes[from].line) to++;
      const [left, right] = [boxes[from].left, boxes[to - 1].left + boxes[to - 1].width];
      for (const box of boxes.slice(from, to)) box.left = left + right - box.left - box.width;
      from = to;
    }
  }
  if (line === "rtl") for (const box of boxes) box.left = width - box.left - box.width;
  return boxes;
}
