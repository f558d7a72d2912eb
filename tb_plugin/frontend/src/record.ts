// The record format of tb_plugin/record.py: this file alone knows it in the page.

export const FORMAT = 1;
const INPUTS_LAYER = "__inputs__";

export type Kind = "step" | "time" | "token" | "patch" | "feature" | "channel";

export interface Axis {
  kind: Kind;
  length: number;
  labels: string[] | string[][] | null; // one list for all samples, or one list a sample
  grid: [rows: number, columns: number] | null;
}

export interface MapHeader {
  layer: string;
  samples: number;
  shape: [heads: number, queries: number, keys: number];
  full: [queries: number, keys: number]; // before pooling
  normalised: boolean;
  max: number[][]; // [sample][head]
  queries: Axis;
  keys: Axis;
  repaired: number;
}

export interface Series {
  name: string;
  role: "input" | "forecast" | "target";
  labels: string[];
  values: (number | null)[];
}

export interface InputsSample {
  label: string | null;
  series: Series[];
}

export class RecordError extends Error {}

function demand(truth: boolean, sentence: string): asserts truth {
  if (!truth) throw new RecordError(`This record cannot be read: ${sentence}.`);
}

/** The blobs of a `/step` reply: `<I n>`, n × `<I length>`, then the blobs. */
export function splitReply(reply: ArrayBuffer): Uint8Array[] {
  const view = new DataView(reply);
  demand(reply.byteLength >= 4, "the reply is empty");
  const count = view.getUint32(0, true);
  let start = 4 + 4 * count;
  demand(count >= 1 && reply.byteLength >= start, "the reply is cut short");
  const blobs: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const length = view.getUint32(4 + 4 * i, true);
    demand(start + length <= reply.byteLength, "the reply is cut short");
    blobs.push(new Uint8Array(reply, start, length));
    start += length;
  }
  return blobs;
}

function parseHeader(blob: Uint8Array, kind: "map" | "inputs"): Record<string, any> {
  let header: any;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(blob));
  } catch {
    throw new RecordError("This record cannot be read: its header is not JSON.");
  }
  demand(header !== null && typeof header === "object", "its header is not an object");
  if (header.format > FORMAT) {
    throw new RecordError(
      `This record was written by a newer version (format ${header.format}, this page reads ${FORMAT}): ` +
        "upgrade with pip install --upgrade attention-zoo.",
    );
  }
  demand(header.format === FORMAT, "its header names no format");
  demand(header.kind === kind, `it is no ${kind} record`);
  return header;
}

const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;
const isText = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isListOf = (value: unknown, length: number, test: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.length === length && value.every(test);

function checkAxis(axis: any, name: string, length: number, samples: number): void {
  demand(axis !== null && typeof axis === "object" && isText(axis.kind), `its ${name} name no kind`);
  demand(axis.length === length, `its ${name} and its shape differ`);
  const { labels, grid } = axis;
  const shared = isListOf(labels, length, isText);
  const perSample = isListOf(labels, samples, (row) => isListOf(row, length, isText));
  demand(labels == null || shared || perSample, `its ${name} have labels of another length`);
  demand(
    grid == null || (isListOf(grid, 2, isCount) && grid[0] * grid[1] === length),
    `its ${name} have a wrong grid`,
  );
}

export function decodeMapHeader(blob: Uint8Array): MapHeader {
  const header = parseHeader(blob, "map");
  demand(isCount(header.samples) && isListOf(header.shape, 3, isCount), "its shape is wrong");
  const [heads, queries, keys] = header.shape;
  demand(
    header.samples * heads <= 256 && queries <= 512 && keys <= 512,
    "it is larger than the format allows",
  );
  demand(isListOf(header.full, 2, isCount), "its full shape is wrong");
  demand(header.scale === "sqrt", "its scale is unknown");
  const isMaximum = (value: unknown) => isNumber(value) && value >= 0;
  demand(
    isListOf(header.max, header.samples, (row) => isListOf(row, heads, isMaximum)),
    "its maxima are wrong",
  );
  checkAxis(header.queries, "queries", queries, header.samples);
  checkAxis(header.keys, "keys", keys, header.samples);
  return header as MapHeader;
}

export function decodeInputs(blob: Uint8Array): InputsSample[] {
  const header = parseHeader(blob, "inputs");
  demand(Array.isArray(header.samples), "it holds no samples");
  for (const sample of header.samples) {
    demand(sample !== null && (sample.label == null || isText(sample.label)), "a sample has a wrong label");
    demand(Array.isArray(sample.series), "a sample has no series");
    for (const { name, role, labels, values } of sample.series) {
      demand(isText(name) && ["input", "forecast", "target"].includes(role), "a series has no name or role");
      demand(
        Array.isArray(values) && values.every((v) => v === null || isNumber(v)),
        "a series has wrong values",
      );
      demand(isListOf(labels, values.length, isText), "a series has labels of another length");
    }
  }
  return header.samples;
}

/** Row-major (queries, keys) weights of one head: `w = max·(u/255)²`. */
export async function decodeMap(
  header: MapHeader,
  blobs: Uint8Array[],
  sample: number,
  head: number,
): Promise<Float32Array> {
  const [heads, queries, keys] = header.shape;
  const blob = blobs[1 + sample * heads + head];
  const levels = blob && (await gunzip(blob, queries * keys));
  if (!levels) throw new RecordError(`Head ${head + 1} of sample ${sample + 1} is damaged: choose another.`);
  const max = header.max[sample][head];
  return Float32Array.from(levels, (level) => max * (level / 255) ** 2);
}

/** The `size` bytes that are packed in `blob`, or null where it holds fewer, more, or no gzip at all. */
async function gunzip(blob: Uint8Array, size: number): Promise<Uint8Array | null> {
  const unpacked = new Uint8Array(size);
  const stream = new Blob([blob as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new DecompressionStream("gzip"));
  const reader = stream.getReader();
  let filled = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return filled === size ? unpacked : null;
      if (filled + value.length > size) {
        await reader.cancel(); // a gzip bomb ends here
        return null;
      }
      unpacked.set(value, filled);
      filled += value.length;
    }
  } catch {
    return null;
  }
}

export function labelsOf(axis: Axis, sample: number): string[] | null {
  if (axis.labels === null || axis.labels === undefined) return null;
  return Array.isArray(axis.labels[0]) ? (axis.labels[sample] as string[]) : (axis.labels as string[]);
}

/** A map's tag is `attention/<name>/<layer>`; both parts may hold slashes, the name's inputs tag tells them apart. */
export function splitTag(tag: string, tags: string[]): { name: string; layer: string } {
  const path = tag.replace(/^attention\//, "");
  const names = tags
    .filter(isInputsTag)
    .map((inputs) => inputs.slice("attention/".length, -INPUTS_LAYER.length - 1));
  const known = names.filter((name) => path.startsWith(`${name}/`)).sort((a, b) => b.length - a.length)[0];
  const cut = known === undefined ? path.indexOf("/") : known.length;
  return cut < 0 ? { name: "", layer: path } : { name: path.slice(0, cut), layer: path.slice(cut + 1) };
}

export function isInputsTag(tag: string): boolean {
  return tag.startsWith("attention/") && tag.endsWith(`/${INPUTS_LAYER}`);
}

export function inputsTag(name: string): string {
  return `attention/${name}/${INPUTS_LAYER}`;
}
