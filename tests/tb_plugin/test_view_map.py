"""The Map view in a real Chromium; judge: NumPy over the arrays that were logged."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo

HEADS, QUERIES, KEYS = 3, 61, 67
BIG = 1223, 1511
SPIKE = 610, 952  # neither the first nor the last of its block
LIGHT = ["f1f4f3", "dcecdf", "b4dcc8", "7cc8bf", "48adbd", "2b8bb3", "25659f", "243f85", "1a1f5c"]


def softmax(scores):
    """Rows that sum to 1."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype("float32")


RANDOM = np.random.default_rng(7)
WEIGHTS = softmax(RANDOM.normal(0, 1.7, (HEADS, QUERIES, KEYS)))
LARGE = softmax(RANDOM.normal(0, 0.1, BIG))
LARGE[SPIKE] = 0.9


@pytest.fixture(scope="module")
def address(tmp_path_factory, start_tensorboard):
    """The address of a TensorBoard over three heads of a small map and one map of 1.8 million cells."""
    logs = tmp_path_factory.mktemp("logs")
    zoo.summary.attention("heads", zoo.AttentionMap(WEIGHTS[None]), 0, logdir=logs / "small", exact=True)
    big = zoo.AttentionMap(LARGE[None, None])
    zoo.summary.attention("one", big, 0, logdir=logs / "big", exact=True, resolution=max(BIG))
    with start_tensorboard(logs) as url:
        yield url


@pytest.fixture
def open_map(open_tab, address):
    """Opens the Map view of a run, and scrolls to the map."""

    def open_(run="small", **selection):
        parts = {"run": f"{run}/attention", "view": "map", **selection}
        asked = "&".join(f"p.attention.{name}={value}" for name, value in parts.items())
        tab = open_tab(f"{address}/#attention&{asked}")
        tab.wait_for(step=0)
        drawn = tab.find("#heatmap[data-area], .small").first
        expect(drawn).to_be_visible()
        drawn.scroll_into_view_if_needed()
        return tab

    return open_


def area(tab):
    """First query, first key, queries and keys that are seen."""
    return tuple(map(float, tab.find("#heatmap").get_attribute("data-area").split()))


def place(tab, across, down):
    """A point of the map, both 0 to 1, on the page."""
    box = tab.find("#heatmap").bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def cell_under(tab, across, down, weights):
    """Point there; query and key that the page names, whose weight has to be the one it shows."""
    tab.page.mouse.move(*place(tab, across, down))
    value, query, key = tab.read()
    assert weights[int(query), int(key)] == pytest.approx(value, rel=1e-6)
    return int(query), int(key)


def centre(tab, query, key):
    """Where on the map, 0 to 1, a cell's centre is by the part that is seen."""
    first_query, first_key, queries, keys = area(tab)
    return (key + 0.5 - first_key) / keys, (query + 0.5 - first_query) / queries


def pixel(tab, across, down):
    """Red, green and blue of the canvas."""
    return tab.find("#heatmap").evaluate(
        """(canvas, [x, y]) => {
            const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
            return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
        }""",
        [across, down],
    )


def colour(share):
    """The colour at a share of the light ramp."""
    stops = np.array([[int(stop[at : at + 2], 16) for at in (0, 2, 4)] for stop in LIGHT])
    at = np.clip(share, 0, 1) * (len(stops) - 1)
    return [np.interp(at, range(len(stops)), channel) for channel in stops.T]


def test_numbers_after_zoom_and_pan(open_map):
    """Wheel and drag leave the pointed cell under the pointer, and numbers and colours are NumPy's."""
    tab = open_map(head=1)
    weights = WEIGHTS[1]
    held = cell_under(tab, 0.31, 0.43, weights)
    assert (int(0.43 * QUERIES), int(0.31 * KEYS)) == held
    for _ in range(2):
        tab.page.mouse.wheel(0, -300)
        tab.page.wait_for_timeout(100)
        assert held == cell_under(tab, 0.31, 0.43, weights)
    assert QUERIES / np.exp(1.2) == pytest.approx(area(tab)[2], rel=1e-3)
    tab.page.mouse.down()
    tab.page.mouse.move(*place(tab, 0.43, 0.37), steps=3)
    tab.page.mouse.up()
    assert held == cell_under(tab, 0.43, 0.37, weights)
    first_query, _, queries, _ = area(tab)
    assert first_query + 0.37 * queries == pytest.approx(held[0] + 0.5, abs=0.6)
    for query, key in ((held[0] + 2, held[1] - 3), (held[0] - 4, held[1] + 5), held):
        across, down = centre(tab, query, key)
        assert (query, key) == cell_under(tab, across, down, weights)
        tab.page.mouse.move(*place(tab, 1.2, 0.5))
        found = pixel(tab, across, down + 0.3 / queries)  # below the number
        np.testing.assert_allclose(found, colour(weights[query, key] / weights.max()), atol=2)


def test_zoom_by_keys_buttons_and_double_click(open_map):
    """+, − and 0, the three buttons and a double click change what is seen, and 0 leads back to the whole."""
    tab = open_map(head=0)
    whole = (0, 0, QUERIES, KEYS)
    canvas = tab.find("#heatmap")
    assert whole == area(tab)
    canvas.press("+")
    assert (QUERIES / 1.5, KEYS / 1.5) == pytest.approx(area(tab)[2:])
    assert (QUERIES / 6, KEYS / 6) == pytest.approx(area(tab)[:2])  # about the middle
    canvas.press("-")
    assert whole == area(tab)
    tab.frame.get_by_role("button", name="Zoom in").click()
    tab.frame.get_by_role("button", name="Zoom in").click()
    tab.frame.get_by_role("button", name="Zoom out").click()
    assert QUERIES / 1.5 == pytest.approx(area(tab)[2])
    tab.frame.get_by_role("button", name="Show the whole map").click()
    assert whole == area(tab)
    tab.page.mouse.dblclick(*place(tab, 0.8, 0.2))
    assert (0.1 * QUERIES, 0.4 * KEYS) == pytest.approx(area(tab)[:2], abs=0.2)
    assert (QUERIES / 2, KEYS / 2) == pytest.approx(area(tab)[2:])
    canvas.press("0")
    assert whole == area(tab)


def test_pinch(open_map):
    """Two fingers that part by half as much again show the map half as large again, about their middle."""
    tab = open_map(head=0)
    (x, y), [*_, queries, keys] = place(tab, 0.5, 0.5), area(tab)
    devtools = tab.page.context.new_cdp_session(tab.page)

    def touch(kind, *apart):
        points = [{"x": x + side, "y": y, "id": id_} for id_, side in enumerate(apart)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -100)
    touch("touchStart", -100, 100)
    for apart in range(100, 151, 10):
        touch("touchMove", -apart, apart)
    touch("touchEnd")
    first_query, first_key, *seen = area(tab)
    assert (queries / 1.5, keys / 1.5) == pytest.approx(seen, rel=0.02)
    assert (queries / 6, keys / 6) == pytest.approx((first_query, first_key), rel=0.05)


def test_keyboard_walks_and_pans(open_map):
    """Arrows walk from cell to cell and bring it into view, shift and arrows pan."""
    tab = open_map(head=2)
    weights, canvas = WEIGHTS[2], tab.find("#heatmap")
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowDown"):
        canvas.press(key)
    assert weights[1, 2] == pytest.approx(tab.read()[0], rel=1e-6)
    for _ in range(4):
        canvas.press("+")
    assert (1, 2) == tuple(map(int, tab.read()[1:]))
    across, down = centre(tab, 1, 2)
    assert 0 < across < 1 and 0 < down < 1
    canvas.press("End")
    assert weights[1, KEYS - 1] == pytest.approx(tab.read()[0], rel=1e-6)
    first_query, first_key, queries, keys = area(tab)
    assert first_key + keys == pytest.approx(KEYS)
    canvas.press("Shift+ArrowLeft")
    assert first_key - keys / 8 == pytest.approx(area(tab)[1])
    canvas.press("Shift+ArrowDown")
    assert first_query + queries / 8 == pytest.approx(area(tab)[0])
    canvas.press("Escape")
    expect(tab.find("#readout")).to_contain_text("largest weight")
    assert weights.max() == pytest.approx(tab.read()[0], rel=1e-6)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_over_heads(open_map, how):
    """Mean and maximum over heads are NumPy's, in single cells and in the largest weight."""
    tab = open_map(head=how)
    expected = getattr(WEIGHTS, how)(axis=0)
    assert expected.max() == pytest.approx(tab.read()[0], rel=1e-6)
    for query, key in ((0, 0), (7, 31), (QUERIES - 1, KEYS - 1)):
        assert (query, key) == cell_under(tab, *centre(tab, query, key), expected)


def test_largest_are_outlined(open_map):
    """The outlined cells are the first of NumPy's argsort, and the least of their weights is said."""
    tab = open_map(head="mean")
    weights = WEIGHTS.mean(axis=0)
    order = np.argsort(-weights, axis=None, kind="stable")
    canvas = tab.find("#heatmap")
    for count in (7, 100, 101):
        tab.find("#top").fill(str(count))
        cells = np.transpose(np.unravel_index(order[: min(count, 100)], weights.shape))
        expect(canvas).to_have_attribute("data-top", " ".join(f"{query}:{key}" for query, key in cells))
    tab.find("#top").fill("7")
    expect(tab.find(".top output")).to_have_text(f"≥ {weights.flat[order[6]]:.4g}")
    assert "p.attention.top=7" in tab.page.url
    query, key = np.unravel_index(order[0], weights.shape)
    across, down = centre(tab, query, key)
    pixels = 1 / canvas.bounding_box()["height"]
    for dark, outline in ((False, [0xC2, 0x41, 0x0C]), (True, [0xFF, 0x5F, 0xA2])):
        tab.darken(dark)
        assert outline in [pixel(tab, across, down - 0.5 / QUERIES + at * pixels) for at in range(-2, 3)]
    tab.find("#top").fill("0")
    expect(canvas).to_have_attribute("data-top", "")


@pytest.mark.parametrize("floor", ["zero", "lowest", "robust"])
def test_colours_and_ticks(open_map, floor):
    """On every scale the colour of known weights and the ramp's three numbers follow from the ends."""
    tab = open_map(head=1)
    weights = WEIGHTS[1].astype("float64")
    tab.find("#floor").select_option(floor)
    low, high = {
        "zero": (0, weights.max()),
        "lowest": (weights.min(), weights.max()),
        "robust": (
            np.percentile(weights, 1, method="lower"),
            np.percentile(weights, 99, method="higher"),
        ),
    }[floor]
    least = max(low, high / 1e4)  # four decades at most
    scales = {
        "linear": (lambda w: (w - low) / (high - low), [low, (low + high) / 2, high]),
        "power": (lambda w: np.sqrt(max(0, w - low) / (high - low)), [low, low + (high - low) / 4, high]),
        "log": (lambda w: np.log(w / least) / np.log(high / least), [least, np.sqrt(least * high), high]),
    }
    order = np.argsort(weights, axis=None)
    for scale, (share, ticks) in scales.items():
        tab.find("#scale").select_option(scale)
        found = [float(text.strip("≤≥ ")) for text in tab.find(".ticks span").all_inner_texts()]
        np.testing.assert_allclose(found, ticks, rtol=1e-3)
        for rank in (0, weights.size // 2, 9 * weights.size // 10, weights.size - 5, weights.size - 1):
            query, key = np.unravel_index(order[rank], weights.shape)
            expected = colour(share(weights[query, key]))
            np.testing.assert_allclose(pixel(tab, *centre(tab, query, key)), expected, atol=2)


def test_colours_are_chosen_without_asking_the_server(open_map):
    """Scale, ends and outlines are drawn from what is there already."""
    tab = open_map(head=1)
    asked = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.find("#scale").select_option("log")
    tab.find("#floor").select_option("robust")
    tab.find("#top").fill("5")
    expect(tab.find(".top output")).not_to_have_text("")
    tab.page.wait_for_timeout(300)
    assert [] == [url for url in asked if "records" in url]
    assert "p.attention.scale=log" in tab.page.url


def test_profiles(open_map):
    """Above the map stands the pointed row, right of it the pointed column, and else the means of all."""
    tab = open_map(head=0)
    weights = WEIGHTS[0].astype("float64")

    def heights(name, axis):
        """How high each step of a profile is, of the highest."""
        path = tab.find(name).get_attribute("d")
        places = np.array([float(number) for number in re.findall(r"-?[\d.]+", path)]).reshape(-1, 2)
        high = np.abs(places[1:-1:2, axis] - places[0, axis])
        return high / high.max()

    row, column = weights.mean(axis=0), weights.mean(axis=1)
    np.testing.assert_allclose(heights(".row-profile", 1), row / row.max(), atol=0.005)
    np.testing.assert_allclose(heights(".column-profile", 0), column / column.max(), atol=0.005)
    query, key = cell_under(tab, 0.61, 0.23, weights)
    row, column = weights[query], weights[:, key]
    np.testing.assert_allclose(heights(".row-profile", 1), row / row.max(), atol=0.005)
    np.testing.assert_allclose(heights(".column-profile", 0), column / column.max(), atol=0.005)
    assert row.max() == pytest.approx(float(tab.find(".row-profile").get_attribute("data-most")), rel=1e-6)


def test_heads_side_by_side(open_map):
    """Each head has a small map in the same colours, reads as its own, and a click opens it alone."""
    tab = open_map()
    tab.find("#head").select_option(",".join(map(str, range(HEADS))))
    tab.wait_for(head="0,1,2")
    expect(tab.find(".small")).to_have_count(HEADS)
    expect(tab.find("#heatmap")).to_be_hidden()
    names = tab.find(".small .name").all_inner_texts()
    assert [f"head {head + 1}" for head in range(HEADS)] == names
    assert WEIGHTS.max() == pytest.approx(tab.read()[0], rel=1e-6)
    for head in range(HEADS):
        box = tab.find(".small canvas").nth(head).bounding_box()
        query, key = 11, 13
        tab.page.mouse.move(
            box["x"] + (key + 0.5) * box["width"] / KEYS, box["y"] + (query + 0.5) * box["height"] / QUERIES
        )
        assert (str(query), str(key)) == tab.read()[1:]
        assert WEIGHTS[head, query, key] == pytest.approx(tab.read()[0], rel=1e-6)
    tab.find("#top").fill("7")
    order = np.argsort(-WEIGHTS, axis=None, kind="stable")[:7]
    cells = np.transpose(np.unravel_index(order, WEIGHTS.shape))
    for head in range(HEADS):
        own = " ".join(f"{query}:{key}" for map_, query, key in cells if map_ == head)
        expect(tab.find(".small canvas").nth(head)).to_have_attribute("data-top", own)
    tab.frame.get_by_role("button", name="head 2").click()
    tab.wait_for(head="1")
    expect(tab.find("#heatmap")).to_be_visible()
    assert "p.attention.head=1" in tab.page.url
    assert (3, 5) == cell_under(tab, *centre(tab, 3, 5), WEIGHTS[1])


def test_heads_are_chosen_by_number(open_map):
    """Beside the list of heads a field takes "1, 3" or "2-3"; what names no head changes nothing."""
    tab = open_map()
    field = tab.find("#heads")
    expect(field).to_be_hidden()
    tab.find("#head").select_option(",".join(map(str, range(HEADS))))
    expect(field).to_have_value("1-3")
    for typed, heads, kept in (
        ("3,1 ", "0,2", "1, 3"),
        ("2 - 99", "1,2", "2-3"),
        ("none, 0, 7", "1,2", "2-3"),
    ):
        field.fill(typed)
        field.press("Enter")
        tab.wait_for(head=heads)
        field.blur()
        expect(field).to_have_value(kept)
        expect(tab.find(".small")).to_have_count(2)


def test_peak_of_a_large_map_is_seen(open_map):
    """A weight far smaller than a pixel is drawn and read at its place; zoomed in, each cell is its own."""
    tab = open_map("big")
    across, down = centre(tab, *SPIKE)
    box = tab.find("#heatmap").bounding_box()
    blocks = [
        int(2 ** np.ceil(np.log2(cells / pixels)))
        for cells, pixels in zip(BIG, (box["height"], box["width"]), strict=True)
    ]
    said = f"Each pixel has the colour of the largest of {blocks[0]} × {blocks[1]} weights."
    expect(tab.find(".chart-area .said")).to_have_text(said)
    steps = [(x / box["width"], y / box["height"]) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    near = [pixel(tab, across + x, down + y) for x, y in steps]
    np.testing.assert_allclose(min(near, key=sum), colour(1), atol=2)
    neighbour = SPIKE[0], SPIKE[1] + 1
    for cell in (SPIKE, neighbour):  # of one block, so of one colour and one number
        assert SPIKE == cell_under(tab, *centre(tab, *cell), LARGE)
    for _ in range(7):
        tab.page.mouse.wheel(0, -400)
    expect(tab.find(".chart-area .said")).to_be_hidden()
    tab.page.wait_for_timeout(200)
    for cell in (neighbour, SPIKE):
        assert cell == cell_under(tab, *centre(tab, *cell), LARGE)
    assert tab.frame.evaluate("document.querySelectorAll('*').length") < 3000


@pytest.mark.parametrize("head", ["mean", "0,1,2"])
def test_nothing_bars_anybody(open_map, pictures, head):
    """The accessibility engine finds nothing, with one map or several, light or dark."""
    tab = open_map(head=head, top=7, scale="power")
    for dark in (False, True):
        tab.darken(dark)
        tab.page.screenshot(path=pictures / f"map-{len(head)}-{'dark' if dark else 'light'}.png")
        assert [] == tab.violations()
