// What is on screen as one SVG: canvases become embedded pictures, all else lines, areas and text.

import { setAttributes, svg } from "../drawing/dom";

const PAD = 24;
const PIXELS_MOST = 16_384; // of a canvas' side
const INHERITED = [
  ...["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin"],
  ...["stroke-linecap", "font-family", "font-size", "font-weight", "font-style", "font-variant-numeric"],
  ...["text-anchor", "visibility", "paint-order", "direction"],
];
// Neither may stand in XML; a label may hold both.
const NOT_XML = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

export interface Composed {
  text: string;
  width: number;
  height: number;
}

/** The elements below each other, and `caption` after the first. */
export function compose(elements: Element[], caption: string): Composed {
  const page = getComputedStyle(document.body);
  const defs = svg("defs");
  const groups: SVGElement[] = [];
  let [width, top] = [0, PAD];
  elements.forEach((element, index) => {
    const box = element.getBoundingClientRect();
    const sheet = new Sheet(defs);
    const group = svg("g", {}, ...sheet.draw(element));
    if (sheet.top > sheet.bottom) return; // nothing of it is seen
    setAttributes(group, { transform: `translate(${PAD - box.left} ${top - sheet.top})` });
    groups.push(group);
    width = Math.max(width, sheet.right - box.left);
    top += sheet.bottom - sheet.top;
    if (index > 0 || !caption) return;
    const muted = getComputedStyle(element.lastElementChild ?? element).color;
    const font = { "font-family": page.fontFamily, "font-size": 14, fill: muted };
    groups.push(svg("text", { x: PAD, y: top + 16, ...font }, clean(caption)));
    top += 40;
  });
  const size = { width: Math.ceil(width + 2 * PAD), height: Math.ceil(top + PAD) };
  const paper = svg("rect", { ...size, fill: page.backgroundColor });
  const root = svg("svg", { xmlns: "http://www.w3.org/2000/svg", ...size }, defs, paper, ...groups);
  return { text: new XMLSerializer().serializeToString(root), ...size };
}

/** The same at two pixels a pixel. */
export async function rasterise({ text, width, height }: Composed): Promise<Blob> {
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`; // a blob: would taint the canvas
  await picture.decode();
  const scale = Math.min(2, PIXELS_MOST / width, PIXELS_MOST / height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d")!.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large: use SVG.")))),
  );
}

/** Draws elements where they are on screen, and knows how far they reach. */
class Sheet {
  top = Infinity;
  right = 0;
  bottom = -Infinity;

  constructor(private defs: SVGElement) {}

  draw(element: Element): SVGElement[] {
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const unseen = style.display === "none" || style.visibility === "hidden" || style.opacity === "0";
    // Controls say what could be chosen; the caption says what is.
    if (unseen || element.matches(".controls, .help-area, select, input, button[aria-haspopup]")) return [];
    if (element instanceof HTMLCanvasElement) return box.width * box.height > 0 ? [this.canvas(element, box)] : [];
    if (element instanceof SVGSVGElement) return [this.vector(element, box)];
    const parts = box.width * box.height > 0 ? this.box(style, box) : [];
    for (const child of element.childNodes) {
      if (child instanceof Text) parts.push(...this.words(child, style));
      else if (child instanceof Element) parts.push(...this.draw(child));
    }
    const cut = style.overflowX !== "visible" || style.overflowY !== "visible" || style.opacity !== "1";
    if (!cut || parts.length === 0) return parts;
    const place = { x: box.left, y: box.top, width: box.width, height: box.height };
    const viewBox = Object.values(place).join(" ");
    return [svg("svg", { ...place, viewBox, opacity: style.opacity }, ...parts)];
  }

  private reach({ top, right, bottom }: { top: number; right: number; bottom: number }): void {
    this.top = Math.min(this.top, top);
    this.right = Math.max(this.right, right);
    this.bottom = Math.max(this.bottom, bottom);
  }

  private canvas(canvas: HTMLCanvasElement, box: DOMRect): SVGElement {
    this.reach(box);
    const place = { x: box.left, y: box.top, width: box.width, height: box.height };
    const href = canvas.toDataURL("image/png");
    return svg("image", { ...place, href, preserveAspectRatio: "none", style: "image-rendering:pixelated" });
  }

  private vector(source: SVGSVGElement, box: DOMRect): SVGElement {
    this.reach(box);
    for (const shape of source.querySelectorAll<SVGElement>("text, path, rect, circle, line, image")) {
      const around = shape.getBoundingClientRect();
      if (around.width + around.height > 0) this.reach(around); // what is not shown is nowhere
    }
    const copy = source.cloneNode(true) as SVGSVGElement;
    dress(source, copy, null);
    setAttributes(copy, { x: box.left, y: box.top, width: box.width, height: box.height });
    setAttributes(copy, { overflow: getComputedStyle(source).overflow, color: getComputedStyle(source).color });
    return copy;
  }

  /** An element's background and borders. */
  private box(style: CSSStyleDeclaration, box: DOMRect): SVGElement[] {
    const parts: SVGElement[] = [];
    const rect = (x: number, y: number, width: number, height: number, fill: string, rx = 0) => {
      parts.push(svg("rect", { x, y, width, height, rx, fill }));
      this.reach({ top: y, right: x + width, bottom: y + height });
    };
    const { left, top, width, height } = box;
    const fills = [style.backgroundColor, this.gradient(style.backgroundImage)];
    for (const fill of fills)
      if (seen(fill)) rect(left, top, width, height, fill, parseFloat(style.borderTopLeftRadius) || 0);
    const edge = (side: string) =>
      seen(style.getPropertyValue(`border-${side}-color`))
        ? parseFloat(style.getPropertyValue(`border-${side}-width`))
        : 0;
    const ink = (side: string) => style.getPropertyValue(`border-${side}-color`);
    if (edge("top")) rect(left, top, width, edge("top"), ink("top"));
    if (edge("bottom")) rect(left, box.bottom - edge("bottom"), width, edge("bottom"), ink("bottom"));
    if (edge("left")) rect(left, top, edge("left"), height, ink("left"));
    if (edge("right")) rect(box.right - edge("right"), top, edge("right"), height, ink("right"));
    return parts;
  }

  /** `linear-gradient(to right, …)`, as the colour scales are. */
  private gradient(image: string): string {
    const stops = /^linear-gradient\(to right/.test(image) ? image.match(/rgba?\([^)]*\)/g) : null;
    if (!stops) return "transparent";
    const id = `ramp${this.defs.childElementCount}`;
    const offset = (index: number) => index / (stops.length - 1);
    const colours = stops.map((stop, index) => svg("stop", { offset: offset(index), "stop-color": stop }));
    this.defs.append(svg("linearGradient", { id }, ...colours));
    return `url(#${id})`;
  }

  /** A text as it is broken into lines on screen. */
  private words(node: Text, style: CSSStyleDeclaration): SVGElement[] {
    const lines: { text: string; box: DOMRect }[] = [];
    const range = document.createRange();
    for (const word of node.data.matchAll(/\S+\s*/g)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].trimEnd().length);
      const box = range.getBoundingClientRect();
      if (box.width === 0) continue;
      const last = lines[lines.length - 1];
      if (last && Math.abs(last.box.top - box.top) < 2) {
        const [left, right] = [Math.min(last.box.left, box.left), Math.max(last.box.right, box.right)];
        last.box = new DOMRect(left, box.top, right - left, box.height);
        last.text += word[0];
      } else lines.push({ text: word[0], box });
    }
    const rtl = style.direction === "rtl";
    return lines.map(({ text, box }) => {
      this.reach(box);
      return svg(
        "text",
        {
          x: rtl ? box.right : box.left,
          y: box.top + box.height / 2 + 0.35 * parseFloat(style.fontSize),
          direction: style.direction,
          fill: style.color,
          "font-family": style.fontFamily,
          "font-size": style.fontSize,
          "font-weight": style.fontWeight,
          "font-style": style.fontStyle,
        },
        clean(text.trimEnd()),
      );
    });
  }
}

/** Gives a copy, as attributes, what style sheets gave the original. */
function dress(source: Element, copy: Element, parent: CSSStyleDeclaration | null): void {
  const style = getComputedStyle(source);
  copy.removeAttribute("class");
  copy.removeAttribute("style");
  for (const name of INHERITED) {
    const value = style.getPropertyValue(name);
    if (value !== parent?.getPropertyValue(name)) copy.setAttribute(name, value);
  }
  if (parent && style.opacity !== "1") copy.setAttribute("opacity", style.opacity);
  if (style.dominantBaseline !== "auto") copy.setAttribute("dominant-baseline", style.dominantBaseline);
  for (const node of copy.childNodes) if (node instanceof Text) node.data = clean(node.data);
  const originals = [...source.children];
  [...copy.children].forEach((child, index) => {
    if (getComputedStyle(originals[index]).display === "none") child.remove();
    else dress(originals[index], child, style);
  });
}

function seen(colour: string): boolean {
  return colour !== "transparent" && !/^rgba\(.*, 0\)$/.test(colour);
}

function clean(text: string): string {
  return text.replace(NOT_XML, "\ufffd");
}
