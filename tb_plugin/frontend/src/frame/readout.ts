// The cell under the cursor in words and numbers; without a cursor, the largest weight.

import { html, setAttributes } from "../drawing/dom";
import { largest } from "../drawing/peaks";
import { formatValue, formatWeight } from "../drawing/scale";
import type { Shown } from "../data/shown";
import type { Store } from "../data/store";
import { looked } from "../text/subwords";
import { axisName } from "../drawing/words";

export function createReadout(store: Store): HTMLElement {
  const root = html("div", { id: "readout", role: "status" });
  store.subscribe(() => {
    const look = looked(store.state);
    root.hidden = look === null;
    if (!look) return;
    const { shown, cursor } = look;
    const keys = shown.keys.length;
    const idle = cursor.query === null && cursor.key === null;
    const { query, key, map = 0 } = idle ? (largest(shown, 1)[0] ?? cursor) : cursor;
    const weights = shown.maps[map] ?? shown.weights;
    const weight = query === null || key === null ? null : weights[query * keys + key];

    setAttributes(root, {
      "data-value": weight ?? false,
      "data-query": query === null ? false : shown.queries[query],
      "data-key": key === null ? false : shown.keys[key],
      "data-step": shown.at.step,
      "data-sample": shown.sample,
      "data-head": String(shown.head),
    });
    const fields = [
      field(idle ? "largest weight" : "weight", weight === null ? "–" : formatWeight(weight), "strong"),
    ];
    // How far from a row that attends to everything alike; a window's rows sum to less, and have no such share.
    if (shown.header.normalised)
      fields.push(field("times an even share", weight === null ? "–" : (weight * keys).toFixed(2)));
    if (shown.maps.length > 1) fields.push(field("head", String((shown.head as number[])[map] + 1)));
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
