// TensorBoard calls `render()` once, in the plugin's frame; a file of its own calls it itself.

import compareCss from "./compare.css";
import exportCss from "./export.css";
import imageCss from "./image.css";
import keysCss from "./keys.css";
import lagCss from "./lag.css";
import mapCss from "./map.css";
import overviewCss from "./overview.css";
import textCss from "./text.css";
import trainingCss from "./training.css";
import chartCss from "./chart.css";
import controlsCss from "./controls.css";
import pageCss from "./page.css";
import sidebarCss from "./sidebar.css";
import viewsCss from "./views.css";
import { createCompare } from "./compare";
import { createControls } from "./controls";
import { createExport } from "./export";
import { html } from "./dom";
import { createHeatmap } from "./heatmap";
import { embedded, onDataReload, readAddress, watchDarkMode, writeAddress } from "./host";
import { createImage } from "./image";
import { createKeys } from "./keys";
import { createLagProfile } from "./lag";
import { createNotice } from "./notice";
import { createNotes } from "./notes";
import { createOverview } from "./overview";
import { createReadout } from "./readout";
import { createSeries } from "./series";
import { createSidebar } from "./sidebar";
import { embeddedSource, serverSource } from "./source";
import { createStore } from "./store";
import { fetchStepsAhead } from "./steps_ahead";
import { createText } from "./text";
import { createTraining } from "./training";
import { createViews } from "./views";

const CSS = [
  ...[pageCss, sidebarCss, viewsCss, controlsCss, chartCss, mapCss, lagCss, imageCss, textCss, overviewCss],
  ...[trainingCss, compareCss, exportCss, keysCss],
].join("\n");

export function render(): void {
  document.documentElement.lang = "en";
  if (!embedded) document.title = "Attention";
  document.head.append(html("style", {}, CSS));

  const store = createStore(embedded ? embeddedSource(embedded.textContent!) : serverSource(), readAddress());
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
    createLagProfile(store),
    createImage(store),
    createText(store),
    createOverview(store),
    createTraining(store),
    createCompare(store),
  );
  const main = html(
    "main",
    {},
    html("header", {}, title, subtitle, createKeys(store)),
    createViews(store),
    createExport(store),
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
    if (selection !== state.selection && state.runs !== null) writeAddress(state.selection);
    selection = state.selection;
  });

  fetchStepsAhead(store);
  watchDarkMode((dark) => {
    document.documentElement.classList.toggle("dark", dark); // before the canvases ask for its colours
    store.set({ dark });
  });
  new ResizeObserver(() => store.set({ width: main.clientWidth - 2 * 40 })).observe(main);
  onDataReload(() => void store.reload());
  void store.reload();
}

if (embedded) render();
