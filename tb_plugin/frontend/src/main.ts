// TensorBoard calls `render()` once, in the plugin's frame.

import chartCss from "./chart.css";
import controlsCss from "./controls.css";
import pageCss from "./page.css";
import sidebarCss from "./sidebar.css";
import { createControls } from "./controls";
import { html } from "./dom";
import { createHeatmap } from "./heatmap";
import { onDataReload, readAddress, watchDarkMode, writeAddress } from "./host";
import { createNotice } from "./notice";
import { createNotes } from "./notes";
import { createReadout } from "./readout";
import { createSeries } from "./series";
import { createSidebar } from "./sidebar";
import { createStore } from "./store";

export function render(): void {
  document.documentElement.lang = "en";
  document.title = "Attention";
  document.head.append(html("style", {}, pageCss + sidebarCss + controlsCss + chartCss));

  const store = createStore(readAddress());
  const { state } = store;
  const title = html("h1", {}, "Attention");
  const subtitle = html("p", { class: "subtitle" });
  const chart = html(
    "div",
    { class: "chart-area" },
    createReadout(store),
    createNotes(store),
    createSeries(store),
    createHeatmap(store),
  );
  const main = html(
    "main",
    {},
    html("header", {}, title, subtitle),
    createControls(store),
    createNotice(store),
    chart,
  );
  document.body.append(createSidebar(store), main);

  let selection = state.selection;
  store.subscribe(() => {
    const { shown } = state;
    title.textContent = shown?.layer ?? "Attention";
    subtitle.textContent = shown ? [shown.run, shown.name].filter(Boolean).join(" · ") : "";
    main.classList.toggle("loading", state.loading);
    document.documentElement.classList.toggle("dark", state.dark);
    if (selection !== state.selection && state.runs !== null) writeAddress(state.selection);
    selection = state.selection;
  });

  watchDarkMode((dark) => store.set({ dark }));
  new ResizeObserver(() => store.set({ width: main.clientWidth - 2 * 40 })).observe(main);
  onDataReload(() => void store.reload());
  void store.reload();
}
