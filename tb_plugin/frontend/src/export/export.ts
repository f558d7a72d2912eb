// What is on screen, as a file.

import { compose, rasterise } from "./compose";
import { html } from "../drawing/dom";
import { type Embedded, type Table, csv, csvOf, npy, standalone } from "./files";
import { addressOf, ownModule } from "../data/host";
import { headText } from "../compare/other";
import { type Reply, STATISTICS, decodeMapHeader, inputsTag, splitTag } from "../data/record";
import { type Shown, partsOf } from "../data/shown";
import { type State, type Store, mapTags } from "../data/store";

const STEPS_AT_ONCE = 500;
const MOST_BYTES = 64 * 1024 * 1024; // of other layers in a file of its own

export function createExport(store: Store): HTMLElement {
  const { state } = store;
  const kinds: [name: string, about: string, make: () => Blob | Promise<Blob>][] = [
    ["PNG", "a picture of this view, twice as fine", () => rasterise(picture(state))],
    ["SVG", "a drawing of this view; labels stay text", () => new Blob([picture(state).text], { type: "image/svg+xml" })],
    ["CSV", "the numbers of this view with their labels", () => (hasStatistics(state) ? numbers(store) : csv(table(state)))],
    ["NPY", "the chosen weights for NumPy, float32", () => npy(table(state))],
    ["HTML", "all layers, heads and samples of this step, to open anywhere", () => page(store)],
  ];
  const button = html("button", { class: "open", "aria-haspopup": "menu", "aria-expanded": "false" }, "Export");
  const items = kinds.map(([name, about, make]) => {
    const item = html(
      "button",
      { role: "menuitem", tabindex: -1, "data-kind": name.toLowerCase() },
      html("span", { class: "kind" }, name),
      html("span", { class: "about" }, about),
    );
    item.addEventListener("click", () => void save(name, make));
    return item;
  });
  const menu = html("div", { class: "menu", role: "menu", "aria-label": "Export" }, ...items);
  const said = html("p", { class: "said", role: "status" });
  const root = html("div", { class: "export" }, button, menu, said);
  menu.hidden = true;

  function open(now: boolean): void {
    menu.hidden = !now;
    button.setAttribute("aria-expanded", String(now));
    said.textContent = "";
    if (now) items[0].focus();
  }

  async function save(name: string, make: () => Blob | Promise<Blob>): Promise<void> {
    open(false);
    button.focus();
    try {
      while (state.loading) await new Promise(requestAnimationFrame); // what is on its way is wanted
      const link = html("a", { download: `${fileName(state)}.${name.toLowerCase()}` });
      link.href = URL.createObjectURL(await make());
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still be writing
    } catch (error) {
      said.textContent = `The ${name} file was not made. ${(error as Error).message}`;
    }
  }

  button.addEventListener("click", () => open(menu.hidden !== false));
  menu.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays until the click
  root.addEventListener("focusout", (event) => {
    if (!menu.hidden && !root.contains(event.relatedTarget as Node | null)) open(false);
  });
  root.addEventListener("keydown", (event) => {
    if (menu.hidden && !(event.key === "ArrowDown" && event.target === button)) return;
    const last = items.length - 1;
    const at = items.indexOf(event.target as HTMLButtonElement);
    const next = {
      ArrowDown: at === last ? 0 : at + 1,
      ArrowUp: at <= 0 ? last : at - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (event.key !== "Escape" && next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape") {
      open(false);
      button.focus();
    } else if (menu.hidden) open(true);
    else items[next!].focus();
  });
  store.subscribe(() => {
    root.hidden = state.shown === null;
  });
  return root;
}

function picture({ shown }: State) {
  const { at, sampleLabels, sample, head, header } = shown!;
  const heads = header.shape[0];
  const which = typeof head !== "string" && head.length > 1 ? `${head.length} of ${heads} heads` : headText(head, heads);
  const step = at.wall_time === null ? [] : [`step ${at.step}`];
  const caption = [...step, sampleLabels[sample], which].join(" · ");
  return compose([document.querySelector("main > header")!, document.querySelector(".chart-area")!], caption);
}

/** The maps that are on screen: those of the chosen heads, or the two that are compared and their difference. */
function table({ shown, other, view }: State): Table {
  const { queries, keys, maps, head } = shown!;
  if (view === "compare" && other?.queries.length === queries.length && other.keys.length === keys.length) {
    const [a, b] = [shown!.weights, other.weights];
    const named = { A: a, B: b, "A − B": a.map((weight, cell) => weight - b[cell]) };
    return { queries, keys, maps: Object.entries(named).map(([name, weights]) => ({ name, weights })) };
  }
  const name = (index: number) => (typeof head === "string" ? head : `head ${head[index] + 1}`);
  return { queries, keys, maps: maps.map((weights, index) => ({ name: name(index), weights })) };
}

/** Of which views the numbers are statistics, and not weights. */
const hasStatistics = ({ view }: State): boolean => view === "overview" || view === "training";

/** Of all layers at this step, or of this layer at all steps: a row for each sample and head. */
async function numbers({ state, source }: Store): Promise<Blob> {
  const { run, tag, name, at } = state.shown!;
  const { signal } = new AbortController();
  const [tags, steps] = state.view === "overview" ? [layersOf(state, run, name), [at]] : [[tag], state.steps];
  const rows = [["layer", "step", "sample", "head", ...STATISTICS]];
  for (let first = 0; first < steps.length; first += STEPS_AT_ONCE) {
    const some = steps.slice(first, first + STEPS_AT_ONCE);
    for (const reply of await source.records({ run, tags, steps: some, parts: [] }, signal)) {
      if (reply.error !== null) continue; // the view says so
      const { layer, statistics, samples, shape } = decodeMapHeader(reply.parts[0]);
      for (let sample = 0; sample < samples; sample++)
        for (let head = 0; head < shape[0]; head++) {
          const found = STATISTICS.map((one) => String(statistics[one]?.[sample][head] ?? ""));
          rows.push([layer || reply.tag, String(reply.step), String(sample + 1), String(head + 1), ...found]);
        }
    }
  }
  return csvOf(rows);
}

function layersOf({ runs }: State, run: string, name: string): string[] {
  const tags = runs?.[run] ?? [];
  return mapTags(tags).filter((tag) => splitTag(tag, tags).name === name);
}

/** The whole records behind what is on screen: every layer, sample and head, and what the model was shown. */
async function page({ state, source, stepsOf }: Store): Promise<Blob> {
  const { signal } = new AbortController();
  let bytes = 0;
  const runs: Map<string, Map<string, Map<number, Embedded[string][string][number]>>> = new Map();
  const keep = async (run: string, reply: Reply) => {
    const parts = await Promise.all(partsOf(reply).map(base64));
    bytes += parts.reduce((sum, part) => sum + part.length, 0);
    const tags = runs.get(run) ?? new Map();
    const records = tags.get(reply.tag) ?? new Map();
    records.set(reply.step, { step: reply.step, wall_time: reply.wallTime, parts });
    runs.set(run, tags.set(reply.tag, records));
  };
  for (const { run, tag, name, at } of [state.shown, state.other].filter((one): one is Shown => one !== null)) {
    const [maps] = await source.records({ run, tags: [tag], steps: [at], parts: ["thumbnails", "maps"] }, signal);
    await keep(run, maps);
    for (const other of layersOf(state, run, name)) {
      if (other === tag || bytes > MOST_BYTES) continue; // the chosen one is there in any case
      const [more] = await source.records({ run, tags: [other], steps: [at], parts: ["thumbnails", "maps"] }, signal);
      if (more.error === null && !runs.get(run)?.get(other)?.has(at.step)) await keep(run, more);
    }
    const step = (await stepsOf(run, tag, signal))[1].find((one) => one.step === at.step);
    if (!step) continue;
    const [inputs] = await source.records({ run, tags: [inputsTag(name)], steps: [step], parts: ["maps"] }, signal);
    if (inputs.error === null) await keep(run, inputs);
  }
  const sorted = [...runs].map(([run, tags]): [string, Embedded[string]] => [
    run,
    Object.fromEntries(
      [...tags].map(([tag, records]) => [tag, [...records.values()].sort((a, b) => a.step - b.step)]),
    ),
  ]);
  const { layer, run, tag, at } = state.shown!;
  const address = addressOf({ ...state.selection, view: state.view, run, tag, step: at.step });
  return standalone(`${layer} · ${run}`, { runs: Object.fromEntries(sorted), address }, await ownModule());
}

function base64(bytes: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve((reader.result as string).replace(/^.*,|^data:$/, ""));
    reader.onerror = () => reject(new Error("The record is too large for one file."));
    reader.readAsDataURL(new Blob([bytes as Uint8Array<ArrayBuffer>]));
  });
}

function fileName({ shown, view }: State): string {
  const { layer, at, sample, head } = shown!;
  const heads = typeof head === "string" ? head : `head${head.map((one) => one + 1).join("-")}`;
  const name = `${layer}_${view}_step${at.step}_sample${sample + 1}_${heads}`;
  return name.replace(/[^\p{L}\p{N}_-]+/gu, "_").slice(0, 120);
}
