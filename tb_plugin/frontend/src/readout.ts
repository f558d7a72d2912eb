// The cell under the cursor in words and numbers; without a cursor, the largest weight.

import { html, setAttributes } from "./dom";
import { formatValue, formatWeight } from "./scale";
import type { Shown, Store } from "./store";
import { axisName } from "./words";

export function createReadout(store: Store): HTMLElement {
  const root = html("div", { id: "readout", role: "status" });
  store.subscribe(() => {
    const { shown, cursor } = store.state;
    root.hidden = shown === null;
    if (!shown) return;
    const keys = shown.keys.length;
    const idle = cursor.query === null && cursor.key === null;
    const largest = idle ? shown.weights.indexOf(shown.max) : 0;
    const query = idle ? Math.floor(largest / keys) : cursor.query;
    const key = idle ? largest % keys : cursor.key;
    const weight = query === null || key === null ? null : shown.weights[query * keys + key];

    setAttributes(root, {
      "data-value": weight ?? false,
      "data-query": query === null ? false : shown.queries[query],
      "data-key": key === null ? false : shown.keys[key],
      "data-step": shown.at.step,
      "data-sample": shown.sample,
      "data-head": shown.head,
    });
    const fields = [
      field(idle ? "largest weight" : "weight", weight === null ? "–" : formatWeight(weight), "strong"),
    ];
    // How far from a row that attends to everything alike; a window's rows sum to less, and have no such share.
    if (shown.header.normalised)
      fields.push(field("times an even share", weight === null ? "–" : (weight * keys).toFixed(2)));
    fields.push(field(axisName(shown, "queries"), query === null ? "–" : shown.queries[query]));
    fields.push(field(axisName(shown, "keys"), key === null ? "–" : shown.keys[key]));
    fields.push(...dayFields(shown, query, key));
    root.replaceChildren(...fields);
  });
  return root;
}

function dayFields({ timeline }: Shown, query: number | null, key: number | null): HTMLElement[] {
  if (!timeline) return [];
  return timeline.lines.map((line) => {
    const own = query === null ? null : timeline.rows[query];
    const point = line.points.find(({ x }) =>
      line.role === "input" ? key !== null && Math.floor(x) === key : x === own,
    );
    return field(line.name, point?.value == null ? "–" : formatValue(point.value), line.role);
  });
}

function field(name: string, value: string, kind = ""): HTMLElement {
  return html(
    "div",
    { class: kind },
    html("span", { class: "name" }, name),
    html("span", { class: "value" }, value),
  );
}
