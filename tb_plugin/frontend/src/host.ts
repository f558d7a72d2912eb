// What TensorBoard, the parent frame, shares with us: the address, dark mode and reloads.

import { DEFAULTS, type Selection } from "./store";

const KEYS = ["run", "tag", "step", "sample", "head", "floor"] as const;
const PREFIX = "p.attention.";

/** The selection in the address: `#attention&p.attention.run=…`. */
export function readAddress(): Partial<Selection> {
  const found: Record<string, string> = {};
  for (const part of parent.location.hash.slice(1).split("&")) {
    const cut = part.indexOf("=");
    if (!part.startsWith(PREFIX) || cut < 0) continue;
    try {
      found[part.slice(PREFIX.length, cut)] = decodeURIComponent(part.slice(cut + 1));
    } catch {
      // a hand-typed address: what cannot be decoded is not there
    }
  }
  const count = (text?: string) => (text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined);
  const selection: Partial<Selection> = {
    run: found.run,
    tag: found.tag,
    step: count(found.step),
    sample: count(found.sample),
    head: found.head === "mean" ? "mean" : count(found.head),
    floor: found.floor === "lowest" ? "lowest" : undefined,
  };
  return Object.fromEntries(Object.entries(selection).filter(([, value]) => value !== undefined));
}

export function writeAddress(selection: Selection): void {
  const others = parent.location.hash
    .slice(1)
    .split("&")
    .filter((part) => part && !part.startsWith(PREFIX));
  if (others[0] !== undefined && others[0] !== "attention") return; // another tab is open
  const ours = KEYS.filter((key) => selection[key] !== DEFAULTS[key]).map(
    (key) => `${PREFIX}${key}=${encodeURIComponent(String(selection[key]))}`,
  );
  const { pathname, search } = parent.location; // a bare "#…" would be resolved by the <base> of our own page
  const hash = ["attention", ...others.slice(1), ...ours].join("&");
  parent.history.replaceState(parent.history.state, "", `${pathname}${search}#${hash}`);
}

export function watchDarkMode(listener: (dark: boolean) => void): void {
  const body = parent.document.body;
  const tell = () => listener(body.classList.contains("dark-mode"));
  new MutationObserver(tell).observe(body, { attributes: true, attributeFilter: ["class"] });
  tell();
}

/** TensorBoard tells of its reloads only to a frame that asks. */
export function onDataReload(listener: () => void): void {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = (event: MessageEvent<string>) => {
    const { type, id, isReply } = JSON.parse(event.data);
    if (isReply) return;
    if (type === "experimental.DataReloaded") listener();
    port1.postMessage(JSON.stringify({ type, id, payload: null, error: null, isReply: true }));
  };
  parent.postMessage("experimental.bootstrap", "*", [port2]);
}
