// How much attention goes how far back, and which distances stand out.

import { html, setAttributes, svg } from "../drawing/dom";
import { type Calendar, calendarOf } from "./calendar";
import { type Layout, layOut, textWidth } from "../drawing/layout";
import { type Profile, meanProfile, placesOf, rowProfile, strongest } from "./lags";
import { ticks } from "../drawing/scale";
import type { Shown } from "../data/shown";
import type { Store } from "../data/store";

const HEIGHT = 150;
const TOP = 26; // for the marks' names
const BOTTOM = 40; // for the axis

export function createLagProfile(store: Store): HTMLElement {
  const { state } = store;
  const title = html("h2", {}, "Attention by lag");
  const about = html("p", { id: "lag-about" });
  const chart = svg("svg", { class: "chart", role: "img", height: HEIGHT + BOTTOM });
  const root = html("section", { class: "lag" }, html("header", {}, title, about), chart);

  let drawn: { shown: Shown | null; width: number; query: number | null } = { shown: null, width: 0, query: null };
  let mean: Profile | null = null;
  let calendar: Calendar | null = null;
  let profile: Profile;
  let plot: Plot;

  store.subscribe(() => {
    const { shown, view, width, cursor } = state;
    root.hidden = shown === null || view !== "time" || width === 0;
    if (root.hidden || !shown) return;
    if (drawn.shown !== shown) {
      mean = meanProfile(shown, placesOf(shown));
      calendar = calendarOf(shown.keys);
    }
    root.hidden = mean === null; // nothing tells how far the queries are from the keys
    if (mean === null) return;
    if (drawn.shown === shown && drawn.width === width && drawn.query === cursor.query) return;
    drawn = { shown, width, query: cursor.query };
    profile = cursor.query === null ? mean : rowProfile(shown, placesOf(shown)!, cursor.query, mean);
    plot = draw(chart, profile, cursor.query === null ? null : mean, layOut(state, shown), calendar);
    tell(null);
  });

  /** Of one lag, or of those that stand out. */
  function tell(at: number | null): void {
    const { shown } = state;
    const whose = drawn.query === null ? "mean of all rows" : `row ${shown!.queries[drawn.query]}`;
    const marks = strongest(profile);
    const said = (index: number) => `${lagName(profile, index, calendar)}: ${profile.values[index].toFixed(2)}`;
    setAttributes(root, {
      "data-lag": at === null ? false : profile.first + at,
      "data-value": at === null ? false : profile.values[at],
      "data-strongest": marks.map((index) => profile.first + index).join(),
    });
    about.textContent =
      at === null
        ? `times an even share, ${whose}` + (marks.length > 0 ? ` · strongest ${marks.map(said).join(", ")}` : "")
        : `${said(at)} times an even share, ${whose}` +
          (drawn.query === null ? `, ${profile.pairs[at]} ${profile.pairs[at] === 1 ? "pair" : "pairs"}` : "");
    setAttributes(chart, { "aria-label": `Attention by lag: ${about.textContent}` });
    plot.point(at);
  }

  chart.addEventListener("pointermove", (event) => {
    const at = plot.indexAt(event.clientX - chart.getBoundingClientRect().left);
    tell(at !== null && profile.pairs[at] > 0 ? at : null);
  });
  chart.addEventListener("pointerleave", () => tell(null));
  return root;
}

interface Plot {
  indexAt(x: number): number | null;
  point(at: number | null): void;
}

function draw(
  chart: SVGSVGElement,
  profile: Profile,
  behind: Profile | null,
  { left, width }: Layout,
  calendar: Calendar | null,
): Plot {
  const { values, pairs } = profile;
  const step = width / values.length;
  // Far lags stand on the left, as far days do in the series above.
  const x = (index: number) => left + width - (index + 0.5) * step;
  const most = [...values, ...(behind?.values ?? [])].reduce((a, b) => Math.max(a, b), 1.2);
  const y = (value: number) => HEIGHT - ((HEIGHT - TOP) * value) / most;
  const bars = (of: Profile) => {
    let path = "";
    const half = Math.max(0.35, step > 4 ? step / 2 - 1 : step / 2);
    of.values.forEach((value, index) => {
      if (of.pairs[index] === 0) return;
      path += `M${(x(index) - half).toFixed(2)} ${HEIGHT}V${y(value).toFixed(2)}h${(2 * half).toFixed(2)}V${HEIGHT}Z`;
    });
    return path;
  };

  const { values: shares, format } = ticks(0, most, 3);
  const parts: SVGElement[] = shares.flatMap((value) => [
    svg("line", { class: "grid", x1: left, x2: left + width, y1: y(value), y2: y(value) }),
    svg("text", { x: left - 10, y: y(value) + 4, "text-anchor": "end" }, format(value)),
  ]);
  if (behind) parts.push(svg("path", { class: "behind", d: bars(behind) }));
  parts.push(svg("path", { class: "bars", d: bars(profile) }));
  parts.push(
    svg("line", { class: "even", x1: left, x2: left + width, y1: y(1), y2: y(1) }),
    svg("text", { class: "even", x: left + width + 6, y: y(1) + 4 }, "even"),
  );
  const named: { from: number; to: number; at: number }[] = [];
  for (const index of strongest(profile)) {
    const name = lagName(profile, index, calendar);
    const half = textWidth(name) / 2;
    const middle = Math.max(left + half, Math.min(left + width - half, x(index)));
    const [from, to] = [middle - half - 4, middle + half + 4];
    let at = y(values[index]) - 9;
    for (const one of named) if (from < one.to && one.from < to) at = Math.min(at, one.at - 13); // above it
    named.push({ from, to, at });
    parts.push(
      svg("circle", { class: "peak", cx: x(index), cy: y(values[index]), r: 3.5 }),
      svg("text", { class: "peak", x: middle, y: at, "text-anchor": "middle" }, name),
    );
  }

  const last = profile.first + values.length - 1;
  const marks = ticks(profile.first, last, Math.max(2, Math.min(12, width / 90)));
  const unit = calendar && calendar.size === 1 ? `${calendar.unit}s` : "steps";
  const title = `← ${unit} back`;
  for (const lag of marks.values.filter((value) => Number.isInteger(value))) {
    const at = x(lag - profile.first);
    if (at < textWidth(title) + 24) continue; // under the axis' name
    const named = calendar && calendar.size !== 1 ? calendar.name(lag) : null;
    parts.push(svg("line", { class: "grid", x1: at, x2: at, y1: HEIGHT, y2: HEIGHT + 4 }));
    parts.push(svg("text", { x: at, y: HEIGHT + 17, "text-anchor": "middle" }, stepsOf(profile, lag)));
    if (named) parts.push(svg("text", { x: at, y: HEIGHT + 31, "text-anchor": "middle" }, named));
  }
  parts.push(svg("text", { class: "axis", x: 0, y: HEIGHT + 17 }, title));
  const cursor = svg("line", { class: "pointed", y1: TOP - 10, y2: HEIGHT });
  setAttributes(chart, { width: left + width });
  chart.replaceChildren(...parts, cursor);
  return {
    indexAt(px) {
      const index = Math.floor((left + width - px) / step);
      return index >= 0 && index < values.length && pairs[index] > 0 ? index : null;
    },
    point(at) {
      cursor.classList.toggle("off", at === null);
      if (at !== null) setAttributes(cursor, { x1: x(at), x2: x(at) });
    },
  };
}

function lagName({ first, bin }: Profile, index: number, calendar: Calendar | null): string {
  const lag = first + index;
  if (lag === 0) return "itself";
  const far = Math.abs(lag);
  const steps = stepsOf({ bin }, far);
  const name = calendar ? calendar.name(far) : `${steps} ${steps === "1" ? "step" : "steps"}`;
  return lag < 0 ? `${name} ahead` : name;
}

function stepsOf({ bin }: Pick<Profile, "bin">, lag: number): string {
  return String(Math.round(lag * bin));
}
