"""The Attention tab in a real Chromium, on a real TensorBoard, over records written by our own writer."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from tb_plugin.event_file import EventFile, blob_value
from tb_plugin.record import decode_header, decode_map, encode_inputs, encode_maps, inputs_tag, map_tag

FRONTEND = Path(__file__).parents[2] / "tb_plugin" / "frontend"
STEPS = (0, 7, 14, 21)
SAMPLES, HEADS, HORIZON, WINDOW = 2, 3, 5, 13
HOSTILE = "<img src=x onerror=document.title='hacked'>"


def softmax(scores):
    """Rows that sum to 1."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def business_days(first, count):
    """ISO dates of `count` business days."""
    return np.busday_offset(first, np.arange(count), roll="forward").astype(str).tolist()


DAYS = [business_days(first, WINDOW + HORIZON) for first in ("2017-03-01", "2018-02-01")]
PRICES = 2300 + np.random.default_rng(11).normal(0, 15, (SAMPLES, WINDOW + HORIZON)).cumsum(axis=1)
FORECASTS = PRICES[:, WINDOW:] + np.random.default_rng(13).normal(0, 9, (SAMPLES, HORIZON))
WEIGHTS = {
    step: softmax(np.random.default_rng(step).normal(0, 1.7, (SAMPLES, HEADS, HORIZON, WINDOW)))
    for step in STEPS
}


def time_axis(days):
    """An axis of dates, its own for each sample."""
    return {"kind": "time", "length": len(days[0]), "labels": days, "grid": None}


def forecast_record(weights):
    """The record of a forecaster's maps: forecast days by past days."""
    return encode_maps(
        weights,
        queries=time_axis([days[WINDOW:] for days in DAYS]),
        keys=time_axis([days[:WINDOW] for days in DAYS]),
        layer="decoder/attention",
    )


def forecast_inputs():
    """The record of what the forecaster was shown, what it forecast, and what came."""
    samples = []
    for days, prices, forecast in zip(DAYS, PRICES, FORECASTS, strict=True):
        past, ahead = days[:WINDOW], days[WINDOW:]
        series = [
            ("S&P 500 close", "input", past, prices[:WINDOW]),
            ("forecast", "forecast", ahead, forecast),
        ]
        series.append(("what came", "target", ahead, prices[WINDOW:]))
        samples.append(
            {
                "label": ahead[0],
                "series": [
                    dict(zip(("name", "role", "labels", "values"), one, strict=True)) for one in series
                ],
            }
        )
    return encode_inputs(samples)


def forecast_values(step):
    """What one step of training logs."""
    return [
        blob_value(map_tag("prices", "decoder/attention"), forecast_record(WEIGHTS[step])),
        blob_value(inputs_tag("prices"), forecast_inputs()),
    ]


def small_axis(kind, length, labels=None):
    """An axis without a grid."""
    return {"kind": kind, "length": length, "labels": labels, "grid": None}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """A log directory with a forecaster, and with a run that is hostile."""
    directory = tmp_path_factory.mktemp("logs")
    with EventFile(directory / "forecaster") as file:
        for step in STEPS:
            file.write(forecast_values(step), step=step)

    gates = np.random.default_rng(5).uniform(0, 0.9, (1, 1, 3, 7))
    words = encode_maps(
        gates,
        queries=small_axis("token", 3, [HOSTILE, "le", "chat"]),
        keys=small_axis("token", 7, [HOSTILE, *"abcdef"]),
        layer=HOSTILE,
        normalised=False,
        full=(6, 14),
    )
    sample = {"name": HOSTILE, "role": "input", "labels": [HOSTILE, *"abcdef"], "values": [1.0] * 7}
    times = encode_maps(
        gates, queries=small_axis("step", 3), keys=small_axis("time", 7, [HOSTILE, *"abcdef"]), layer="times"
    )
    inputs = encode_inputs([{"label": HOSTILE, "series": [sample]}])
    with EventFile(directory / "hostile " / HOSTILE) as file:
        tags = map_tag(HOSTILE, "a/../<b>&"), map_tag("timed", "times"), inputs_tag("timed")
        values = zip(tags, (words, times, inputs), strict=True)
        file.write([blob_value(tag, blobs) for tag, blobs in values], step=0)
    return directory


@pytest.fixture(scope="module")
def address(logs, start_tensorboard):
    """The address of a TensorBoard over `logs`."""
    with start_tensorboard(logs) as url:
        yield url


@pytest.fixture
def open_forecaster(open_tab, address):
    """Opens the tab at the forecaster's run."""
    return lambda: open_tab(f"{address}/#attention&p.attention.run=forecaster")


def pixel(tab, query, key):
    """Red, green and blue of a cell's centre, summed."""
    return tab.find("#heatmap").evaluate(
        """(canvas, [x, y]) => {
            const context = canvas.getContext("2d");
            const [r, g, b] = context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data;
            return r + g + b;
        }""",
        [(key + 0.5) / (WINDOW + HORIZON), (query + 0.5) / HORIZON],
    )


def bound(weight, maximum):
    """How far eight bits on a square-root scale may be off, as record.py states it."""
    return np.sqrt(weight * maximum) / 255 + maximum / 510**2 + 1e-7


def assert_shows(tab, query, key, weights, columns=WINDOW + HORIZON):
    """The cell under the mouse is the one that was logged."""
    tab.hover(query, key, HORIZON, columns)
    value, *_ = tab.read()
    assert value == pytest.approx(weights[query, key], abs=bound(weights[query, key], weights.max()))


def test_cell_is_what_was_logged(open_tab, address):
    """The chosen run's newest step, mean of all heads, first sample: weight, dates and price of a cell."""
    tab = open_tab(f"{address}/#attention")
    tab.choose("forecaster")
    tab.wait_for(step=STEPS[-1], sample=0, head="mean")
    weights = WEIGHTS[STEPS[-1]][0]
    query, key = 3, 7
    tab.hover(query, key, HORIZON, WINDOW + HORIZON)
    value, forecast_day, past_day = tab.read()
    tolerance = np.mean([bound(head[query, key], head.max()) for head in weights])
    assert value == pytest.approx(weights[:, query, key].mean(), abs=tolerance)
    assert (DAYS[0][WINDOW + query], DAYS[0][key]) == (forecast_day, past_day)
    shown = tab.find("#readout").inner_text()
    assert f"{float(f'{value:.4g}')}" in shown
    for price in (PRICES[0, key], FORECASTS[0, query], PRICES[0, WINDOW + query]):
        assert f"{price:,.2f}" in shown


def test_step_sample_and_head_are_chosen(open_forecaster):
    """Slider, sample and head each lead to the map that was logged for them."""
    tab = open_forecaster()
    tab.wait_for(step=STEPS[-1])
    tab.find("#head").select_option("2")
    tab.wait_for(head=2)
    assert_shows(tab, 2, 11, WEIGHTS[STEPS[-1]][0, 2])
    tab.find("#step").press("Home")
    tab.wait_for(step=STEPS[0])
    assert_shows(tab, 2, 11, WEIGHTS[STEPS[0]][0, 2])
    tab.find("#step").press("ArrowRight")
    tab.wait_for(step=STEPS[1])
    assert_shows(tab, 2, 11, WEIGHTS[STEPS[1]][0, 2])
    tab.frame.get_by_role("button", name="Next sample").click()
    tab.wait_for(sample=1)
    assert_shows(tab, 4, 12, WEIGHTS[STEPS[1]][1, 2])
    assert DAYS[1][WINDOW] == tab.find("#sample option:checked").inner_text()
    assert DAYS[1][12] == tab.find("#readout").get_attribute("data-key")


def test_page_and_python_decode_alike(open_forecaster):
    """Every cell, reached with the arrow keys, is what record.decode_map reads from the same blobs."""
    tab = open_forecaster()
    tab.find("#head").select_option("1")
    tab.wait_for(head=1)
    header, *blobs = forecast_record(WEIGHTS[STEPS[-1]])
    expected = decode_map(decode_header(header), [header, *blobs], sample=0, head=1)
    canvas = tab.find("#heatmap")
    canvas.focus()
    page = np.empty((HORIZON, WINDOW))
    for query in range(HORIZON):
        canvas.press("Home")
        for key in range(WINDOW):
            page[query, key], *labels = tab.read()
            assert [DAYS[0][WINDOW + query], DAYS[0][key]] == labels
            canvas.press("ArrowRight")
        canvas.press("ArrowDown")
    np.testing.assert_allclose(page, expected, rtol=1e-6)
    canvas.press("Escape")
    expect(tab.find("#readout")).to_contain_text("largest weight")
    assert expected.max() == pytest.approx(tab.read()[0], rel=1e-6)


def test_series_stands_over_its_days(open_forecaster):
    """The column under the cursor and its day in the series have the same x, and so has each forecast day."""
    tab = open_forecaster()
    tab.wait_for(step=STEPS[-1])
    tab.hover(1, 4, HORIZON, WINDOW + HORIZON)
    x, row_day = (tab.column(i, WINDOW + HORIZON) for i in (4, WINDOW + 1))
    assert tab.find(".chart .cursor").bounding_box()["x"] == pytest.approx(x, abs=1)
    ring = tab.find(".chart .ring.series-input").bounding_box()
    assert ring["x"] + ring["width"] / 2 == pytest.approx(x, abs=1)
    for selector in (".chart .ring.series-forecast", ".chart .ring.series-target"):
        ring = tab.find(selector).bounding_box()
        assert ring["x"] + ring["width"] / 2 == pytest.approx(row_day, abs=1)
    assert ["S&P 500 close", "forecast", "what came"] == tab.find(".legend li").all_inner_texts()[:3]
    assert f"row {DAYS[0][WINDOW + 1]}" in tab.find(".legend").inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_colour_follows_the_weight(open_forecaster, dark):
    """More weight is darker on a light page and lighter on a dark one, cell by cell."""
    tab = open_forecaster()
    tab.find("#head").select_option("0")
    tab.wait_for(head=0)
    tab.darken(dark)
    weights = WEIGHTS[STEPS[-1]][0, 0]
    order = np.dstack(np.unravel_index(np.argsort(weights, axis=None), weights.shape))[0]
    spread = [*[cell for cell in order if weights[*cell] > 0.05 * weights.max()][::4], order[-1]]
    brightness = [pixel(tab, int(query), int(key)) for query, key in spread]
    assert len(brightness) > 5
    assert sorted(brightness, reverse=not dark) == brightness
    ground = tab.find("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground))) < 80) == dark


def test_colours_can_begin_at_the_lowest_weight(open_forecaster):
    """Where all weights are much alike, the smallest gets the first colour, and the legend says so."""
    tab = open_forecaster()
    tab.find("#head").select_option("0")
    tab.wait_for(head=0)
    weights = WEIGHTS[STEPS[-1]][0, 0]
    lowest = np.unravel_index(weights.argmin(), weights.shape)
    assert "0" == tab.find(".ticks span").first.inner_text()
    before = pixel(tab, *map(int, lowest))
    tab.find("#floor").select_option("lowest")
    expect(tab.find(".ticks span").first).not_to_have_text("0")
    shown = float(tab.find(".ticks span").first.inner_text())
    assert shown == pytest.approx(weights.min(), abs=bound(weights.min(), weights.max()) + 1e-4)
    assert pixel(tab, *map(int, lowest)) >= before
    middle = np.unravel_index(np.argsort(weights, axis=None)[weights.size // 2], weights.shape)
    assert pixel(tab, *map(int, middle)) < pixel(tab, *map(int, lowest))
    assert "p.attention.floor=lowest" in tab.page.url


def test_address_restores_the_view(open_forecaster, open_tab):
    """An address copied from one tab opens the same run, tag, step, sample and head in another."""
    tab = open_forecaster()
    tab.wait_for(step=STEPS[-1])
    tab.find("#step").press("Home")
    tab.wait_for(step=STEPS[0])
    tab.find("#sample").select_option("1")
    tab.wait_for(sample=1)
    tab.find("#head").select_option("2")
    tab.wait_for(head=2)
    other = open_tab(tab.page.url)
    other.wait_for(step=STEPS[0], sample=1, head=2)
    assert_shows(other, 0, 5, WEIGHTS[STEPS[0]][1, 2])


def test_nonsense_in_the_address_is_ignored(open_tab, address):
    """Unknown run, tag and step, a bad number and a broken escape open what there is."""
    # TensorBoard's own frame does not open on a broken escape, so the page is opened without it.
    parts = ("run=gone", "tag=%E0%A4%A", "step=99", "sample=-1", "head=x")
    bad = "&".join(f"p.attention.{part}" for part in parts)
    tab = open_tab(f"{address}/data/plugin_entry.html?name=attention#attention&{bad}")
    tab.choose("forecaster")
    tab.wait_for(step=STEPS[-1], sample=0, head="mean")


def test_late_answer_is_dropped(open_forecaster):
    """A step whose answer comes late does not replace the one that was chosen after it."""
    tab = open_forecaster()
    tab.wait_for(step=STEPS[-1])

    def delay(route):
        tab.page.wait_for_timeout(1500)
        route.continue_()

    tab.page.route(re.compile(rf"/records\?.*step={STEPS[0]}&"), delay)
    tab.find("#step").press("Home")
    tab.find("#step").press("ArrowRight")
    tab.wait_for(step=STEPS[1])
    tab.page.wait_for_timeout(2500)
    tab.wait_for(step=STEPS[1])


def test_a_run_chosen_twice_is_shown(open_tab, address):
    """A second click, while the first one's list of steps is on its way, does not lose the list."""
    tab = open_tab(f"{address}/#attention")
    tab.choose(f"hostile /{HOSTILE}", "times")
    tab.wait_for(step=0)
    tab.page.route(re.compile(r"/steps\?"), lambda route: (tab.page.wait_for_timeout(700), route.continue_()))
    for _ in range(2):
        tab.frame.get_by_role("button", name="forecaster", exact=True).dispatch_event("click")
    tab.wait_for(step=STEPS[-1])


def test_hostile_text_stays_text(open_tab, address):
    """Markup in runs, tags, layers, labels and series names is shown as it was written."""
    tab = open_tab(f"{address}/#attention")
    tab.choose(f"hostile /{HOSTILE}", "a/../<b>&")
    tab.find(".view[data-view=map]").click()
    expect(tab.find("h1")).to_have_text(HOSTILE)
    expect(tab.find("#notes")).to_contain_text("Rows do not sum to 1")
    expect(tab.find("#notes")).to_contain_text("Pooled from 6 × 14 to 3 × 7")
    tab.find("#heatmap").press("ArrowRight")
    assert (HOSTILE, HOSTILE) == tab.read()[1:]
    tab.choose(f"hostile /{HOSTILE}", "times")
    tab.find(".view[data-view=time]").click()
    expect(tab.find(".legend")).to_contain_text(HOSTILE)
    assert 0 == tab.find("img").count()
    assert "Attention" == tab.frame.evaluate("document.title")


def test_page_is_accessible(open_forecaster):
    """axe-core finds nothing to complain of, in light and in dark."""
    tab = open_forecaster()
    tab.wait_for(step=STEPS[-1])
    for dark in (False, True):
        tab.darken(dark)
        assert [] == tab.violations()


def test_empty_log_directory_is_explained_and_then_filled(open_tab, start_tensorboard, tmp_path):
    """Without data a sentence and an example; later steps come with TensorBoard's reload and are followed."""
    with start_tensorboard(tmp_path) as url:
        tab = open_tab(f"{url}/data/plugin_entry.html?name=attention")
        expect(tab.find(".notice")).to_contain_text("No attention has been logged here.")
        expect(tab.find(".notice pre")).to_contain_text("zoo.AttentionLogger(")
        with EventFile(tmp_path / "live") as file:
            file.write(forecast_values(STEPS[0]), step=STEPS[0])
            for _ in range(300):
                if "live" in tab.page.request.get(f"{url}/data/plugin/attention/tags").text():
                    break
                tab.page.wait_for_timeout(100)
            tab = open_tab(f"{url}/#attention")
            tab.wait_for(step=STEPS[0])
            file.write(forecast_values(STEPS[1]), step=STEPS[1])
        for _ in range(30):
            tab.page.wait_for_timeout(1000)
            tab.page.locator(".reload-button").click()
            if tab.find("#readout").get_attribute("data-step") == str(STEPS[1]):
                break
        tab.wait_for(step=STEPS[1])
        tab.page.close()
