"""The overview in a real Chromium; judge: NumPy on the arrays that were logged."""

import json
import re

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo
from tb_plugin.event_file import EventFile, blob_value
from tb_plugin.record import encode_maps, map_tag

STEPS = (2, 5, 11)
SAMPLES, HEADS, LENGTH = 2, 5, 7
LAYERS = ("block_1", "block_2", "block_10")  # as they follow each other, not as text is sorted
TOKENS = ["<b>cls</b>", "the", "cat", "sat", "down", "[PAD]", "[PAD]"]


def softmax(scores):
    """Rows that sum to 1."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def maps_of(step):
    """Weights for each layer: head 3 of block_2 stares at key 0, head 4 of block_10 at the padding."""
    rng = np.random.default_rng(step)
    maps = {layer: 2 * rng.normal(size=(SAMPLES, HEADS, LENGTH, LENGTH)) for layer in LAYERS}
    maps["block_2"][:, 2, :, 0] += 7
    maps["block_10"][:, 3, :, 5:] += 7
    return {layer: softmax(scores) for layer, scores in maps.items()}


WEIGHTS = {step: maps_of(step) for step in STEPS}


def statistics(weights):
    """Entropy, distance, mass on one key and on padding, of one map whose rows sum to 1."""
    entropy = -(weights * np.log(weights)).sum(axis=-1).mean() / np.log(LENGTH)
    places = np.arange(LENGTH)
    away = np.abs(places[:, None] - places) / (LENGTH - 1)
    mass = weights.sum(axis=0) / LENGTH
    return entropy, (weights * away).sum(axis=-1).mean(), mass.max(), mass[5:].sum()


def tokens():
    """An axis of words and padding."""
    return zoo.Axis("token", LENGTH, TOKENS)


@pytest.fixture(scope="module")
def address(tmp_path_factory, start_tensorboard):
    """A TensorBoard over a small run, 12 layers of 96 heads, and a run with an old and a damaged record."""
    directory = tmp_path_factory.mktemp("logs")
    for step, maps in WEIGHTS.items():
        seen = {layer: zoo.AttentionMap(weights, tokens(), tokens()) for layer, weights in maps.items()}
        zoo.summary.attention("words", seen, step, logdir=directory / "small")
    wide = np.full((1, 96, 3, 5), 0.2)
    many = {f"layer_{layer}": zoo.AttentionMap(wide) for layer in range(12)}
    zoo.summary.attention("many", many, 0, logdir=directory / "large")
    axis = {"kind": "step", "length": LENGTH, "labels": None, "grid": None}
    header, thumbnails, *blobs = encode_maps(
        WEIGHTS[2]["block_1"], queries=axis, keys=axis, layer="of another time"
    )
    old = json.loads(header) | {"format": 1}
    old = {name: value for name, value in old.items() if name not in ("statistics", "thumbnail")}
    with EventFile(directory / "mixed") as file:
        values = {
            "old": [json.dumps(old).encode(), *blobs],
            "sound": [header, thumbnails, *blobs],
            "torn": [header, thumbnails[:-9], *blobs],
            "a damaged header": [b"no json", thumbnails, *blobs],
        }
        file.write([blob_value(map_tag("mix", layer), record) for layer, record in values.items()], step=0)
    for run in ("small", "large"):
        zoo.summary.close(directory / run)
    with start_tensorboard(directory) as url:
        yield url


@pytest.fixture
def open_overview(open_tab, address):
    """Opens the overview of a run, and waits for its thumbnails."""

    def open_(run, more=""):
        tab = open_tab(f"{address}/#attention&p.attention.run={run}&p.attention.view=overview{more}")
        tab.find(".overview[data-step]").wait_for()
        return tab

    return open_


def table(tab):
    """{(layer, head): statistics}, as the page's table has them, in its order."""
    if tab.find(".overview details").get_attribute("open") is None:
        tab.find(".overview summary").click()
    tab.find(".overview tbody tr").first.wait_for()
    rows = tab.find(".overview tbody").evaluate(
        """body => [...body.rows].filter(row => row.cells.length > 1)
             .map(row => [...row.cells].map(cell => cell.textContent))"""
    )
    number = {"–": None}
    return {
        (layer, int(head) - 1): [number[one] if one in number else float(one) for one in values]
        for layer, head, *values in rows
    }


def expected(step, sample):
    """The same table from NumPy."""
    return {
        (layer, head): statistics(WEIGHTS[step][layer][sample, head])
        for layer in LAYERS
        for head in range(HEADS)
    }


@pytest.mark.parametrize(("step", "sample"), [(STEPS[0], 0), (STEPS[1], 1)])
def test_every_head_has_its_statistics(open_overview, step, sample):
    """Layers in natural order, heads beside each other, and for each the four numbers of step and sample."""
    tab = open_overview("small/attention", f"&p.attention.step={step}&p.attention.sample={sample}")
    wanted = expected(step, sample)
    found = table(tab)
    assert list(wanted) == list(found)
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, abs=6e-5)
    assert list(LAYERS) == tab.find(".thumb-block h2").all_inner_texts()


def test_thumbnail_is_the_map(open_overview):
    """More weight is darker, cell by cell, in the thumbnail of the head that the arrow keys lead to."""
    tab = open_overview("small/attention")
    sheet = tab.find(".thumb-sheet")
    sheet.focus()
    for key in ("Home", "ArrowRight", "ArrowDown"):
        sheet.press(key)
    expect(tab.find(".thumb-words")).to_contain_text("block_2 · head 2")
    ring, canvas = (
        tab.find(selector).bounding_box()
        for selector in (".thumb-ring:not(.chosen)", ".thumb-block:nth-child(2) canvas")
    )
    places = (np.arange(LENGTH) + 0.5) / LENGTH
    x = ring["x"] - canvas["x"] + places * ring["width"]
    y = ring["y"] - canvas["y"] + places * ring["height"]
    pixels = tab.find(".thumb-block:nth-child(2) canvas").evaluate(
        """(canvas, [xs, ys]) => ys.map(y => xs.map(x => {
             const [r, g, b] = canvas.getContext('2d').getImageData(x, y, 1, 1).data;
             return r + g + b; }))""",
        [x.tolist(), y.tolist()],
    )
    weights = WEIGHTS[STEPS[-1]]["block_2"][0, 1]
    order = np.argsort(weights, axis=None)
    spread = [cell for cell in order if weights.flat[cell] > 0.05 * weights.max()][::3]
    brightness = np.ravel(pixels)[spread].tolist()
    assert len(set(brightness)) > 4
    assert sorted(brightness, reverse=True) == brightness


def test_heads_are_sorted_and_filtered(open_overview):
    """By a statistic up and down, and within bounds: the same order and the same heads as NumPy's."""
    tab = open_overview("small/attention")
    wanted = expected(STEPS[-1], 0)
    tab.frame.get_by_label("Sort by").select_option("entropy")
    assert sorted(wanted, key=lambda one: wanted[one][0]) == list(table(tab))
    tab.frame.get_by_role("button", name="Largest first").click()
    assert sorted(wanted, key=lambda one: -wanted[one][0]) == list(table(tab))
    tab.frame.get_by_label("Sort by").select_option("layer")
    tab.frame.get_by_role("button", name="Largest first").click()
    tab.frame.get_by_label("Only where").select_option("distance")
    tab.frame.get_by_label("at least").fill("0.3")
    tab.frame.get_by_label("at most").fill("0.4")
    kept = [one for one, values in wanted.items() if 0.3 <= values[1] <= 0.4]
    assert 0 < len(kept) < len(wanted)
    assert kept == list(table(tab))
    expect(tab.find(".overview .count")).to_have_text(f"{len(kept)} of {len(wanted)} heads")


def test_mass_on_one_key_and_on_padding_is_warned_of(open_overview):
    """Heads that stare at one key or at padding are named, with the share and the key's label as text."""
    tab = open_overview("small/attention")
    warnings = tab.find(".warnings").inner_text()
    numbers = expected(STEPS[-1], 0)
    stare = max(numbers, key=lambda one: numbers[one][2])
    assert ("block_2", 2) == stare
    assert f"{round(100 * numbers[stare][2])} % on key 0 (“<b>cls</b>”) in block_2, head 3" in warnings
    share = round(100 * numbers["block_10", 3][3])
    assert f"{share} % on padding in block_10, head 4" in warnings
    counted = [sum(values[which] > 0.5 for values in numbers.values()) for which in (2, 3)]
    assert [f"In {count} of {len(numbers)} heads" in warnings for count in counted] == [True, True]
    tab.find(".thumb-sheet").focus()
    for key in ("End", "ArrowLeft"):
        tab.find(".thumb-sheet").press(key)
    expect(tab.find(".thumb-words")).to_contain_text("block_10 · head 4 · entropy")
    expect(tab.find(".thumb-words")).to_contain_text(f"{share} % on padding")


@pytest.mark.parametrize("by", ["keyboard", "pointer"])
def test_thumbnail_opens_its_map(open_overview, by):
    """Enter and a click lead to the map of that layer and head."""
    tab = open_overview("small/attention")
    sheet = tab.find(".thumb-sheet")
    sheet.focus()
    for key in ("Home", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight"):
        sheet.press(key)
    if by == "keyboard":
        sheet.press("Enter")
    else:
        box = tab.find(".thumb-ring:not(.chosen)").bounding_box()
        tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.wait_for(head=2, step=STEPS[-1])
    expect(tab.find("h1")).to_have_text("block_10")
    expect(tab.find("#heatmap")).to_be_visible()
    assert "p.attention.view=map" in tab.page.url
    largest = WEIGHTS[STEPS[-1]]["block_10"][0, 2].max()
    assert largest == pytest.approx(tab.read()[0], rel=1e-6)


def test_another_step_shows_its_own_numbers(open_overview):
    """The slider changes the thumbnails and their numbers, and goes back to what was kept."""
    tab = open_overview("small/attention")
    for key, step in (("Home", STEPS[0]), ("ArrowRight", STEPS[1]), ("End", STEPS[-1])):
        tab.find("#step").press(key)
        expect(tab.find(".overview")).to_have_attribute("data-step", str(step))
        found = table(tab)
        for one, values in expected(step, 0).items():
            assert found[one] == pytest.approx(values, abs=6e-5)


def test_numbers_under_the_maps_change_colour_with_the_page(open_overview):
    """They are dark on a light page, and light again when TensorBoard turns dark."""
    tab = open_overview("small/attention")
    outermost = """canvas => {
        const { data } = canvas.getContext('2d').getImageData(0, canvas.height - 40, canvas.width, 40);
        const sums = [];
        for (let at = 0; at < data.length; at += 4)
          if (data[at + 3] === 255) sums.push(data[at] + data[at + 1] + data[at + 2]);
        return [Math.min(...sums), Math.max(...sums)]; }"""
    canvas = tab.find(".thumb-block canvas").first
    dark_text, _ = canvas.evaluate(outermost)
    tab.darken()
    _, light_text = canvas.evaluate(outermost)
    assert dark_text < 3 * 110 < 3 * 150 < light_text


def test_old_and_damaged_records_are_said_in_place(open_overview):
    """Format 1 has no thumbnails and torn ones are damaged: a sentence for each, the third layer is shown."""
    tab = open_overview("mixed")
    notes = tab.find(".overview .notes:not(.warnings)")
    expect(notes).to_contain_text(re.compile("No thumbnails: it was logged in format 1"))
    expect(notes).to_contain_text(re.compile("No thumbnails: they are damaged"))
    assert {("of another time", head) for head in range(HEADS)} == set(table(tab))
    assert all(values == [None] * 4 for values in table(tab).values())
    tab.find(".thumb-sheet").press("Home")
    expect(tab.find(".thumb-words")).to_contain_text("head 1 · entropy – · distance –")


def test_many_heads_need_few_nodes(open_overview):
    """1,152 heads, as layers and as one sorted list, are some canvases: below 3,000 nodes."""
    tab = open_overview("large/attention")
    expect(tab.find(".overview")).to_have_attribute("data-shown", "1152")
    tab.frame.get_by_label("Sort by").select_option("distance")
    tab.find(".thumb-sheet").focus()
    tab.find(".thumb-sheet").press("End")
    expect(tab.find(".thumb-words")).to_contain_text("layer_11 · head 96")
    box = tab.find(".thumb-ring:not(.chosen)").bounding_box()
    assert 0 <= box["y"] < 900  # where the keyboard went can be seen
    assert 200 == len(table(tab))
    assert tab.frame.evaluate("document.querySelectorAll('*').length") < 3000


@pytest.mark.parametrize("dark", [False, True])
def test_overview_is_accessible(open_overview, dark):
    """axe-core finds nothing to complain of, in light and in dark."""
    tab = open_overview("small/attention")
    table(tab)
    tab.darken(dark)
    assert [] == tab.violations()


def test_a_damaged_layer_hides_no_other(open_tab, address):
    """Where the first layer cannot be read, the overview shows the others, and its sentence stands above."""
    place = "p.attention.run=mixed&p.attention.tag=attention/mix/a damaged header"
    tab = open_tab(f"{address}/#attention&{place}")
    expect(tab.find(".notice.problem")).to_contain_text("header is not JSON")
    tab.find("button.view[data-view=overview]").click()
    expect(tab.find(".thumb-block").first).to_be_visible()
    assert ("of another time", 0) in table(tab)


def test_a_link_that_is_pasted_is_followed(open_overview):
    """An address that changes while the tab is open opens what it names."""
    tab = open_overview("small/attention")
    tab.page.evaluate("location.hash = '#attention&p.attention.run=large/attention&p.attention.view=map'")
    expect(tab.find("#heatmap")).to_be_visible()
    expect(tab.find(".subtitle")).to_contain_text("large/attention")


def test_html_of_the_overview_holds_every_layer(open_overview, tmp_path):
    """The file opens with all thumbnails that were on screen."""
    tab = open_overview("small/attention")
    tab.frame.get_by_role("button", name="Export").click()
    with tab.page.expect_download() as download:
        tab.find(".menu [data-kind=html]").click()
    download.value.save_as(tmp_path / "all.html")
    held = re.search(r'id="attention-records">(.*?)</script>', (tmp_path / "all.html").read_text("utf-8"))
    tags = json.loads(held[1])["runs"]["small/attention"]
    layers = {map_tag("words", layer) for maps in WEIGHTS.values() for layer in maps}
    assert layers == {tag for tag in tags if "__inputs__" not in tag}


def test_thumbnails_leave_out_padding_that_gets_nothing(tmp_path, start_tensorboard, open_tab):
    """Four words attend to each other alike, four paddings get nothing: the thumbnail is of one colour."""
    axis = zoo.Axis("token", 8, ["a", "b", "c", "d", *["[PAD]"] * 4])
    weights = np.zeros((1, 1, 8, 8))
    weights[..., :4] = 0.25
    weights[..., 4:, :] = 0
    zoo.summary.attention("words", zoo.AttentionMap(weights, axis, axis), 0, logdir=tmp_path)
    zoo.summary.close(tmp_path)
    with start_tensorboard(tmp_path) as url:
        tab = open_tab(f"{url}/#attention&p.attention.view=overview")
        canvas = tab.find(".thumb-block canvas")
        canvas.hover(position={"x": 40, "y": 60})
        ring, block = tab.find(".thumb-ring:not(.chosen)").bounding_box(), canvas.bounding_box()
        corners = [
            [ring["x"] - block["x"] + across * ring["width"], ring["y"] - block["y"] + down * ring["height"]]
            for across, down in ((0.1, 0.1), (0.9, 0.9))
        ]
        first, last = canvas.evaluate(
            """(canvas, corners) => corners.map(([x, y]) => [...canvas.getContext("2d").getImageData(
                x * canvas.width / canvas.clientWidth,
                y * canvas.height / canvas.clientHeight, 1, 1).data])""",
            corners,
        )
        assert first == last
        assert first[:3] != [0, 0, 0]
