"""The Image view in a real Chromium, over records of `zoo.summary`. Judge: NumPy on the same weights."""

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo
from zoo import AttentionMap, Axis

RNG = np.random.default_rng(5)
ROWS, COLUMNS, HEADS = 5, 7, 3
PATCHES = ROWS * COLUMNS
HOSTILE = "<img src=x onerror=document.title='hacked'>"


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype("float32")


SELF = softmax(RNG.normal(0, 1.3, (2, HEADS, PATCHES, PATCHES)))
POOL = softmax(RNG.normal(0, 1.3, (2, 1, 1, PATCHES)))
VIT = softmax(RNG.normal(0, 1.3, (2, HEADS, 2 + PATCHES, 2 + PATCHES)))
WORDS = softmax(RNG.normal(0, 1.3, (2, 1, 3, PATCHES)))
GATES = softmax(RNG.normal(0, 1.3, (2, 1, 1, 11)))
COLOURS = RNG.integers(0, 256, (2, 2 * ROWS, 2 * COLUMNS, 3), dtype="uint8")
# Loud below, silent above, as most sounds are; the first row is the lowest frequency.
SOUND = np.linspace(1, 0, 2 * ROWS)[None, :, None] + np.zeros((2, 1, 2 * COLUMNS))


@pytest.fixture(scope="module")
def address(tmp_path_factory, start_tensorboard):
    """A TensorBoard over the layers of an image model and of a sound model."""
    logs = tmp_path_factory.mktemp("logs")
    grid = Axis("patch", PATCHES, grid=(ROWS, COLUMNS))
    layers = {
        "block": AttentionMap(SELF, grid, grid),
        "caption": AttentionMap(WORDS, Axis("token", 3, ["a", HOSTILE, "."]), grid),
        "gates": AttentionMap(GATES, Axis("step", 1), Axis("channel", 11)),
        "vit": AttentionMap(VIT, *[Axis("patch", 2 + PATCHES, grid=(ROWS, COLUMNS))] * 2),
        "pool": AttentionMap(POOL, Axis("step", 1), grid),
    }
    zoo.summary.attention("photo", layers, 0, logdir=logs / "image", exact=True, pictures=COLOURS)
    sound = {"block": AttentionMap(SELF, grid, grid)}
    zoo.summary.attention(
        "word", sound, 0, logdir=logs / "sound", exact=True, pictures={"spectrogram": SOUND}
    )
    zoo.summary.attention("bare", sound, 0, logdir=logs / "bare", exact=True)
    for run in ("image", "sound", "bare"):
        zoo.summary.close(logs / run)
    with start_tensorboard(logs) as url:
        yield url


@pytest.fixture
def open_image(open_tab, address):
    """Opens a layer in the Image view."""

    def open_(run="image", name="photo", layer="block"):
        place = f"p.attention.run={run}/attention&p.attention.tag=attention/{name}/{layer}"
        tab = open_tab(f"{address}/#attention&{place}&p.attention.view=image")
        expect(tab.find("#picture")).to_be_visible()
        return tab

    return open_


def centre(tab, row, column):
    """Where the patch that is drawn in this row and column stands on the screen."""
    tab.find("#picture").scroll_into_view_if_needed()
    box = tab.find("#picture").bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / COLUMNS, box["y"] + (row + 0.5) * box["height"] / ROWS


def point_at(tab, patch):
    """The mouse over a patch of an image."""
    tab.page.mouse.move(*centre(tab, *divmod(patch, COLUMNS)))


def pixels(tab, rows, columns):
    """Red, green and blue in the middle of each cell of rows × columns of the canvas."""
    return np.array(
        tab.find("#picture").evaluate(
            """(canvas, [rows, columns]) => {
                const context = canvas.getContext("2d");
                return Array.from({ length: rows * columns }, (_, cell) => [...context.getImageData(
                    ((cell % columns) + 0.5) * canvas.width / columns,
                    (Math.floor(cell / columns) + 0.5) * canvas.height / rows, 1, 1).data.slice(0, 3)]);
            }""",
            [rows, columns],
        )
    ).reshape(rows, columns, 3)


def set_opacity(tab, percent):
    tab.find("#opacity").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", percent
    )


def highest(tab):
    """The largest weight of the map that is drawn."""
    return float(tab.find("#picture").get_attribute("data-highest"))


def test_a_patch_that_is_held_shows_what_it_attends_to(open_image):
    """Click a patch, point at others: the readout is the weight from one to the other, as NumPy has it."""
    tab = open_image()
    weights = SELF[0].mean(axis=0)
    assert weights.mean(axis=0).max() == pytest.approx(highest(tab), rel=1e-5)
    point_at(tab, 11)
    assert weights[11].max() == pytest.approx(highest(tab), rel=1e-5)
    tab.page.mouse.click(*centre(tab, *divmod(11, COLUMNS)))
    for key in (0, 17, 34):
        point_at(tab, key)
        value, query_name, key_name = tab.read()
        assert weights[11, key] == pytest.approx(value, rel=1e-5)
        assert ("row 1, column 4", f"row {key // 7}, column {key % 7}") == (query_name, key_name)
    tab.page.mouse.move(5, 5)
    assert "11" == tab.find("#picture").get_attribute("data-query")
    tab.page.mouse.click(*centre(tab, *divmod(11, COLUMNS)))
    tab.page.mouse.move(5, 5)
    assert "mean" == tab.find("#picture").get_attribute("data-query")


def test_class_tokens_come_before_the_patches(open_image):
    """Two of them: chosen with the slider, in no place of the picture, and patches keep their own weights."""
    tab = open_image(layer="vit")
    weights = VIT[0].mean(axis=0)
    assert weights[:, 2:].mean(axis=0).max() == pytest.approx(highest(tab), rel=1e-5)
    for token in (0, 1):
        tab.find("#query").fill(str(1 + token))
        assert weights[token, 2:].max() == pytest.approx(highest(tab), rel=1e-5)
        point_at(tab, 17)
        value, query_name, key_name = tab.read()
        assert weights[token, 2 + 17] == pytest.approx(value, rel=1e-5)
        assert (f"class token {token}", "row 2, column 3") == (query_name, key_name)
    tab.find("#query").fill("0")
    tab.page.mouse.click(*centre(tab, *divmod(11, COLUMNS)))
    point_at(tab, 34)
    assert weights[2 + 11, 2 + 34] == pytest.approx(tab.read()[0], rel=1e-5)
    assert ("row 1, column 4", "row 4, column 6") == tab.read()[1:]


def test_the_picture_is_under_its_map(open_image):
    """At no opacity the pixels are the picture's own; at full opacity more weight is brighter."""
    tab = open_image()
    set_opacity(tab, 0)
    np.testing.assert_array_equal(COLOURS[0], pixels(tab, 2 * ROWS, 2 * COLUMNS))
    set_opacity(tab, 100)
    brightness = pixels(tab, ROWS, COLUMNS).sum(axis=-1).ravel()
    weights = SELF[0].mean(axis=(0, 1))
    steps = np.diff(brightness[np.argsort(weights)])
    assert -3 <= steps.min() and 200 < steps.sum()  # 8 bits a colour: neighbours may round the other way
    before = len(np.unique(pixels(tab, 50, 70).reshape(-1, 3), axis=0))
    tab.find("#upsampling").select_option("smooth")
    assert before < len(np.unique(pixels(tab, 50, 70).reshape(-1, 3), axis=0))
    assert before <= PATCHES


def test_a_small_picture_of_each_head_opens_it(open_image):
    """There is one for the mean and one for each head; a click shows that head's weights."""
    tab = open_image()
    expect(tab.find("button.tile")).to_have_text(["mean", "1", "2", "3"])
    expect(tab.find("button.tile[aria-pressed=true]")).to_have_text("mean")
    tab.frame.get_by_role("button", name="Head 2", exact=True).click()
    tab.wait_for(head=1)
    expect(tab.find("button.tile[aria-pressed=true]")).to_have_text("2")
    assert SELF[0, 1].mean(axis=0).max() == pytest.approx(highest(tab), rel=1e-5)
    tab.frame.get_by_role("button", name="Mean of all heads").click()
    tab.wait_for(head="mean")


def test_the_only_query_and_words_have_pictures_too(open_image):
    """One query is shown at once; of words, a slider chooses one, whose name stays text."""
    tab = open_image(layer="pool")
    assert POOL[0].max() == pytest.approx(highest(tab), rel=1e-5)
    expect(tab.find("#query")).to_be_hidden()
    point_at(tab, 30)
    tab.choose("image/attention", "caption")
    expect(tab.find("#query")).to_be_visible()
    assert WORDS[0, 0].mean(axis=0).max() == pytest.approx(highest(tab), rel=1e-5)
    for _ in range(2):
        tab.find("#query").press("ArrowRight")
    assert WORDS[0, 0, 1].max() == pytest.approx(highest(tab), rel=1e-5)
    assert HOSTILE in tab.find("output[for=query]").inner_text()
    point_at(tab, 30)
    assert WORDS[0, 0, 1, 30] == pytest.approx(tab.read()[0], rel=1e-5)
    assert 0 == tab.find("img").count()


def test_low_frequencies_are_at_the_bottom(open_image):
    """A spectrogram's first row of patches stands below, and so does its sound."""
    tab = open_image("sound", "word")
    set_opacity(tab, 0)
    brightness = pixels(tab, 2 * ROWS, 2 * COLUMNS)[:, 3, 0]
    assert sorted(brightness) == list(brightness) and brightness[0] < 5 and brightness[-1] > 250
    tab.page.mouse.move(*centre(tab, ROWS - 1, 2))
    assert "row 0, column 2" == tab.find("#readout").get_attribute("data-query")
    set_opacity(tab, 100)
    tab.page.mouse.move(5, 5)
    weights = SELF[0].mean(axis=(0, 1)).reshape(ROWS, COLUMNS)[::-1]
    brightness = pixels(tab, ROWS, COLUMNS).sum(axis=-1)
    assert np.unravel_index(weights.argmax(), weights.shape) == np.unravel_index(
        brightness.argmax(), brightness.shape
    )
    assert ["frequency →", "time →"] == tab.find(".axis-name").all_inner_texts()


def test_arrow_keys_move_over_patches(open_image):
    """The first arrow holds the patch in the middle, the next move it, Escape lets it go."""
    tab = open_image()
    picture = tab.find("#picture")
    picture.focus()
    held = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "Escape"):
        picture.press(key)
        held.append(picture.get_attribute("data-query"))
    assert ["17", "18", "25", "24", "17", "mean"] == held


def test_what_has_no_grid_or_no_picture(open_tab, open_image, address):
    """Gates over channels are no picture; patches without a picture are drawn alone, with what to add."""
    tag = "p.attention.run=image/attention&p.attention.tag=attention/photo/gates"
    tab = open_tab(f"{address}/#attention&{tag}")
    expect(tab.find("[data-view=map]")).to_be_visible()
    expect(tab.find("[data-view=image]")).to_be_hidden()
    tab = open_image("bare", "bare")
    expect(tab.find(".image")).to_contain_text("No picture was logged")
    expect(tab.find("#opacity")).to_be_hidden()
    assert SELF[0].mean(axis=(0, 1)).max() == pytest.approx(highest(tab), rel=1e-5)


def test_the_view_is_accessible(open_image):
    """axe-core finds nothing to complain of, in light and in dark."""
    tab = open_image()
    expect(tab.find("button.tile")).to_have_count(1 + HEADS)
    for dark in (False, True):
        tab.darken(dark)
        assert [] == tab.violations()
