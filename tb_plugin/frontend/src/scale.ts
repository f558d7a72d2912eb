// From weights to colours and from numbers to text.

// Lightness moves one way only, so the order of the weights survives colour blindness and print;
// zero is close to the page, in light and in dark.
const LIGHT = ["f1f4f3", "dcecdf", "b4dcc8", "7cc8bf", "48adbd", "2b8bb3", "25659f", "243f85", "1a1f5c"];
const DARK = ["272b31", "2b3358", "2f4a7d", "2b6a90", "258a92", "2faa87", "67c76e", "b4de55", "fcee6a"];

/** 256 colours as packed RGBA, in the byte order of ImageData. */
export function colours(dark: boolean): Uint32Array {
  const stops = (dark ? DARK : LIGHT).map((stop) =>
    [0, 2, 4].map((at) => parseInt(stop.slice(at, at + 2), 16)),
  );
  const packed = new Uint8ClampedArray(4 * 256);
  for (let level = 0; level < 256; level++) {
    const place = (level / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    const mixed = stops[low].map((part, i) => part + (place - low) * (stops[low + 1][i] - part));
    packed.set([...mixed, 255], 4 * level);
  }
  return new Uint32Array(packed.buffer);
}

export function gradient(dark: boolean): string {
  return `linear-gradient(to right, ${(dark ? DARK : LIGHT).map((stop) => `#${stop}`).join(", ")})`;
}

/** Four significant digits: what eight bits a weight can honestly show. */
export function formatWeight(weight: number): string {
  return weight === 0 ? "0" : weight.toPrecision(4);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

export function formatValue(value: number): string {
  return (Math.abs(value) >= 10 ? fine : small).format(value);
}

/** Round numbers that cover [low, high], about `count` of them, and how to write them. */
export function ticks(
  low: number,
  high: number,
  count: number,
): { values: number[]; format: (value: number) => string } {
  const rough = (high - low) / count || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? rough;
  const first = Math.ceil(low / step);
  // Counted, because near 2^53 a step may be too small to move a number.
  const values = Array.from({ length: 2 * count }, (_, i) => (first + i) * step).filter(
    (value) => value <= high,
  );
  return { values, format: (value) => (step >= 1 ? whole : small).format(value) };
}
