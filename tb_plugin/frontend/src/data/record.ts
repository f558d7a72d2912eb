// The record format of tb_plugin/record.py: this file alone knows it in the page.

export const FORMAT = 2;
const MOST_LENGTH = 4096;
const MOST_CLASS_TOKENS = 8;
const MOST_PIXELS = 2 ** 20;
const INPUTS_LAYER = "__inputs__";

export type Kind = "step" | "time" | "token" | "patch" | "feature" | "channel";

export interface Axis {
  kind: Kind;
  length: number;
  labels: string[] | string[][] | null; // one list for all samples, or one list a sample
  grid: [rows: number, columns: number] | null;
}

export const STATISTICS = ["entropy", "distance", "sink", "sink_key", "padding"] as const;
export type Statistic = (typeof STATISTICS)[number];

export interface MapHeader {
  format: number;
  layer: string;
  samples: number;
  shape: [heads: number, queries: number, keys: number];
  full: [queries: number, keys: number]; // before pooling
  normalised: boolean;
  scale: "sqrt" | "exact";
  max: number[][]; // [sample][head]
  statistics: Partial<Record<Statistic, (number | null)[][]>>; // [sample][head]; none in format 1
  thumbnail: [rows: number, columns: number] | null; // none in format 1
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

export interface PictureHeader {
  kind: "image" | "spectrogram";
  shape: [rows: number, columns: number, channels: number];
  part: number;
}

export interface InputsSample {
  label: string | null;
  series: Series[];
  picture: PictureHeader | null;
}

/** How many positions come before the patches. */
export function classTokens({ grid, length }: Axis): number {
  return grid ? length - grid[0] * grid[1] : 0;
}

/** A record as it was asked for: parts that were not are empty. */
export interface Reply {
  tag: string;
  step: number;
  wallTime: number | null;
  parts: Uint8Array[];
  error: string | null;
}

export class RecordError extends Error {}

function demand(truth: boolean, sentence: string): asserts truth {
  if (!truth) throw new RecordError(`This record cannot be read: ${sentence}.`);
}

/** What `/records` answers: `<I length>`, JSON about each record, then all parts in their order. */
export function splitReply(reply: ArrayBuffer): Reply[] {
  demand(reply.byteLength >= 4, "the reply is empty");
  const size = new DataView(reply).getUint32(0, true);
  demand(reply.byteLength >= 4 + size, "the reply is cut short");
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(reply, 4, size)));
  let start = 4 + size;
  return about.map(({ tag, step, wall_time, parts = [], error = null }: any) => ({
    tag,
    step,
    wallTime: wall_time ?? null,
    error,
    parts: parts.map((length: number) => {
      demand(start + length <= reply.byteLength, "the reply is cut short");
      start += length;
      return new Uint8Array(reply, start - length, length);
    }),
  }));
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
  demand(header.format === 1 || header.format === FORMAT, "its header names no format");
  demand(header.kind === kind, `it is no ${kind} record`);
  return header;
}

const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;
const isText = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isFewBefore = (count: number): boolean => count >= 0 && count <= MOST_CLASS_TOKENS;
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
    grid == null || (isListOf(grid, 2, isCount) && isFewBefore(length - grid[0] * grid[1])),
    `its ${name} have a wrong grid`,
  );
}

export function decodeMapHeader(blob: Uint8Array): MapHeader {
  const header = parseHeader(blob, "map");
  demand(isCount(header.samples) && isListOf(header.shape, 3, isCount), "its shape is wrong");
  const [heads, queries, keys] = header.shape;
  demand(
    header.samples * heads <= 256 && queries <= MOST_LENGTH && keys <= MOST_LENGTH,
    "it is larger than the format allows",
  );
  demand(isListOf(header.full, 2, isCount), "its full shape is wrong");
  demand(header.scale === "sqrt" || (header.scale === "exact" && header.format > 1), "its scale is unknown");
  const isMaximum = (value: unknown) => isNumber(value) && value >= 0;
  demand(
    isListOf(header.max, header.samples, (row) => isListOf(row, heads, isMaximum)),
    "its maxima are wrong",
  );
  checkAxis(header.queries, "queries", queries, header.samples);
  checkAxis(header.keys, "keys", keys, header.samples);
  if (header.format === 1) return { ...header, statistics: {}, thumbnail: null } as MapHeader;
  const isStatistic = (value: unknown) => value === null || isNumber(value);
  demand(header.statistics !== null && typeof header.statistics === "object", "it has no statistics");
  for (const rows of Object.values(header.statistics)) {
    demand(
      isListOf(rows, header.samples, (row) => isListOf(row, heads, isStatistic)),
      "a statistic is wrong",
    );
  }
  demand(isListOf(header.thumbnail, 2, isCount), "its thumbnails have no size");
  demand(header.thumbnail[0] <= 32 && header.thumbnail[1] <= 32, "its thumbnails are too large");
  return header as MapHeader;
}

export function decodeInputs(blob: Uint8Array): InputsSample[] {
  const header = parseHeader(blob, "inputs");
  demand(Array.isArray(header.samples), "it holds no samples");
  for (const sample of header.samples) {
    demand(sample !== null && (sample.label == null || isText(sample.label)), "a sample has a wrong label");
    demand(Array.isArray(sample.series), "a sample has no series");
    sample.picture ??= null;
    if (sample.picture !== null) {
      const { kind, shape, part } = sample.picture;
      demand(["image", "spectrogram"].includes(kind) && isCount(part), "a picture is of no known kind");
      demand(isListOf(shape, 3, isCount), "a picture has no shape");
      demand(shape[0] * shape[1] <= MOST_PIXELS && [1, 3].includes(shape[2]), "a picture is too large");
    }
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

/** Which part of a record is the map of a sample and a head. */
export function partOf(header: MapHeader, sample: number, head: number): number {
  return (header.format === 1 ? 1 : 2) + sample * header.shape[0] + head;
}

const SQUARES = Float32Array.from({ length: 256 }, (_, level) => (level / 255) ** 2);

/** Row-major (queries, keys) weights of one head: `w = max·(u/255)²`, or float32 in four planes of bytes. */
export async function decodeMap(
  header: MapHeader,
  parts: Uint8Array[],
  sample: number,
  head: number,
): Promise<Float32Array> {
  const [, queries, keys] = header.shape;
  const exact = header.scale === "exact";
  const cells = queries * keys;
  const blob = parts[partOf(header, sample, head)];
  const bytes = blob && (await gunzip(blob, exact ? 4 * cells : cells));
  const maximum = header.max[sample][head];
  const damaged = `Head ${head + 1} of sample ${sample + 1} is damaged: choose another.`;
  if (!bytes) throw new RecordError(damaged);
  if (exact) {
    const mixed = new Uint8Array(4 * cells);
    for (let plane = 0; plane < 4; plane++)
      for (let cell = 0; cell < cells; cell++) mixed[4 * cell + plane] = bytes[plane * cells + cell];
    const weights = new Float32Array(mixed.buffer);
    if (!weights.every((weight) => weight >= 0 && weight <= maximum)) throw new RecordError(damaged);
    return weights;
  }
  const squares = SQUARES.map((square) => maximum * square);
  const weights = new Float32Array(cells);
  for (let cell = 0; cell < cells; cell++) weights[cell] = squares[bytes[cell]];
  return weights;
}

/** One `(rows · columns)` thumbnail for each sample and head, bytes on the square-root scale; null in format 1. */
export async function decodeThumbnails(header: MapHeader, parts: Uint8Array[]): Promise<Uint8Array[][] | null> {
  if (!header.thumbnail) return null;
  const size = header.thumbnail[0] * header.thumbnail[1];
  const heads = header.shape[0];
  const bytes = await gunzip(parts[1], header.samples * heads * size);
  if (!bytes) return null;
  return Array.from({ length: header.samples }, (_, sample) =>
    Array.from({ length: heads }, (_, head) =>
      bytes.subarray((sample * heads + head) * size, (sample * heads + head + 1) * size),
    ),
  );
}

/** The pixels of a picture, row by row, channels side by side; null where they are damaged. */
export function decodePixels({ shape, part }: PictureHeader, parts: Uint8Array[]): Promise<Uint8Array | null> {
  return parts[part] ? gunzip(parts[part], shape[0] * shape[1] * shape[2]) : Promise.resolve(null);
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
