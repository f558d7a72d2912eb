// Tokens as nodes of the page, where the browser shapes their script and turns their direction.

import { html, setAttributes } from "../drawing/dom";
import { isSpecial } from "./subwords";
import type { Ink } from "./form";

export type Side = "query" | "key" | "both";

/** A token that can be chosen. White space, which nobody would see, has a sign of its own. */
export function createTokenNode(side: Side, index: number, label: string): HTMLElement {
  return html(
    "span",
    {
      id: `text-${side}-${index}`,
      class: isSpecial(label) ? "token special" : "token",
      role: "option",
      "aria-selected": "false",
      dir: "auto",
      title: label.length > 24 && label,
      "data-query": side !== "key" && String(index),
      "data-key": side !== "query" && String(index),
    },
    visible(label),
  );
}

export function visible(label: string): string {
  return label.trim() === "" ? "␣" : label;
}

/** The colours of a token: those of its weight, or those of the one that is chosen (text.css). */
export function dress(node: HTMLElement, ink: Ink | null, chosen: boolean): void {
  node.style.background = (!chosen && ink?.background) || "";
  node.style.color = (!chosen && ink?.text) || "";
  if ((node.getAttribute("aria-selected") === "true") !== chosen) {
    setAttributes(node, { "aria-selected": String(chosen) });
    const list = node.closest("[role=listbox]")!;
    if (chosen) list.setAttribute("aria-activedescendant", node.id);
    else if (list.getAttribute("aria-activedescendant") === node.id) list.removeAttribute("aria-activedescendant");
  }
}

export function within(index: number, count: number): number {
  return Math.max(0, Math.min(count - 1, index));
}
