// The second of two that are compared: its run, layer, step, sample and head, each the first's unless chosen.

import { options } from "../frame/controls";
import { html } from "../drawing/dom";
import { splitTag } from "../data/record";
import type { Head } from "../data/shown";
import type { Step } from "../data/source";
import { type Selection, type Store, mapTags } from "../data/store";

const MOST_STEPS = 400; // in a list; of more, every so manieth
const SAME = "same";

export function createOther(store: Store): HTMLElement {
  const { state } = store;
  const run = choice("Run", (value) => ({ otherRun: value === SAME ? null : runs()[Number(value)], otherTag: null }));
  const layer = choice("Layer", (value) => ({ otherTag: value === SAME ? null : layers()[Number(value)] }));
  const step = choice("Step", (value) => ({ otherStep: value === SAME ? null : Number(value) }));
  const sample = choice("Sample", (value) => ({ otherSample: value === SAME ? null : Number(value) }));
  const head = choice("Head", (value) => ({ otherHead: value === SAME ? null : headOf(value) }));
  const swap = html("button", { class: "swap", title: "Swap A and B" }, "⇄ Swap");
  swap.addEventListener("click", () => void store.select(swapped(store)));
  const root = html(
    "div",
    { class: "controls other", role: "group", "aria-label": "B, what is compared with it" },
    html("span", { class: "letter" }, "B"),
    ...[run, layer, step, sample, head].map(({ control }) => control),
    swap,
  );

  let steps: Step[] = [];
  let listed = ""; // whose steps those are
  let turn = new AbortController();

  const chosenRun = () => state.other?.run ?? state.selection.otherRun ?? state.shown!.run;
  const runs = () => Object.keys(state.runs ?? {});
  const tags = () => state.runs?.[chosenRun()] ?? [];
  const layers = () => mapTags(tags());
  const chosenTag = () => {
    const wanted = [state.other?.tag, state.selection.otherTag, state.shown!.tag];
    return wanted.find((tag) => tag != null && layers().includes(tag)) ?? layers()[0];
  };

  function choice(name: string, patch: (value: string) => Partial<Selection>) {
    const select = html("select", { "aria-label": `${name} of B`, "data-other": name.toLowerCase() });
    const title = html("span", { class: "name" }, name);
    const control = html("div", { class: "control" }, title, html("div", { class: "row" }, select));
    select.addEventListener("change", () => void store.select(patch(select.value)));
    return { select, title, control };
  }

  function fill(
    { select, control }: ReturnType<typeof choice>,
    same: string,
    each: [value: string, text: string][],
    chosen: string | null,
  ): void {
    control.hidden = each.length < 2;
    options(select, [[SAME, same], ...each], chosen ?? SAME);
  }

  async function listSteps(): Promise<void> {
    const key = JSON.stringify([chosenRun(), chosenTag(), state.runs?.[chosenRun()]?.length]);
    const same = chosenRun() === state.shown!.run && chosenTag() === state.shown!.tag;
    if (same) [steps, listed] = [state.steps, ""];
    if (same || key === listed) return;
    [steps, listed] = [[], key];
    turn.abort();
    const { signal } = (turn = new AbortController());
    const found = await store.stepsOf(chosenRun(), chosenTag(), signal).catch(() => null);
    if (signal.aborted || found === null) return; // the map itself says what is wrong
    [steps] = found;
    draw();
  }

  function draw(): void {
    const { selection, other, shown } = state;
    const b = other ?? shown!;
    fill(run, "the same run", indexed(runs()), at(runs(), selection.otherRun));
    const names = layers().map((tag) => splitTag(tag, tags()));
    const one = new Set(names.map(({ name }) => name)).size < 2;
    fill(
      layer,
      "the same layer",
      indexed(names.map((each) => (one ? each.layer : `${each.name} · ${each.layer}`))),
      at(layers(), chosenTag() === shown!.tag ? null : chosenTag()),
    );
    const stride = Math.ceil(steps.length / MOST_STEPS);
    const some = steps.filter((each, index) => index % stride === 0 || each.step === b.at.step);
    step.title.textContent = stride > 1 ? `Step, one of ${stride} listed` : "Step";
    fill(
      step,
      "the same step",
      some.map((each) => [String(each.step), String(each.step)]),
      selection.otherStep === null ? null : String(b.at.step),
    );
    fill(
      sample,
      "the same sample",
      indexed(b.sampleLabels),
      selection.otherSample === null ? null : String(b.sample),
    );
    const heads = b.header.shape[0];
    fill(
      head,
      "the same head",
      [
        ...(["mean", "max"] as const).map((how): [string, string] => [how, headText(how, heads)]),
        ...Array.from({ length: heads }, (_, index): [string, string] => [String(index), headText([index], heads)]),
      ].slice(heads === 1 ? 2 : 0),
      selection.otherHead === null ? null : String(b.head),
    );
  }

  store.subscribe(() => {
    if (state.shown === null || state.view !== "compare") return;
    void listSteps();
    draw();
  });
  return root;
}

export function headText(head: Head, heads: number): string {
  if (head === "mean") return `mean of ${heads} heads`;
  if (head === "max") return `maximum of ${heads} heads`;
  return `head ${head[0] + 1} of ${heads}`;
}

function headOf(value: string): Head {
  return value === "mean" || value === "max" ? value : [Number(value)];
}

function indexed(texts: string[]): [value: string, text: string][] {
  return texts.map((text, index) => [String(index), text]);
}

function at(texts: string[], text: string | null): string | null {
  const index = text === null ? -1 : texts.indexOf(text);
  return index < 0 ? null : String(index);
}

/** A becomes B and B becomes A; what both have alike stays so. */
function swapped({ state }: Store): Partial<Selection> {
  const { shown: a, other: b, selection } = state;
  if (!a || !b) return {};
  const sameStep = a.at.step === b.at.step;
  return {
    run: b.run,
    tag: b.tag,
    step: sameStep ? selection.step : b.at.step,
    sample: b.sample,
    head: compared(b.head),
    otherRun: a.run === b.run ? null : a.run,
    otherTag: a.tag === b.tag ? null : a.tag,
    otherStep: sameStep ? null : a.at.step,
    otherSample: a.sample === b.sample ? null : a.sample,
    otherHead: String(a.head) === String(b.head) ? null : compared(a.head),
  };
}

/** Of several heads the first. */
function compared(head: Head): Head {
  return typeof head === "string" ? head : [head[0]];
}
