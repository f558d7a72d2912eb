"""What the Attention tab and `zoo.plot.html` write to files; judges: NumPy, and a browser that is offline."""

import base64
import csv
import io
import json
import re
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib import image
from playwright.sync_api import expect

import zoo
from tb_plugin.record import decode_header, decode_map

SVG = "{http://www.w3.org/2000/svg}"
SAMPLES, HEADS, QUERIES, KEYS = 2, 3, 5, 7
STEPS = (0, 19)
HOSTILE = "</script><!--<script>document.title='hacked'</script><img src=x onerror=document.title='hacked'>"
WORDS = ["=1+2", "+x", "-y", "@z", 'a "quoted", word', HOSTILE, "\x01\ud800é漢"]
MAP, INPUTS = "attention/words/encoder", "attention/words/__inputs__"


def softmax(scores):
    """Rows that sum to 1."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype("float32")


WEIGHTS = {
    step: softmax(np.random.default_rng(step).normal(0, 2, (SAMPLES, HEADS, QUERIES, KEYS))) for step in STEPS
}


def map_of(step):
    """Tokens that are no friends of anybody."""
    return zoo.AttentionMap(
        WEIGHTS[step], zoo.Axis("token", QUERIES, WORDS[:QUERIES]), zoo.Axis("token", KEYS, WORDS)
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory, start_tensorboard):
    """TensorBoard over one run."""
    logs = tmp_path_factory.mktemp("logs")
    for step in STEPS:
        seen = np.arange(SAMPLES * KEYS).reshape(SAMPLES, KEYS)
        zoo.summary.attention(
            "words", {"encoder": map_of(step)}, step, logdir=logs / "run", series={"seen": seen}, exact=True
        )
    zoo.summary.close(logs / "run")
    with start_tensorboard(logs) as url:
        yield url


@pytest.fixture
def open_view(open_tab, address):
    """`open_view("map", head=2)` opens a view."""

    def open_(view, around=False, **selection):
        parameters = "".join(
            f"&p.attention.{name}={value}" for name, value in ({"view": view} | selection).items()
        )
        inner = "" if around else "data/plugin_entry.html?name=attention"
        tab = open_tab(f"{address}/{inner}#attention{parameters}")
        tab.wait_for(step=selection.get("step", STEPS[-1]))
        return tab

    return open_


def export(tab, kind, folder):
    """The file that the menu makes."""
    tab.frame.get_by_role("button", name="Export").click()
    with tab.page.expect_download() as download:
        tab.find(f".menu [data-kind={kind}]").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


@pytest.fixture
def offline(browser):
    """`offline(path)` opens a file in a browser without a network; nothing is asked for but the file."""
    contexts, asked, errors = [], [], []

    def open_(path, **settings):
        contexts.append(
            browser.new_context(offline=True, viewport={"width": 1360, "height": 900}, **settings)
        )
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(path.as_uri())
        expect(page.locator("#readout")).to_have_attribute("data-value", re.compile("."))
        assert [path.as_uri()] == asked
        asked.clear()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert ([], []) == (asked, errors)


def records_of(path):
    """`{run: {tag: [record]}}`, the parts of each as bytes."""
    text = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text(), re.DOTALL)[1]
    runs = json.loads(text)["runs"]
    for tags in runs.values():
        for records in tags.values():
            for record in records:
                record["parts"] = [base64.b64decode(part, validate=True) for part in record["parts"]]
    return runs


# The two heads with the largest weights, the larger one first.
TWO = np.argsort(-WEIGHTS[STEPS[-1]][0].max(axis=(1, 2)))[:2].tolist()


def test_npy_holds_the_map_exactly(open_view, tmp_path):
    """NumPy reads what was logged, and the data begin where the format wants them."""
    path = export(open_view("map", head=2, sample=1), "npy", tmp_path)
    found = np.load(path, allow_pickle=False)
    assert np.float32 == found.dtype
    np.testing.assert_array_equal(WEIGHTS[STEPS[-1]][1, 2], found)
    assert "encoder_map_step19_sample2_head3.npy" == path.name
    assert 0 == (10 + struct.unpack("<H", path.read_bytes()[8:10])[0]) % 64


def test_npy_of_several_heads_and_of_two_that_are_compared(open_view, tmp_path):
    """Several maps come as one array: heads, or A, B and A − B."""
    several = np.load(export(open_view("map", head=f"{TWO[0]},{TWO[1]}"), "npy", tmp_path))
    np.testing.assert_array_equal(WEIGHTS[STEPS[-1]][0, TWO], several)
    tab = open_view("compare", head=1, otherStep=0)
    expect(tab.find(".sentence")).not_to_have_text("")
    a, b = WEIGHTS[STEPS[-1]][0, 1], WEIGHTS[0][0, 1]
    np.testing.assert_array_equal([a, b, a - b], np.load(export(tab, "npy", tmp_path)))


def test_csv_holds_the_map_exactly_and_no_formula(open_view, tmp_path):
    """Every float32 comes back from its digits, and no label is calculated by a spreadsheet."""
    path = export(open_view("map", head=1), "csv", tmp_path)
    with open(path, encoding="utf-8", newline="") as file:
        [head, *rows] = csv.reader(file)
    shown = [label.replace("\ud800", "\ufffd") for label in WORDS]
    shown[:4] = [f"'{label}" for label in shown[:4]]
    assert ["query", *shown] == head
    assert shown[:QUERIES] == [row[0] for row in rows]
    np.testing.assert_array_equal(WEIGHTS[STEPS[-1]][0, 1], np.array([row[1:] for row in rows], "float32"))


def test_csv_of_several_heads_names_them(open_view, tmp_path):
    """The heads stand below each other, each row with the name of its head."""
    with open(
        export(open_view("map", head=f"{TWO[0]},{TWO[1]}"), "csv", tmp_path), encoding="utf-8", newline=""
    ) as file:
        [head, *rows] = csv.reader(file)
    assert ["map", "query"] == head[:2]
    assert [f"head {head + 1}" for head in TWO for _ in range(QUERIES)] == [row[0] for row in rows]
    found = np.array([row[2:] for row in rows], "float32").reshape(2, QUERIES, KEYS)
    np.testing.assert_array_equal(WEIGHTS[STEPS[-1]][0, TWO], found)


@pytest.mark.parametrize(("view", "canvases"), [("map", 1), ("compare", 3)])
def test_svg_and_png_show_the_view(open_view, tmp_path, view, canvases):
    """Cells are a picture, labels are text and nothing else; the PNG is the same at two pixels a pixel."""
    tab = open_view(view)
    if view == "compare":
        expect(tab.find(".sentence")).not_to_have_text("")
    root = ET.fromstring(export(tab, "svg", tmp_path).read_text("utf-8"))
    cells = root.findall(f".//{SVG}image")
    assert canvases <= len(cells)
    for cell in cells:
        assert cell.get("href").startswith("data:image/png;base64,")
    kinds = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert {"svg", "image", "text", "rect", "linearGradient"} <= kinds
    assert not kinds & {"script", "foreignObject", "style", "img"}
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert "encoder" in texts and "step 19 · sample 1 of 2 · mean of 3 heads" in texts
    assert "=1+2" in texts
    assert view == "compare" or any(
        text.startswith("</script><!--") for text in texts
    )  # room for every label

    picture = image.imread(export(tab, "png", tmp_path))
    assert (2 * int(root.get("height")), 2 * int(root.get("width"))) == picture.shape[:2]
    of_cells = image.imread(io.BytesIO(base64.b64decode(cells[0].get("href").partition(",")[2])))
    darkest = of_cells[of_cells[..., 3] == 1][:, :3].sum(axis=1).min()
    assert (
        np.isclose(darkest, picture[..., :3].sum(axis=2), atol=0.02).sum() > 100
    )  # the largest weight's cell


def test_the_menu_works_with_the_keyboard(open_view):
    """Enter opens it, arrows move through it, and Escape returns to the button; axe-core is content."""
    tab = open_view("map")
    button = tab.frame.get_by_role("button", name="Export")
    button.focus()
    tab.page.keyboard.press("Enter")
    expect(tab.find("[data-kind=png]")).to_be_focused()
    tab.page.keyboard.press("ArrowUp")
    expect(tab.find("[data-kind=html]")).to_be_focused()
    assert [] == tab.violations(".export")
    tab.page.keyboard.press("Escape")
    expect(button).to_be_focused()
    expect(tab.find(".menu")).to_be_hidden()


def test_html_of_the_tab_opens_offline(open_view, offline, tmp_path):
    """From inside TensorBoard: one file with all samples and heads of the step, and nothing hostile runs."""
    path = export(open_view("map", around=True, step=0), "html", tmp_path)
    [record], [inputs] = (records_of(path)["run/attention"][tag] for tag in (MAP, INPUTS))
    header = decode_header(record["parts"][0])
    found = [[decode_map(header, record["parts"], i, j) for j in range(HEADS)] for i in range(SAMPLES)]
    np.testing.assert_array_equal(WEIGHTS[0], found)
    assert 0 == record["step"]
    assert (
        list(range(KEYS, 2 * KEYS)) == decode_header(inputs["parts"][0])["samples"][1]["series"][0]["values"]
    )

    page = offline(path)
    expect(page.locator("button.view[data-view=map]")).to_have_attribute(
        "aria-current", "page"
    )  # as it was made
    page.locator("#sample").select_option("1")
    page.locator("#head").select_option("2")
    expect(page.locator("#readout")).to_have_attribute("data-head", "2")
    shown = float(page.locator("#readout").get_attribute("data-value"))
    assert shown == pytest.approx(WEIGHTS[0][1, 2].max(), rel=1e-6)
    assert "encoder · run/attention" == page.title()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
        page.locator("[data-kind=html]").click()
    download.value.save_as(tmp_path / "again.html")
    assert records_of(path) == records_of(tmp_path / "again.html")


def test_html_from_python_is_that_of_the_tab(open_view, tmp_path):
    """Both write the same page, but for the name of the run and for how the one script is allowed."""
    ours, theirs = tmp_path / "ours.html", export(open_view("map"), "html", tmp_path)
    zoo.plot.html({"encoder": map_of(STEPS[-1])}, ours)

    def frame(path):
        text = re.sub(r"'(nonce|sha256)-[^']+'", "", path.read_text("utf-8"), count=1)
        text = re.sub(r'<script type="module"[^>]*>', '<script type="module">', text)
        text = re.sub(r"<title>[^<]*</title>", "", text)
        return re.sub(r'(id="attention-records">).*?(</script>)', r"\1\2", text, count=1, flags=re.DOTALL)

    assert frame(ours) == frame(theirs)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_html_from_python_opens_offline(offline, tmp_path, pictures, scheme):
    """The numbers are those of the arrays, in the reader's light or dark, and hostile labels stay text."""
    days = [str(np.datetime64("2018-03-01") + day) for day in range(KEYS + QUERIES)]
    forecaster = zoo.AttentionMap(
        WEIGHTS[0], zoo.Axis("time", QUERIES, days[KEYS:]), zoo.Axis("time", KEYS, days[:KEYS])
    )
    path = tmp_path / "a & b <i>.html"
    zoo.plot.html(
        {"decoder": forecaster, HOSTILE: map_of(0)},
        path,
        series={"price": np.arange(SAMPLES * KEYS).reshape(SAMPLES, KEYS) + 7.0},
        forecast=np.ones((SAMPLES, QUERIES)),
        target=np.zeros((SAMPLES, QUERIES)),
        titles=["monday", HOSTILE],
    )
    page = offline(path, color_scheme=scheme)
    mean = WEIGHTS[0][0].mean(axis=0)
    bound = float(np.sqrt(WEIGHTS[0][0]).max() / 255)
    assert float(page.locator("#readout").get_attribute("data-value")) == pytest.approx(mean.max(), abs=bound)
    assert (scheme == "dark") == page.evaluate("document.documentElement.classList.contains('dark')")
    expect(page.locator(".legend")).to_contain_text("price")
    expect(page.locator(".controls .steps")).to_be_hidden()
    page.screenshot(path=pictures / f"html-{scheme}.png")
    page.get_by_role("button", name="</script>").click()
    expect(page.locator("h1")).to_have_text(HOSTILE)
    assert "a & b <i>" == page.title()


def test_html_allows_only_its_own_script(browser, tmp_path):
    """The policy in the file stops any other script, and any request."""
    zoo.plot.html(map_of(0), tmp_path / "one.html")
    page = browser.new_page()
    page.goto((tmp_path / "one.html").as_uri())
    expect(page.locator("#readout")).to_have_attribute("data-value", re.compile("."))
    stopped = page.evaluate(
        """() => {
            const stopped = [];
            addEventListener("securitypolicyviolation", (event) => stopped.push(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const picture = new Image();
            picture.src = "https://example.org/pixel.png";
            return fetch("https://example.org/").catch(() => new Promise((resolve) =>
                setTimeout(() => resolve([String(window.ran), ...stopped.sort()]), 200)));
        }"""
    )
    assert ["undefined", "connect-src", "img-src", "script-src-elem"] == stopped
    page.close()


@pytest.mark.parametrize(("view", "count"), [("overview", 1), ("training", len(STEPS))])
def test_statistics_leave_as_csv(open_view, tmp_path, view, count):
    """Where numbers of heads are on screen, CSV has those: a row for each step, sample and head."""
    tab = open_view(view)
    with open(export(tab, "csv", tmp_path), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert count * SAMPLES * HEADS == len(rows)
    row = next(one for one in rows if ("19", "2", "3") == (one["step"], one["sample"], one["head"]))
    weights = WEIGHTS[19][1, 2].astype("float64")
    entropy = -(weights * np.log(weights)).sum(axis=1).mean() / np.log(KEYS)
    assert entropy == pytest.approx(float(row["entropy"]), rel=1e-5)
