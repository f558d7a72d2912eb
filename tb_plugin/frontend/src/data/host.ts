// What TensorBoard, the parent frame, shares with us: the address, dark mode and reloads. A file of its own has no
// TensorBoard around it: there the records stand in the page, and it asks nobody for anything.

import { DEFAULTS, FLOORS, FORMS, SCALES, type Selection, VIEWS } from "./store";
import type { Head } from "./shown";

/** Of a page that is a file of its own (zoo.plot.html). */
export const embedded = document.getElementById("attention-records");

const outer = embedded ? window : parent;
const PREFIX = "p.attention.";
const text = (given: string) => given;
const count = (given: string) => (/^\d{1,15}$/.test(given) ? Number(given) : undefined);
const head = (given: string): Head | undefined =>
  given === "mean" || given === "max"
    ? given
    : /^\d{1,3}(,\d{1,3}){0,255}$/.test(given)
      ? given.split(",").map(Number)
      : undefined;
const oneOf = (names: readonly string[]) => (given: string) => (names.includes(given) ? given : undefined);

// How each part of the selection is read from the address; what cannot be read is not there.
const READ: { [name in keyof Selection]: (given: string) => any } = {
  view: oneOf(VIEWS),
  run: text,
  tag: text,
  step: count,
  sample: count,
  head,
  scale: oneOf(SCALES),
  floor: oneOf(FLOORS),
  series: text,
  top: count,
  text: oneOf(FORMS),
  words: (given) => given === "true" || undefined,
  otherRun: text,
  otherTag: text,
  otherStep: count,
  otherSample: count,
  otherHead: head,
};
const KEYS = Object.keys(READ) as (keyof Selection)[];

/** The selection in the address: `#attention&p.attention.run=…`. */
export function readAddress(hash: string = outer.location.hash): Partial<Selection> {
  const selection: Partial<Record<keyof Selection, unknown>> = {};
  for (const part of hash.slice(1).split("&")) {
    const cut = part.indexOf("=");
    const key = part.slice(PREFIX.length, cut) as keyof Selection;
    if (!part.startsWith(PREFIX) || cut < 0 || !KEYS.includes(key)) continue;
    try {
      const value = READ[key](decodeURIComponent(part.slice(cut + 1)));
      if (value !== undefined) selection[key] = value;
    } catch {
      // a hand-typed address
    }
  }
  return selection as Partial<Selection>;
}

/** Tells of an address that was typed or pasted; what we write ourselves is no such event. */
export function onAddress(listener: (selection: Partial<Selection>) => void): void {
  outer.addEventListener("hashchange", () => {
    const chosen = readAddress();
    if (outer.location.hash.startsWith("#attention") && Object.keys(chosen).length > 0) listener(chosen);
  });
}

const REST = 100; // browsers ignore more than 200 changes of the address in ten seconds
let resting = false;
let waiting: Selection | null = null;

/** At once, but at most every tenth of a second; the last one is always written. */
export function writeAddress(selection: Selection): void {
  waiting = selection;
  if (resting) return;
  resting = true;
  write(waiting);
  waiting = null;
  setTimeout(() => {
    resting = false;
    if (waiting) writeAddress(waiting);
  }, REST);
}

/** The address of a selection, as a file of its own holds it. */
export function addressOf(selection: Selection): string {
  return `#attention&${parts(selection).join("&")}`;
}

function parts(selection: Selection): string[] {
  const chosen = KEYS.filter((key) => selection[key] !== DEFAULTS[key]);
  return chosen.map((key) => `${PREFIX}${key}=${encodeURIComponent(String(selection[key]))}`);
}

function write(selection: Selection): void {
  const others = outer.location.hash
    .slice(1)
    .split("&")
    .filter((part) => part && !part.startsWith(PREFIX));
  if (others[0] !== undefined && others[0] !== "attention") return; // another tab is open
  const { pathname, search } = outer.location; // a bare "#…" would be resolved by the <base> of our own page
  const hash = ["attention", ...others.slice(1), ...parts(selection)].join("&");
  try {
    outer.history.replaceState(outer.history.state, "", `${pathname}${search}#${hash}`);
  } catch {
    // a file shown in somebody's frame may have no address
  }
}

export function watchDarkMode(listener: (dark: boolean) => void): void {
  if (embedded) {
    const preference = matchMedia("(prefers-color-scheme: dark)");
    preference.addEventListener("change", () => listener(preference.matches));
    return listener(preference.matches);
  }
  const body = parent.document.body;
  const tell = () => listener(body.classList.contains("dark-mode"));
  new MutationObserver(tell).observe(body, { attributes: true, attributeFilter: ["class"] });
  tell();
}

/** TensorBoard tells of its reloads only to a frame that asks. */
export function onDataReload(listener: () => void): void {
  if (embedded) return;
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = (event: MessageEvent<string>) => {
    const { type, id, isReply } = JSON.parse(event.data);
    if (isReply) return;
    if (type === "experimental.DataReloaded") listener();
    port1.postMessage(JSON.stringify({ type, id, payload: null, error: null, isReply: true }));
  };
  parent.postMessage("experimental.bootstrap", "*", [port2]);
}

/** The text of this very module, for a file of its own. */
export async function ownModule(): Promise<string> {
  if (embedded) return document.querySelector("script[type=module]")!.textContent!;
  return (await fetch(import.meta.url)).text();
}
