"""The view Compare in a real Chromium; judge: the same subtraction in NumPy."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo
from tb_plugin.event_file import EventFile, blob_value
from tb_plugin.record import encode_maps, map_tag

SAMPLES, HEADS, QUERIES, KEYS = 2, 3, 5, 7
STEPS = (0, 11, 23)
DAYS = [str(np.datetime64("2018-03-01") + day) for day in range(KEYS + QUERIES)]
HOSTILE = "<img src=x onerror=document.title='hacked'>"
RUNS = ("first", "second")
LAYERS = ("encoder", "decoder")


def softmax(scores):
    """Rows that sum to 1."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype("float32")


WEIGHTS = {
    (run, layer, step): softmax(
        np.random.default_rng([i, j, step]).normal(0, 2, (SAMPLES, HEADS, QUERIES, KEYS))
    )
    for i, run in enumerate(RUNS)
    for j, layer in enumerate(LAYERS)
    for step in STEPS
}


def weights_of(run="first", layer="encoder", step=STEPS[-1], sample=0, head="mean"):
    """One map as NumPy has it."""
    heads = WEIGHTS[run, layer, step][sample]
    return (
        {"mean": heads.mean(axis=0), "max": heads.max(axis=0)}[head] if isinstance(head, str) else heads[head]
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory, start_tensorboard):
    """TensorBoard over two runs of two layers, one of another size, and one with a damaged map."""
    logs = tmp_path_factory.mktemp("logs")
    queries, keys = zoo.Axis("time", QUERIES, DAYS[KEYS:]), zoo.Axis("time", KEYS, DAYS[:KEYS])
    for run in RUNS:
        for step in STEPS:
            maps = {layer: zoo.AttentionMap(WEIGHTS[run, layer, step], queries, keys) for layer in LAYERS}
            zoo.summary.attention("prices", maps, step, logdir=logs / run, exact=True)
        zoo.summary.close(logs / run)
    words = zoo.Axis("token", 3, [HOSTILE, "le", "chat"])
    small = zoo.AttentionMap(softmax(np.zeros((1, 1, 3, 3))), words, words, layer=HOSTILE)
    zoo.summary.attention("words", small, 0, logdir=logs / "small")
    zoo.summary.close(logs / "small")
    axis = {"kind": "step", "length": 3, "labels": None, "grid": None}
    header, thumbnails, map_ = encode_maps(np.ones((1, 1, 3, 3)), queries=axis, keys=axis, layer="cut")
    with EventFile(logs / "damaged") as file:
        file.write([blob_value(map_tag("words", "cut"), [header, thumbnails, map_[:-7]])], step=0)
    with start_tensorboard(logs) as url:
        yield url


@pytest.fixture
def compare(open_tab, address):
    """`compare(otherStep=0)` opens the view, and waits for it."""

    def open_(**selection):
        chosen = {"run": "first/attention", "tag": "attention/prices/encoder", "view": "compare"} | selection
        parameters = "".join(f"&p.attention.{name}={value}" for name, value in chosen.items())
        # The plugin's frame as a page of its own: TensorBoard around it takes seconds to start.
        tab = open_tab(f"{address}/data/plugin_entry.html?name=attention#attention{parameters}")
        expect(tab.find(".compare .sentence")).not_to_have_text("")
        return tab

    return open_


def values(tab):
    """What the three fields hold: A − B, A and B."""
    expect(tab.find(".fields .strong")).to_have_attribute("data-value", re.compile("."))
    return [float(tab.find(f".fields .{name}").get_attribute("data-value")) for name in ("strong", "a", "b")]


def largest(a, b):
    """The largest difference, and where it is."""
    difference = a - b
    query, key = np.unravel_index(np.abs(difference).argmax(), difference.shape)
    return [difference[query, key], a[query, key], b[query, key]], query, key


def assert_compared(tab, a, b):
    """The fields come to show what NumPy finds to be the largest difference."""
    wanted, query, key = largest(a, b)
    sign = "−" if wanted[0] < 0 else ""
    expect(tab.find(".fields .strong .value")).to_have_text(f"{sign}{abs(wanted[0]):#.4g}")
    expect(tab.find(".fields .value").nth(3)).to_have_text(DAYS[KEYS + query])
    expect(tab.find(".fields .value").nth(4)).to_have_text(DAYS[key])
    np.testing.assert_allclose(values(tab), wanted, rtol=1e-6)


def pixels(tab, letter):
    """Red, green and blue at the centre of every cell."""
    return np.array(
        tab.find(f"canvas[data-map='{letter}']").evaluate(
            """(canvas, [rows, columns]) => {
                const context = canvas.getContext("2d");
                const at = (i, n, length) => Math.floor((i + 0.5) * length / n);
                const colour = (x, y) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
                return Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) =>
                    colour(at(column, columns, canvas.width), at(row, rows, canvas.height))));
            }""",
            [QUERIES, KEYS],
        ),
        dtype=int,
    )


def test_the_address_says_what_is_compared(compare):
    """The address of one of two that are compared leads to both."""
    tab = compare(otherHead="max", otherRun="second/attention", otherStep=11, otherSample=1)
    assert_compared(tab, weights_of(), weights_of("second", step=11, sample=1, head="max"))


def test_what_is_compared_is_chosen_from_lists(compare):
    """Each list changes one thing, the address follows, and what is the same again leaves no difference."""
    tab = compare(otherStep=0)
    b = {"step": 0}
    for name, label, change in (
        ("step", "11", {"step": 11}),
        ("run", "second/attention", {"run": "second"}),
        ("layer", "decoder", {"layer": "decoder"}),
        ("sample", "sample 2 of 2", {"sample": 1}),
        ("head", "head 3 of 3", {"head": 2}),
    ):
        tab.find(f"select[data-other={name}]").select_option(label)
        b |= change
        assert_compared(tab, weights_of(), weights_of(**b))
    assert "p.attention.otherStep=11" in tab.page.url and "p.attention.otherHead=2" in tab.page.url
    for name in ("step", "sample", "head", "layer", "run"):
        tab.find(f"select[data-other={name}]").select_option("same")
    expect(tab.find(".sentence")).to_have_text("A and B are equal in every weight.")
    assert "p.attention.other" not in tab.page.url
    [middle] = np.unique(pixels(tab, "A − B").reshape(-1, 3), axis=0)
    assert middle.min() > 240


def test_the_same_step_of_another_run_is_followed(compare):
    """While B's step is the same as A's, moving A's moves both."""
    tab = compare(otherRun="second/attention")
    tab.find("#step").focus()
    tab.page.keyboard.press("Home")
    tab.wait_for(step=0)
    assert_compared(tab, weights_of(step=0), weights_of(run="second", step=0))


def test_opened_without_a_choice_another_step_is_compared(compare):
    """The same map twice says nothing, so the view begins with the first step."""
    tab = compare()
    expect(tab.find("select[data-other=step]")).to_have_value("0")
    assert_compared(tab, weights_of(), weights_of(step=0))


def test_the_difference_is_said_in_words(compare):
    """The mean absolute difference, and the largest one with its labels."""
    tab = compare(otherRun="second/attention", head=1)
    a, b = weights_of(head=1), weights_of(run="second", head=1)
    (difference, of_a, of_b), query, key = largest(a, b)
    sign = "−" if difference < 0 else ""
    expect(tab.find(".sentence")).to_have_text(
        f"On average a weight differs by {np.abs(a - b).mean():#.4g}. It differs most where query "
        f"{DAYS[KEYS + query]} attends to key {DAYS[key]}: {of_a:#.4g} in A, {of_b:#.4g} in B, a difference "
        f"of {sign}{abs(difference):#.4g}."
    )


def test_one_scale_for_both_and_one_around_zero_for_the_difference(compare):
    """A darker cell is a larger weight across both maps; blue is where A is larger, orange where B is."""
    tab = compare(otherRun="second/attention")
    a, b = weights_of(), weights_of(run="second")
    light = np.concatenate([pixels(tab, letter).sum(axis=2).ravel() for letter in "AB"])
    weights = np.concatenate([a.ravel(), b.ravel()])
    assert np.all(np.diff(light[np.argsort(weights)]) <= 3)  # three channels, each rounded
    ticks = [tab.find(".panel .ticks").nth(index).inner_text().split() for index in range(3)]
    most, apart = weights.max(), np.abs(a - b).max()
    assert ["0", f"{most / 2:#.4g}", f"{most:#.4g}"] == ticks[0] == ticks[1]
    assert [f"−{apart:#.4g}", "0", f"{apart:#.4g}"] == ticks[2]

    red, _, blue = np.moveaxis(pixels(tab, "A − B"), 2, 0)
    clear = np.abs(a - b) > apart / 100
    np.testing.assert_array_equal((a > b)[clear], (blue > red)[clear])


def test_the_crosshair_is_shared(compare):
    """Pointing at a cell of one map marks it in all three and reads all three; arrow keys move it."""
    tab = compare(otherStep=0)
    a, b = weights_of(), weights_of(step=0)
    box = tab.find("canvas[data-map='B']").bounding_box()
    tab.page.mouse.move(box["x"] + 3.5 * box["width"] / KEYS, box["y"] + 1.5 * box["height"] / QUERIES)
    expect(tab.find(".panel rect.cell")).to_have_count(3)
    np.testing.assert_allclose(values(tab), [a[1, 3] - b[1, 3], a[1, 3], b[1, 3]], rtol=1e-6)
    tab.find("canvas[data-map='A']").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        tab.page.keyboard.press(key)
    np.testing.assert_allclose(values(tab), [a[2, 5] - b[2, 5], a[2, 5], b[2, 5]], rtol=1e-6)
    tab.page.keyboard.press("Escape")
    expect(tab.find(".panel rect.cell")).to_have_count(0)
    assert_compared(tab, a, b)


def test_swap_exchanges_the_two(compare):
    """A becomes B, the difference changes its sign, and the address says so."""
    tab = compare(otherRun="second/attention", otherStep=0, head=1)
    a, b = weights_of(head=1), weights_of(run="second", step=0, head=1)
    assert_compared(tab, a, b)
    tab.frame.get_by_role("button", name="Swap").click()
    expect(tab.find(".subtitle")).to_have_text("second/attention · prices")
    assert_compared(tab, b, a)
    assert "p.attention.otherStep=23" in tab.page.url


def test_maps_of_different_sizes_are_shown_and_not_subtracted(compare):
    """One sentence says why, both maps are there, and hostile labels stay text."""
    tab = compare(otherRun="small/attention")
    expect(tab.find(".sentence")).to_have_text(
        "A has 5 × 7 weights and B has 3 × 3, and maps of different sizes cannot be subtracted."
    )
    expect(tab.find(".panel:visible")).to_have_count(2)
    expect(tab.find(".panel .which").nth(1)).to_contain_text(HOSTILE)
    assert "Attention" == tab.frame.evaluate("document.title")


def test_a_damaged_map_leaves_the_other_readable(compare):
    """B's trouble is said, and another B can be chosen."""
    tab = compare(otherRun="damaged")
    expect(tab.find(".sentence")).to_have_text(re.compile("B cannot be shown. Head 1 of sample 1 is damaged"))
    tab.find("select[data-other=run]").select_option("second/attention")
    assert_compared(tab, weights_of(), weights_of(run="second"))


@pytest.mark.parametrize("width", [1360, 700])
def test_the_view_is_accessible(compare, width, pictures):
    """axe-core finds nothing to complain of, in light and in dark, wide and narrow."""
    tab = compare(otherStep=0)
    tab.page.set_viewport_size({"width": width, "height": 900})
    for dark in (False, True):
        tab.darken(dark)
        assert [] == tab.violations()
        tab.page.screenshot(path=pictures / f"compare-{width}-{'dark' if dark else 'light'}.png")
