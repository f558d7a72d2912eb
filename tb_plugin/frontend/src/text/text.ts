// Tokens, and what they attend to: as lines, in running text, or as a matrix.

import { createAlignment } from "./alignment";
import { createBipartite } from "./bipartite";
import { html } from "../drawing/dom";
import type { Form, Ink, Look } from "./form";
import { createHighlight } from "./highlight";
import { withoutPadding } from "./padding";
import { colours, formatWeight, gradient, range, shareOf } from "../drawing/scale";
import type { Shown } from "../data/shown";
import { type Cursor, FLOORS, FORMS, SCALES, type Selection, type Store } from "../data/store";
import { type Looked, hasPieces, looked } from "./subwords";
import { visible } from "./tokens";

type FormName = (typeof FORMS)[number];

const NAMES: Record<FormName, string> = { lines: "Lines", highlight: "Highlighted text", matrix: "Matrix" };
const ENDS = { zero: "from 0", lowest: "from the lowest", robust: "without the rarest" };
const SHORT = 40; // tokens: more lines than 40 × 40 are no longer read
const MOST: Record<FormName, number> = { lines: 128, highlight: Infinity, matrix: 96 };
const NOTHING: Cursor = { query: null, key: null };
const TOP = 3; // of what a token attends to, in words

export function createText(store: Store): HTMLElement {
  const { state } = store;
  const forms: Record<FormName, Form> = {
    lines: createBipartite(),
    highlight: createHighlight(),
    matrix: createAlignment(),
  };
  const buttons = FORMS.map((name) => {
    const button = html("button", { "data-form": name }, NAMES[name]);
    button.addEventListener("click", () => void store.select({ text: name }));
    return button;
  });
  const words = html("input", { type: "checkbox", id: "words" });
  words.addEventListener("change", () => void store.select({ words: words.checked }));
  const wordsLabel = html("label", { class: "check" }, words, "merge sub-words");
  const scale = html(
    "select",
    { id: "text-scale", "aria-label": "Colour scale" },
    ...SCALES.map((name) => html("option", { value: name }, `${name} colours`)),
  );
  scale.addEventListener("change", () => void store.select({ scale: scale.value as Selection["scale"] }));
  const floor = html(
    "select",
    { id: "text-floor", "aria-label": "Where colours begin and end" },
    ...FLOORS.map((name) => html("option", { value: name }, ENDS[name])),
  );
  floor.addEventListener("change", () => void store.select({ floor: floor.value as Selection["floor"] }));
  const bar = html("div", { class: "bar" });
  const ticks = html("div", { class: "ticks" });
  const caption = html("p", { class: "caption" });
  const stage = html("div", { class: "stage" });
  const root = html(
    "section",
    { class: "text" },
    html(
      "div",
      { class: "tools" },
      html("div", { class: "forms", role: "group", "aria-label": "How text is drawn" }, ...buttons),
      wordsLabel,
      html("div", { class: "colours" }, scale, floor),
      html("div", { class: "ramp" }, bar, ticks),
    ),
    caption,
    stage,
  );

  let drawn: { shown: Shown; look: string } | null = null;
  let form = forms.lines;
  let pinned = NOTHING; // what stays chosen when the pointer goes
  let marked = "";

  store.subscribe(() => {
    const { selection, dark, width } = state;
    const seen = looked(state);
    root.hidden = seen === null || state.view !== "text";
    if (root.hidden || !seen || width === 0) return;
    const { shown, cursor } = seen;
    const name = formFor(shown, selection.text);
    const look = JSON.stringify([name, dark, width, selection.scale, selection.floor]);
    const redraw = drawn === null || drawn.shown !== shown || drawn.look !== look;
    if (redraw) {
      drawn = { shown, look };
      form = forms[name];
      if (stage.firstChild !== form.root) stage.replaceChildren(form.root);
      drawTools(name);
      form.draw(lookOf(shown, selection, dark, width));
    }
    if (cursor.query === null && cursor.key === null) pinned = NOTHING; // let go of elsewhere
    const mark = `${cursor.query} ${cursor.key}`;
    if (!redraw && mark === marked) return;
    marked = mark;
    form.mark(cursor);
    caption.replaceChildren(...said(seen, selection.words && hasPieces(state.shown!), paddingOf(state.shown!)));
  });

  function drawTools(name: FormName): void {
    const shown = state.shown!;
    for (const button of buttons) {
      const own = button.dataset.form as FormName;
      const fits = longest(drawn!.shown) <= MOST[own];
      button.setAttribute("aria-pressed", String(own === name));
      button.disabled = !fits;
      button.title = fits ? "" : `More than ${MOST[own]} tokens: see them as highlighted text, or in the Map view`;
    }
    wordsLabel.hidden = !hasPieces(shown);
    words.checked = state.selection.words;
    scale.value = state.selection.scale;
    floor.value = state.selection.floor;
    bar.style.background = gradient(state.dark);
    const ends = range(drawn!.shown.weights, drawn!.shown.max, state.selection.floor);
    ticks.replaceChildren(...ends.map((end) => html("span", {}, formatWeight(end))));
  }

  function choose(cursor: Cursor): void {
    store.set({ cursor: looked(state)!.toTokens(cursor) });
  }

  /** What the pointer is on, beside what is pinned. */
  function pointed(event: MouseEvent): Cursor {
    const { query, key } = form.hit(event);
    if (query === null && key === null) return pinned;
    if (!form.single) return { query: query ?? pinned.query, key: key ?? pinned.key };
    return pinned.query === null ? { query, key: null } : { query: pinned.query, key };
  }
  stage.addEventListener("pointermove", (event) => choose(pointed(event)));
  stage.addEventListener("pointerleave", () => choose(pinned));
  stage.addEventListener("click", (event) => {
    const { query, key } = form.hit(event);
    const hit = form.single ? { query, key: null } : { query, key };
    const again = hit.query === pinned.query && hit.key === pinned.key;
    pinned = again ? NOTHING : hit;
    choose(again ? NOTHING : pointed(event));
  });
  stage.addEventListener("keydown", (event) => {
    const side = (event.target as Element).closest<HTMLElement>("[data-side]")?.dataset.side;
    if (side === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    const cursor =
      event.key === "Escape" ? NOTHING : form.step(side, event.key, event.shiftKey, looked(state)!.cursor);
    if (!cursor) return;
    event.preventDefault();
    event.stopPropagation();
    pinned = cursor;
    choose(cursor);
  });
  return root;
}

const longest = ({ queries, keys }: Shown) => Math.max(queries.length, keys.length);

/** The form that was chosen, if it can hold so much text, or the one that suits it. */
function formFor(shown: Shown, chosen: FormName | null): FormName {
  const { header, queries, keys } = shown;
  if (chosen !== null && longest(shown) <= MOST[chosen]) return chosen;
  const texts = header.queries.kind === "token" && header.keys.kind === "token";
  const same = queries.length === keys.length && queries.every((label, index) => label === keys[index]);
  if (texts && !same && longest(shown) <= MOST.matrix) return "matrix";
  return longest(shown) <= SHORT ? "lines" : "highlight";
}

function lookOf(shown: Shown, { scale, floor }: Selection, dark: boolean, width: number): Look {
  const share = shareOf(scale, ...range(shown.weights, shown.max, floor));
  const inks = Array.from(colours(dark), inkOn);
  return { shown, share, ink: (weight) => inks[Math.round(255 * share(weight))], width };
}

/** A colour, and the one of black and white that is read on it: a contrast of 4.5 or more on any. */
function inkOn(packed: number): Ink {
  const parts = [packed & 255, (packed >> 8) & 255, (packed >> 16) & 255];
  const [red, green, blue] = parts.map((part) =>
    part <= 10 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4,
  );
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return { background: `rgb(${parts.join(" ")})`, text: luminance > 0.179 ? "#000" : "#fff" };
}

/** How many keys are left out. */
function paddingOf(shown: Shown): number {
  return shown.keys.length - withoutPadding(shown).keys.length;
}

/** The chosen token and what it attends to, in words. */
function said({ shown, cursor: { query, key } }: Looked, byWords: boolean, padding: number): (Node | string)[] {
  const { queries, keys, weights } = shown;
  const notes = [
    ...(padding > 0 ? [`${padding} padding tokens are left out: nothing attends to them.`] : []),
    ...(byWords ? ["Words: the sum over the pieces of a key, the mean over those of a query."] : []),
    ...(typeof shown.head !== "string" && shown.maps.length > 1
      ? [`Weights are of head ${shown.head[0] + 1}, the first of those chosen; lines are of all.`]
      : []),
  ];
  if (query === null && key === null)
    return [["Point at a token to see what it attends to; click to keep it, Escape to let it go.", ...notes].join(" ")];
  const others = query !== null ? keys : queries;
  const own = (index: number) => weights[query !== null ? query * keys.length + index : index * keys.length + key!];
  const most = others
    .map((_, index) => index)
    .sort((a, b) => own(b) - own(a))
    .slice(0, TOP)
    .filter((index) => own(index) > 0);
  const name = quoted(query !== null ? queries[query] : keys[key!]);
  if (most.length === 0) return [name, query !== null ? " attends to nothing." : " is attended to by nothing."];
  return [
    name,
    query !== null ? " attends most to " : " is attended to most by ",
    ...most.flatMap((index, at) => [
      at === 0 ? "" : ", ",
      quoted(others[index]),
      html("span", { class: "weight" }, ` ${formatWeight(own(index))}`),
    ]),
    notes.length > 0 ? `. ${notes.join(" ")}` : "",
  ];
}

const quoted = (label: string) => html("bdi", {}, visible(label));
