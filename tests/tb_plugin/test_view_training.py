"""Curves over the steps, play and steps fetched ahead, in a real Chromium; judge: NumPy on the arrays."""

import json
import re

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo
from tb_plugin.event_file import EventFile, blob_value
from tb_plugin.record import encode_maps, map_tag

STEPS = tuple(range(0, 69, 3))  # more than are fetched at once
SAMPLES, HEADS, LENGTH = 2, 3, 11
TORN = 5  # of the damaged run, which of its steps


def map_of(step):
    """Head h attends alike to the first k keys, k growing with step, head and sample; beside them nothing."""
    weights = np.zeros((SAMPLES, HEADS, LENGTH, LENGTH), "float32")
    for sample in range(SAMPLES):
        for head in range(HEADS):
            count = keys_attended(step, sample, head)
            weights[sample, head, :, :count] = 1 / count
    weights[:, :, 4, :] = np.roll(weights[:, :, 4, :], step % LENGTH, axis=-1)
    return weights


def keys_attended(step, sample, head):
    """Between 1 and 11."""
    return 1 + (step // 3 + 2 * head + 3 * sample) % LENGTH


def entropy_of(step, sample, head):
    """ln k / ln n: the entropy of a row that attends alike to k of n keys."""
    return np.log(keys_attended(step, sample, head)) / np.log(LENGTH)


@pytest.fixture(scope="module")
def address(tmp_path_factory, start_tensorboard):
    """A TensorBoard over a run of 23 steps, one with a torn map, and one of format 1."""
    directory = tmp_path_factory.mktemp("logs")
    for step in STEPS:
        zoo.summary.attention(
            "run", zoo.AttentionMap(map_of(step)), step, logdir=directory / "whole", exact=True
        )
    zoo.summary.close(directory / "whole")
    axis = {"kind": "step", "length": LENGTH, "labels": None, "grid": None}
    with EventFile(directory / "odd") as file:
        for step in STEPS[:7]:
            header, thumbnails, *blobs = encode_maps(map_of(step), queries=axis, keys=axis, layer="odd")
            old = json.loads(header) | {"format": 1}
            old = {name: value for name, value in old.items() if name not in ("statistics", "thumbnail")}
            if step == STEPS[TORN]:
                header = header[:-9]
            values = {"torn": [header, thumbnails, *blobs], "old": [json.dumps(old).encode(), *blobs]}
            file.write([blob_value(map_tag("odd", one), record) for one, record in values.items()], step=step)
    with start_tensorboard(directory) as url:
        yield url


@pytest.fixture
def open_run(open_tab, address):
    """Opens a run in a view, and waits until all its steps are fetched."""

    def open_(run="whole/attention", view="training", more=""):
        tab = open_tab(f"{address}/#attention&p.attention.run={run}&p.attention.view={view}{more}")
        tab.find("#readout[data-step]").wait_for()
        return tab

    return open_


def all_read(tab):
    """Until the maps of all steps are there."""
    expect(tab.find(".training .progress")).to_have_text("", timeout=60_000)


def chart(tab, title):
    """One of the charts, by its title."""
    return tab.find(".curves").filter(has=tab.frame.locator(f"h2:text-matches('^{title}')"))


def read(figure):
    """Step, value and mean under a chart's cursor."""
    one = figure.evaluate("figure => ({...figure.dataset})")
    return int(one["step"]), *(float(one[name]) if name in one else None for name in ("value", "mean"))


@pytest.mark.parametrize("sample", [0, 1])
def test_curves_are_the_statistics_of_every_step(open_run, sample):
    """Each head's entropy and their mean at each step are ln k / ln n of the arrays that were logged."""
    tab = open_run(more=f"&p.attention.sample={sample}")
    figure = chart(tab, "entropy")
    expect(figure).to_be_visible()
    canvas = figure.locator("canvas")
    for head in range(HEADS):
        canvas.focus()
        canvas.press("ArrowDown")
        for _ in range(head):
            canvas.press("ArrowDown")
        expect(figure).to_have_attribute("data-line", f"head {head + 1}")
        for step in STEPS[::-1]:
            found, value, mean = read(figure)
            assert step == found
            assert entropy_of(step, sample, head) == pytest.approx(value, abs=1e-6)
            every = [entropy_of(step, sample, one) for one in range(HEADS)]
            assert np.mean(every) == pytest.approx(mean, abs=1e-6)
            canvas.press("ArrowLeft")
        canvas.press("Escape")
    expect(chart(tab, "mass on one key")).to_be_visible()
    expect(chart(tab, "padding")).to_be_hidden()


def test_pointing_names_a_head_and_a_click_goes_to_its_step(open_run):
    """The curve nearest to the pointer stands out by name in all charts, and a click opens that step."""
    tab = open_run()
    figure = chart(tab, "entropy")
    canvas = figure.locator("canvas")
    canvas.focus()
    canvas.press("ArrowDown")
    for _ in range(6):
        canvas.press("ArrowLeft")
    dot = figure.locator("circle").bounding_box()
    step = STEPS[-7]
    assert step == read(figure)[0]
    canvas.press("Escape")
    assert STEPS[-1] == read(figure)[0]
    tab.page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    expect(figure).to_have_attribute("data-line", "head 1")
    expect(chart(tab, "distance")).to_have_attribute("data-line", "head 1")
    assert (step, pytest.approx(entropy_of(step, 0, 0), abs=1e-6)) == read(figure)[:2]
    tab.page.mouse.down()
    tab.page.mouse.up()
    tab.wait_for(step=step)
    assert f"p.attention.step={step}" in tab.page.url


def test_a_weight_is_followed_over_the_steps(open_run):
    """The curve of the chosen cell and the row below it hold at each step the weights that were logged."""
    tab = open_run(more="&p.attention.head=1")
    all_read(tab)
    tab.find(".training").get_by_label("Query", exact=True).fill("4")
    tab.find(".training").get_by_label("Key", exact=True).fill("6")
    figure, rows = chart(tab, "weight"), tab.find(".row-map")
    canvas = figure.locator("canvas")
    canvas.focus()
    for step in STEPS[::-1]:
        assert (step, pytest.approx(map_of(step)[0, 1, 4, 6], abs=1e-7)) == read(figure)[:2]
        canvas.press("ArrowLeft")
    canvas = rows.locator("canvas")
    canvas.focus()
    for _ in range(2):
        canvas.press("ArrowDown")
    for step in STEPS[:-9:-1]:
        assert (step, pytest.approx(map_of(step)[0, 1, 4, 8], abs=1e-7)) == read(rows)[:2]
        assert "8" == rows.get_attribute("data-key")
        canvas.press("ArrowLeft")
    canvas.press("Enter")
    tab.wait_for(step=STEPS[-9])
    assert pytest.approx(map_of(STEPS[-9])[0, 1, 4, 8], abs=1e-7) == tab.read()[0]


def test_the_largest_weight_is_followed_where_none_is_chosen(open_run):
    """Without a choice it is the cell that was largest at first, and it stays when steps change."""
    tab = open_run(more="&p.attention.head=2")
    all_read(tab)
    first = map_of(STEPS[-1])[0, 2]
    query, key = np.unravel_index(first.argmax(), first.shape)
    tab.find("#step").press("Home")
    tab.wait_for(step=STEPS[0])
    assert [str(query), str(key)] == [
        tab.find(".training").get_by_label(name, exact=True).input_value() for name in ("Query", "Key")
    ]
    assert (STEPS[0], pytest.approx(map_of(STEPS[0])[0, 2, query, key])) == read(chart(tab, "weight"))[:2]


@pytest.mark.parametrize("view", ["map", "training", "overview"])
def test_play_goes_through_every_step(open_run, view):
    """From the end it starts at the first step, shows each in its order, and stops at the last."""
    tab = open_run(view=view)
    seen = tab.frame.evaluate_handle(
        """() => { const seen = [], readout = document.querySelector('#readout');
             const look = () => seen.at(-1) !== +readout.dataset.step && seen.push(+readout.dataset.step);
             new MutationObserver(look).observe(readout, { attributeFilter: ['data-step'] });
             return seen; }"""
    )
    tab.frame.get_by_role("button", name="Play through the steps").click()
    tab.frame.get_by_role("button", name="Pause").wait_for()
    tab.frame.get_by_role("button", name="Play through the steps").wait_for()
    assert list(STEPS) == [step for step in seen.json_value()][-len(STEPS) :]
    tab.wait_for(step=STEPS[-1])
    assert "p.attention.step" not in tab.page.url  # it follows the newest again


def test_space_plays_and_pauses(open_run):
    """Space starts and stops wherever no field has the focus, and the reader's own step ends play."""
    tab = open_run(view="map")
    pause = tab.frame.get_by_role("button", name="Pause")
    tab.find("#heatmap").focus()
    tab.page.keyboard.press("Space")
    pause.wait_for()
    tab.page.keyboard.press("Space")
    expect(pause).to_have_count(0)
    tab.page.wait_for_timeout(300)
    stopped = tab.find("#readout").get_attribute("data-step")
    tab.page.wait_for_timeout(500)
    assert stopped == tab.find("#readout").get_attribute("data-step")
    assert int(stopped) < STEPS[-1]
    tab.page.keyboard.press("Space")
    pause.wait_for()
    tab.find("#step").press("Home")
    expect(pause).to_have_count(0)
    tab.wait_for(step=STEPS[0])
    tab.page.wait_for_timeout(500)
    tab.wait_for(step=STEPS[0])


def test_steps_are_there_before_they_are_asked_for(open_run):
    """Once fetched ahead, every step is shown with its own weights though the server answers no more."""
    tab = open_run(more="&p.attention.head=0")
    all_read(tab)
    asked = []
    tab.page.route("**/records?*", lambda route: (asked.append(route.request.url), route.abort()))
    tab.find("#step").press("Home")
    for step in STEPS:
        tab.wait_for(step=step)
        assert pytest.approx(map_of(step)[0, 0].max()) == tab.read()[0]
        tab.find("#step").press("ArrowRight")
    assert [] == asked


def test_steps_are_fetched_in_few_requests(open_tab, address):
    """23 steps come in some requests of many, the nearest first, and none of them twice."""
    tab = open_tab(f"{address}/#attention&p.attention.run=whole/attention&p.attention.view=map")
    tab.wait_for(step=STEPS[-1])
    tab.page.wait_for_timeout(1000)
    asked = tab.frame.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    maps = [url for url in asked if "/records?" in url and "maps" in url and "__inputs__" not in url]
    steps = [[int(step) for step in re.findall(r"[?&]step=(\d+)", url)] for url in maps]
    assert [STEPS[-1]] == steps[0]
    assert STEPS[-2] in steps[1]
    assert sorted(STEPS) == sorted(step for some in steps for step in some)
    assert len(maps) <= 4


def test_damaged_and_old_steps_leave_a_gap(open_run):
    """A step that cannot be read is a gap and a sentence; without statistics there are still weights."""
    tab = open_run("odd")
    tab.choose("odd", "torn")
    expect(tab.find(".training-note")).to_contain_text("1 of 7 steps cannot be read")
    tab.choose("odd", "old")
    expect(tab.find(".training-note")).to_contain_text("These records hold no statistics")
    expect(chart(tab, "entropy")).to_be_hidden()
    all_read(tab)
    expect(chart(tab, "weight")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_training_is_accessible(open_run, dark):
    """axe-core finds nothing to complain of, in light and in dark."""
    tab = open_run()
    all_read(tab)
    tab.darken(dark)
    assert [] == tab.violations()
