// The pieces that a tokenizer makes of words, and words made of them again.

import { resized, withoutPadding } from "./padding";
import type { Shown } from "../data/shown";
import type { Cursor, State } from "../data/store";

type Marks = "wordpiece" | "sentencepiece" | "bytes";

// [CLS], [SEP], <s>, </s>, <pad>, <0x0A>, <|endoftext|>, and no text at all: words of their own.
const SPECIAL = /^(\[[A-Za-z]+\d*\]|<[^<>\s]+>|)$/;
const NEWLINES = /^Ċ+$/;

export const isSpecial = (token: string) => SPECIAL.test(token);

/** What is looked at: as it was logged, or by words. */
export interface Looked {
  shown: Shown;
  cursor: Cursor;
  toTokens: (cursor: Cursor) => Cursor; // a word is its first piece
}

/** How a tokenizer marks its pieces; null where none is marked. */
function marksOf(tokens: string[]): Marks | null {
  if (tokens.some((token) => token.startsWith("▁"))) return "sentencepiece";
  if (tokens.some((token) => token.startsWith("Ġ"))) return "bytes";
  return tokens.some(isContinued) ? "wordpiece" : null;
}

const isContinued = (token: string) => token.length > 2 && token.startsWith("##");

/** The first piece of each word. */
function wordStarts(tokens: string[], marks: Marks | null): number[] {
  const alone = (token: string) => SPECIAL.test(token) || NEWLINES.test(token);
  return tokens.flatMap((token, index) => {
    if (index === 0 || alone(token) || alone(tokens[index - 1])) return [index];
    if (marks === "wordpiece") return isContinued(token) ? [] : [index];
    if (marks === "sentencepiece") return token.startsWith("▁") ? [index] : [];
    if (marks === "bytes") return token.startsWith("Ġ") ? [index] : [];
    return [index];
  });
}

function wordOf(pieces: string[], marks: Marks | null): string {
  if (marks === "wordpiece")
    return pieces[0] + pieces.slice(1).map((piece) => piece.slice(2)).join("");
  const word = pieces.join("");
  if (marks === "sentencepiece") return word.replaceAll("▁", "") || word;
  if (marks === "bytes" && !SPECIAL.test(word) && !NEWLINES.test(word)) return unspelled(word).trim() || word;
  return word;
}

// GPT-2 spells a byte as itself where it can be printed, and else as the next unused character from 256 on.
const BYTES = new Map<string, number>();
for (let byte = 0, next = 256; byte < 256; byte++) {
  const printed = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  BYTES.set(String.fromCharCode(printed ? byte : next++), byte);
}

/** The text whose bytes are spelled by `word`, or `word` where they are no text. */
function unspelled(word: string): string {
  const bytes = [...word].map((character) => BYTES.get(character) ?? -1);
  if (bytes.includes(-1)) return word;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
  } catch {
    return word;
  }
}

interface Grouped {
  labels: string[];
  starts: number[];
  of: number[]; // the word of each piece
}

/** An axis by words; of a pooled one, whose labels are a few of many, and of other kinds, nothing is merged. */
function grouped({ header }: Shown, which: "queries" | "keys", labels: string[]): Grouped {
  const whole = header.full[which === "queries" ? 0 : 1] === labels.length;
  const marks = whole && header[which].kind === "token" ? marksOf(labels) : null;
  const starts = marks === null ? labels.map((_, index) => index) : wordStarts(labels, marks);
  const of = new Array<number>(labels.length);
  const words = starts.map((start, word) => {
    const end = starts[word + 1] ?? labels.length;
    of.fill(word, start, end);
    return wordOf(labels.slice(start, end), marks);
  });
  return { labels: words, starts, of };
}

interface Groups {
  queries: Grouped;
  keys: Grouped;
}

const groups = new WeakMap<Shown, Groups>();
const maps = new WeakMap<Shown, Shown>();

function groupsOf(shown: Shown): Groups {
  const known = groups.get(shown);
  if (known) return known;
  const found = { queries: grouped(shown, "queries", shown.queries), keys: grouped(shown, "keys", shown.keys) };
  groups.set(shown, found);
  return found;
}

/** Are there pieces to merge? */
export function hasPieces(shown: Shown): boolean {
  const { queries, keys } = groupsOf(shown);
  return queries.labels.length < shown.queries.length || keys.labels.length < shown.keys.length;
}

/** A map by words: sum over the pieces of a key, mean over those of a query, so that rows keep their sums. */
function byWords(shown: Shown): Shown {
  const known = maps.get(shown);
  if (known) return known;
  const { queries, keys } = groupsOf(shown);
  const each = shown.maps.map((map) => merged(map, queries, keys));
  const words = resized(shown, each, queries.labels, keys.labels);
  maps.set(shown, words);
  return words;
}

function merged(map: Float32Array, queries: Grouped, keys: Grouped): Float32Array {
  const sizes = queries.starts.map((start, word) => (queries.starts[word + 1] ?? queries.of.length) - start);
  const sums = new Float64Array(queries.labels.length * keys.labels.length);
  for (let query = 0, cell = 0; query < queries.of.length; query++) {
    const row = queries.of[query] * keys.labels.length;
    for (let key = 0; key < keys.of.length; key++) sums[row + keys.of[key]] += map[cell++];
  }
  return Float32Array.from(sums, (sum, cell) => sum / sizes[Math.floor(cell / keys.labels.length)]);
}

/** What is looked at in the text view: the map without padding, and by words where the reader asked for it. */
export function looked({ shown: logged, cursor, view, selection }: State): Looked | null {
  if (!logged) return null;
  if (view !== "text") return { shown: logged, cursor, toTokens: (same) => same };
  const shown = withoutPadding(logged);
  const inside = (index: number | null, labels: string[]) => (index !== null && index < labels.length ? index : null);
  const tokens = { query: inside(cursor.query, shown.queries), key: inside(cursor.key, shown.keys) };
  if (!selection.words || !hasPieces(shown)) return { shown, cursor: tokens, toTokens: (same) => same };
  const { queries, keys } = groupsOf(shown);
  return {
    shown: byWords(shown),
    cursor: {
      query: tokens.query === null ? null : queries.of[tokens.query],
      key: tokens.key === null ? null : keys.of[tokens.key],
    },
    toTokens: ({ query, key }) => ({
      query: query === null ? null : queries.starts[query],
      key: key === null ? null : keys.starts[key],
    }),
  };
}
