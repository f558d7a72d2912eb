// One sentence where there is no map to show.

import { html } from "../drawing/dom";
import type { Store } from "../data/store";

const EXAMPLE = `import zoo

model.fit(x, y, callbacks=[
    zoo.AttentionLogger("logs/run-1", sample=x_val[:4]),
])`;

export function createNotice(store: Store): HTMLElement {
  const { state } = store;
  const sentence = html("p", { role: "status" });
  const example = html("pre", { tabindex: 0, "aria-label": "Example" }, EXAMPLE);
  const root = html("section", { class: "notice" }, sentence, example);
  store.subscribe(() => {
    const { runs, shown, loading, problem } = state;
    const empty = !loading && problem === null && runs !== null && Object.keys(runs).length === 0;
    example.hidden = !empty;
    root.hidden = shown !== null && problem === null;
    root.classList.toggle("problem", problem !== null);
    const text =
      problem ??
      (empty
        ? "No attention has been logged here. Add zoo.AttentionLogger to your training, and reload:"
        : loading
          ? "Loading…"
          : "Nothing has been logged under this tag yet.");
    if (sentence.textContent !== text) sentence.textContent = text; // said once by a screen reader
  });
  return root;
}
