// What the ways of drawing text have in common.

import type { Shown } from "../data/shown";
import type { Cursor } from "../data/store";

export interface Ink {
  background: string;
  text: string;
}

/** What a form draws, and in which colours. */
export interface Look {
  shown: Shown;
  share: (weight: number) => number;
  ink: (weight: number) => Ink;
  width: number;
}

/** One way of drawing text. */
export interface Form {
  root: HTMLElement;
  single: boolean; // does one token stand for a query and a key?
  draw(look: Look): void;
  mark(cursor: Cursor): void;
  hit(event: MouseEvent): Cursor; // what is under the pointer
  step(side: string, pressed: string, shift: boolean, cursor: Cursor): Cursor | null; // where a key leads
}

/** Tokens in the order of reading, in lines as wide as the page. */
export interface Passage {
  root: HTMLElement;
  paint(inkOf: (index: number) => Ink | null, chosen: number | null): void;
  indexAt(event: MouseEvent): number | null;
  places(): { x: number; y: number }[]; // of all tokens
  reveal(index: number): void;
}
