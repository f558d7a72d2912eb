// TensorBoard calls `render()` once, in the plugin's frame; a file of its own calls it itself.

import compareCss from "./compare/compare.css";
import exportCss from "./export/export.css";
import imageCss from "./image/image.css";
import keysCss from "./frame/keys.css";
import lagCss from "./time/lag.css";
import mapCss from "./map/map.css";
import overviewCss from "./overview/overview.css";
import textCss from "./text/text.css";
import trainingCss from "./training/training.css";
import chartCss from "./drawing/chart.css";
import controlsCss from "./frame/controls.css";
import pageCss from "./page.css";
import sidebarCss from "./frame/sidebar.css";
import viewsCss from "./frame/views.css";
import { createCompare } from "./compare/compare";
import { createControls } from "./frame/controls";
import { createExport } from "./export/export";
import { html } from "./drawing/dom";
import { createHeatmap } from "./map/heatmap";
import { embedded, onAddress, onDataReload, readAddress, watchDarkMode, writeAddress } from "./data/host";
import { createImage } from "./image/image";
import { createKeys } from "./frame/keys";
import { createLagProfile } from "./time/lag";
import { createNotice } from "./frame/notice";
import { createNotes } from "./frame/notes";
import { createOverview } from "./overview/overview";
import { createReadout } from "./frame/readout";
import { createSeries } from "./time/series";
import { createSidebar } from "./frame/sidebar";
import { embeddedSource, serverSource } from "./data/source";
import { DEFAULTS, createStore } from "./data/store";
import { fetchStepsAhead } from "./data/steps_ahead";
import { createText } from "./text/text";
import { createTraining } from "./training/training";
import { createViews } from "./frame/views";

const CSS = [
  ...[pageCss, sidebarCss, viewsCss, controlsCss, chartCss, mapCss, lagCss, imageCss, textCss, overviewCss],
  ...[trainingCss, compareCss, exportCss, keysCss],
].join("\n");

export function render(): void {
  document.documentElement.lang = "en";
  if (!embedded) document.title = "Attention";
  document.head.append(html("style", {}, CSS));

  const source = embedded ? embeddedSource(embedded.textContent!) : serverSource();
  const kept = embedded ? readAddress(JSON.parse(embedded.textContent!).address ?? "") : {};
  const store = createStore(source, { ...kept, ...readAddress() });
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
  onAddress((chosen) => void store.select({ ...DEFAULTS, ...chosen }));
  onDataReload(() => void store.reload());
  void store.reload();
}

if (embedded) render();
