// What a reader must know of a map before trusting its colours.

import { html } from "../drawing/dom";
import { classTokens } from "../data/record";
import type { Shown } from "../data/shown";
import type { Store } from "../data/store";

export function createNotes(store: Store): HTMLElement {
  const root = html("ul", { class: "notes", id: "notes" });
  let drawn: Shown | null = null;
  store.subscribe(() => {
    const { shown } = store.state;
    if (shown === drawn) return;
    drawn = shown;
    const notes = shown ? notesOn(shown) : [];
    root.hidden = notes.length === 0;
    root.replaceChildren(...notes.map((note) => html("li", {}, note)));
  });
  return root;
}

function notesOn({ header, max, inputsProblem, timeline, patches }: Shown): string[] {
  const [, queries, keys] = header.shape;
  const notes: string[] = [];
  if (!header.normalised) notes.push("Rows do not sum to 1: this map is not normalised.");
  if (max === 0) notes.push("Every weight of this map is 0.");
  if (patches) {
    const [rows, columns] = patches.header.keys.grid!;
    const left = classTokens(patches.header.keys) > 0 ? " What goes to class tokens is left out." : "";
    notes.push(`Folded to time: of ${rows} × ${columns} patches, those above each other are one time.${left}`);
  } else if (header.full[0] !== queries || header.full[1] !== keys) {
    notes.push(
      `Pooled from ${header.full[0]} × ${header.full[1]} to ${queries} × ${keys}: mean over queries, sum over keys.`,
    );
  }
  if (header.repaired > 0)
    notes.push(`${header.repaired} weights were negative, or beyond what float32 holds, when logged; they are shown as 0.`);
  if (inputsProblem) notes.push(`The input series is not drawn. ${inputsProblem}`);
  else if (timeline === null && header.keys.kind === "time")
    notes.push("No input series was logged at this step.");
  return notes;
}
