// Step, sample and head.

import { html } from "../drawing/dom";
import { createPlay } from "./play";
import type { Store } from "../data/store";

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function createControls(store: Store): HTMLElement {
  const { state } = store;
  const slider = html("input", { type: "range", id: "step", min: 0, step: 1, "aria-label": "Training step" });
  const title = html("span", { class: "name" });
  const stepText = html("output", { for: "step", class: "step" });
  const when = html("span", { class: "when" });
  const sample = html("select", { id: "sample", "aria-label": "Sample" });
  const before = html("button", { class: "turn", "aria-label": "Previous sample" }, "‹");
  const after = html("button", { class: "turn", "aria-label": "Next sample" }, "›");
  const head = html("select", { id: "head", "aria-label": "Head" });
  const some = html("input", { type: "text", id: "heads", "aria-label": "Which heads", title: "Which heads, such as 1-4, 8" });
  const samples = labelled("Sample", before, sample, after);
  const heads = labelled("Head", head, some);
  const play = createPlay(store);
  const training = html(
    "div",
    { class: "control steps" },
    title,
    html("div", { class: "row" }, play, slider, stepText, when),
  );
  const root = html("div", { class: "controls" }, training, samples, heads);

  function labelled(name: string, ...parts: HTMLElement[]): HTMLElement {
    return html(
      "div",
      { class: "control" },
      html("span", { class: "name" }, name),
      html("div", { class: "row" }, ...parts),
    );
  }

  slider.addEventListener("input", () => {
    const at = state.steps[slider.valueAsNumber];
    stepText.textContent = String(at.step);
    // The last step means the newest: it follows as training goes on.
    void store.select({ step: slider.valueAsNumber === state.steps.length - 1 ? null : at.step });
  });
  const chooseSample = (index: number) => void store.select({ sample: index });
  sample.addEventListener("change", () => chooseSample(sample.selectedIndex));
  before.addEventListener("click", () => chooseSample(state.opened!.sample - 1));
  after.addEventListener("click", () => chooseSample(state.opened!.sample + 1));
  head.addEventListener(
    "change",
    () => void store.select({ head: head.value === "mean" || head.value === "max" ? head.value : head.value.split(",").map(Number) }),
  );

  some.addEventListener("change", () => {
    const wanted = headsIn(some.value, state.opened!.header.shape[0]);
    some.value = listOf(wanted.length > 0 ? wanted : (state.opened!.head as number[])); // as it was understood
    if (wanted.length > 0) void store.select({ head: wanted });
  });

  store.subscribe(() => {
    const { opened, steps, selection } = state;
    root.hidden = steps.length === 0;
    if (root.hidden) return;
    training.hidden = steps.length === 1 && steps[0].wall_time === null; // zoo.plot.html knows of no training
    const chosen = steps.findIndex((one) => one.step === selection.step);
    const index = chosen < 0 ? steps.length - 1 : chosen;
    slider.max = String(steps.length - 1);
    slider.value = String(index);
    slider.disabled = steps.length === 1;
    slider.style.setProperty("--done", `${(100 * index) / Math.max(1, steps.length - 1)}%`);
    slider.setAttribute("aria-valuetext", `step ${steps[index].step}`);
    stepText.textContent = String(steps[index].step);
    const wallTime = steps[index].wall_time;
    when.textContent = wallTime !== null && Math.abs(wallTime) < 8e12 ? clock.format(wallTime * 1000) : "";
    title.textContent = steps.length === 1 ? "Training step" : `Training step, ${steps.length} logged`;
    const many = opened?.header.shape[0] ?? 1;
    const count = opened?.header.samples ?? 1;
    samples.hidden = count === 1;
    heads.hidden = many === 1;
    if (!opened) return;
    before.disabled = opened.sample === 0;
    after.disabled = opened.sample === count - 1;
    options(
      sample,
      opened.sampleLabels.map((label, at) => [String(at), label]),
      String(opened.sample),
    );
    const each = Array.from({ length: many }, (_, at): [string, string] => [
      String(at),
      `head ${at + 1} of ${many}`,
    ]);
    const all = Array.from({ length: many }, (_, at) => at).join();
    const over: [string, string][] = [
      ["mean", `mean of ${many} heads`],
      ["max", `maximum of ${many} heads`],
      [all, `all ${many} heads`],
    ];
    const asked = String(opened.head);
    const several: [string, string][] =
      Array.isArray(opened.head) && opened.head.length > 1 && asked !== all
        ? [[asked, `heads ${opened.head.map((at) => at + 1).join(", ")}`]]
        : [];
    options(head, [...over, ...several, ...each], asked);
    some.hidden = !Array.isArray(opened.head) || opened.head.length === 1;
    if (!some.hidden && document.activeElement !== some) some.value = listOf(opened.head as number[]);
  });
  return root;
}

/** The heads that a text such as "1-4, 8" names, counted from 0. */
function headsIn(text: string, many: number): number[] {
  const named = new Set<number>();
  for (const [, first, last] of text.matchAll(/(\d{1,3})(?:\s*[-–]\s*(\d{1,3}))?/g))
    for (let at = Number(first); at <= Math.min(many, Number(last ?? first)); at++) if (at > 0) named.add(at - 1);
  return [...named].sort((a, b) => a - b);
}

/** The same as text. */
function listOf(heads: number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const head of heads) {
    const run = runs[runs.length - 1];
    if (run && head === run[1] + 1) run[1] = head;
    else runs.push([head, head]);
  }
  return runs.map(([first, last]) => (first === last ? `${first + 1}` : `${first + 1}-${last + 1}`)).join(", ");
}

/** Replaced only where they differ: an open list stays open. */
export function options(select: HTMLSelectElement, wanted: [value: string, text: string][], value: string): void {
  const same =
    select.length === wanted.length && wanted.every(([, text], index) => select.options[index].text === text);
  if (!same) select.replaceChildren(...wanted.map(([each, text]) => html("option", { value: each }, text)));
  select.value = value;
}
