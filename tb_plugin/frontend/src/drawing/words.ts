// What axes are called.

import type { Shown } from "../data/shown";

const DATE = /^\d{4}-\d\d-\d\d$/;

/** The name of an axis by its kind; times are past or forecast where the timeline tells which. */
export function axisName({ header, queries, keys, timeline }: Shown, which: "queries" | "keys"): string {
  const role = which === "queries" ? "query" : "key";
  const axis = header[which];
  if (axis.kind !== "time") return `${role}: ${axis.kind}`;
  const unit = DATE.test((which === "queries" ? queries : keys)[0]) ? "day" : "time";
  const ahead = timeline !== null && timeline.columns > keys.length;
  if (!ahead) return `${role}: ${unit}`;
  return `${role}: ${which === "queries" ? "forecast" : "past"} ${unit}`;
}
