// The keyboard, for everything; `?` shows the keys.

import { html } from "../drawing/dom";
import { VIEWS, type Store, mapTags, viewsFor } from "../data/store";

const KEYS: [keys: string, what: string][] = [
  ["← →", "previous and next head"],
  ["↑ ↓", "previous and next layer"],
  ["Page Up, Page Down", "previous and next training step"],
  ["s, S", "next and previous sample"],
  ["m", "mean of all heads"],
  ["1 … 7", "the views, from left to right"],
  ["Space", "play the training steps, or stop"],
  ["Tab", "to the map; there the arrows move from cell to cell, + and - zoom, 0 shows all, Escape leaves"],
  ["?", "these keys"],
];

export function createKeys(store: Store): HTMLElement {
  const { state } = store;
  const list = KEYS.flatMap(([keys, what]) => [html("dt", {}, keys), html("dd", {}, what)]);
  const close = html("button", { class: "close" }, "Close");
  const dialog = html(
    "dialog",
    { class: "keys", "aria-labelledby": "keys-title" },
    html("h2", { id: "keys-title" }, "Keys"),
    html("dl", {}, ...list),
    close,
  );
  close.addEventListener("click", () => dialog.close());

  function moveHead(by: number): void {
    const { opened } = state;
    if (!opened) return;
    const heads = opened.header.shape[0];
    const now = Array.isArray(opened.head) && opened.head.length === 1 ? opened.head[0] : by > 0 ? -1 : heads;
    void store.select({ head: [(now + by + heads) % heads] });
  }

  function moveLayer(by: number): void {
    const { run, tag } = state.selection;
    const tags = mapTags((run !== null && state.runs?.[run]) || []);
    const next = tags[tags.indexOf(tag ?? "") + by];
    if (next) void store.select({ tag: next });
  }

  function moveStep(by: number): void {
    const { steps, shown } = state;
    const next = steps.findIndex(({ step }) => step === shown?.at.step) + by;
    // The last step means the newest: it follows as training goes on.
    if (steps[next]) void store.select({ step: next === steps.length - 1 ? null : steps[next].step });
  }

  function moveSample(by: number): void {
    const count = state.opened?.header.samples ?? 1;
    void store.select({ sample: ((state.opened?.sample ?? 0) + by + count) % count });
  }

  const actions: Record<string, () => void> = {
    ArrowLeft: () => moveHead(-1),
    ArrowRight: () => moveHead(1),
    ArrowUp: () => moveLayer(-1),
    ArrowDown: () => moveLayer(1),
    PageUp: () => moveStep(-1),
    PageDown: () => moveStep(1),
    s: () => moveSample(1),
    S: () => moveSample(-1),
    m: () => void store.select({ head: "mean" }),
    "?": () => dialog.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const { target } = event;
    const page = event.key.startsWith("Page");
    // A field and a map use keys of their own; Page Up and Page Down belong to no one else.
    const taken = target instanceof Element && target.closest("input, select, textarea, canvas, [data-keys]");
    if (taken && !(page || event.key === "?") ) return;
    const view = VIEWS.filter((one) => viewsFor(state.shown).includes(one))[Number(event.key) - 1];
    const action = actions[event.key] ?? (view && (() => void store.select({ view })));
    if (!action || state.shown === null) return;
    event.preventDefault();
    action();
  });

  const help = html("button", { class: "help", "aria-label": "Keys", title: "Keys (?)" }, "?");
  help.addEventListener("click", () => dialog.showModal());
  return html("div", { class: "help-area" }, help, dialog);
}
