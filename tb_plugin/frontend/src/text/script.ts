// Which way tokens are written.

export type Direction = "ltr" | "rtl";

// The first letter decides, as for dir="auto".
const FROM_THE_RIGHT =
  /^\P{L}*[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}\p{Script=Samaritan}\p{Script=Mandaic}]/u;
const LETTER = /\p{L}/u;

/** The direction of a token; null where it has no letter. */
export function directionOf(token: string): Direction | null {
  if (!LETTER.test(token)) return null;
  return FROM_THE_RIGHT.test(token) ? "rtl" : "ltr";
}

/** The direction of a line: that of most of its tokens. */
export function lineDirection(directions: (Direction | null)[]): Direction {
  const right = directions.filter((one) => one === "rtl").length;
  return right > directions.filter((one) => one === "ltr").length ? "rtl" : "ltr";
}

/** Tokens in the order of reading, cut where the direction changes; what has none goes with its neighbours if they agree. */
export function runsOf(
  directions: (Direction | null)[],
  line: Direction,
): { direction: Direction; start: number; end: number }[] {
  const runs: { direction: Direction; start: number; end: number }[] = [];
  directions.forEach((own, index) => {
    const last = runs[runs.length - 1];
    if (own === null && last?.direction !== line) {
      const next = directions.slice(index).find((one) => one !== null);
      own = next === last?.direction ? next : line;
    }
    const direction = own ?? line;
    if (last?.direction === direction) last.end = index + 1;
    else runs.push({ direction, start: index, end: index + 1 });
  });
  return runs;
}
