"""The text view in a real Chromium: real event files, weights judged by NumPy, words by hand."""

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo

FORMS = ("lines", "highlight", "matrix")
HOSTILE = "<img/src=x/onerror=document.title='hacked'>"


def spelled(text):
    """A text's bytes as GPT-2's tokenizer spells them (bytes_to_unicode of its encoder.py)."""
    printed = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = {byte: chr(byte) for byte in printed} | {b: chr(256 + n) for n, b in enumerate(others)}
    return "".join(letters[byte] for byte in text.encode())


HINDI = spelled(" नमस्ते")
# Of each tokenizer: pieces, and the words they make; every word is (its text, how many pieces).
TOKENIZERS = {
    "wordpiece": (
        ["[CLS]", "jump", "##ing", "zoo", "##log", "##ist", "##s", "[UNK]", ".", "[SEP]", "[PAD]"],
        [("[CLS]", 1), ("jumping", 2), ("zoologists", 4), ("[UNK]", 1), (".", 1), ("[SEP]", 1), ("[PAD]", 1)],
    ),
    "sentencepiece": (
        ["<s>", "▁नम", "स्ते", "▁", "दुनिया", "▁go", "</s>", "<pad>"],
        [("<s>", 1), ("नमस्ते", 2), ("दुनिया", 2), ("go", 1), ("</s>", 1), ("<pad>", 1)],
    ),
    "bytes": (
        ["<s>", "Caf", spelled("é"), HINDI[:4], HINDI[4:11], HINDI[11:], spelled("\n"), "x", "<|end|>"],
        [("<s>", 1), ("Café", 2), ("नमस्ते", 3), (spelled("\n"), 1), ("x", 1), ("<|end|>", 1)],
    ),
}
ARABIC = ["[CLS]", "تتعلم", "الآلات", "الانتباه", "إلى", "Tensor", "Board", "من", "النص", ".", "[SEP]"]
ENGLISH = ["The", "words", "שלום", "לכולם", "greet", "everybody", "in", "Hebrew", "."]
LONG = [f"word{i}" for i in range(197)]
VERY_LONG = [f"t{i}" for i in range(2053)]
FRENCH = ["l'", "accord", "sur", "la", "zone", "économique", "européenne"]


def softmax(scores):
    """Rows that sum to 1."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def random_weights(queries, keys):
    """Attention like any other, float32."""
    rng = np.random.default_rng(1000 * queries + keys)
    return softmax(rng.normal(0, 1.7, (queries, keys))).astype("float32")


def next_token(length):
    """Each query looks at the key after it, the last one at the first."""
    return np.roll(np.eye(length, dtype="float32"), 1, axis=1)


TEXTS = {name: (pieces, pieces, None) for name, (pieces, _) in TOKENIZERS.items()}
TEXTS |= {
    "translation": (ENGLISH[:5], FRENCH, None),
    "next": (ENGLISH, ENGLISH, next_token(len(ENGLISH))),
    "arabic": (ARABIC, ARABIC, None),
    "english": (ENGLISH, ENGLISH, None),
    "long": (LONG, LONG, None),
    "very_long": (VERY_LONG, VERY_LONG, None),
    "hostile": ([HOSTILE, " ", "‮evil"], [HOSTILE, "##" + HOSTILE, "▁"], None),
}
WEIGHTS = {
    name: random_weights(len(queries), len(keys)) if weights is None else weights
    for name, (queries, keys, weights) in TEXTS.items()
}


@pytest.fixture(scope="module")
def address(tmp_path_factory, start_tensorboard):
    """A TensorBoard over a run for each of the texts."""
    logs = tmp_path_factory.mktemp("logs")
    for name, (queries, keys, _) in TEXTS.items():
        axes = zoo.Axis("token", len(queries), queries), zoo.Axis("token", len(keys), keys)
        seen = zoo.AttentionMap(WEIGHTS[name][None, None], *axes)
        exact = len(keys) < 1000
        zoo.summary.attention("text", seen, 0, logdir=logs / name, resolution=4096, exact=exact)
        zoo.summary.close(logs / name)
    heads = np.stack([np.roll(next_token(9), shift, axis=1) for shift in (0, 1, 2)])
    several = zoo.AttentionMap(heads[None], zoo.Axis("token", 9, ENGLISH), zoo.Axis("token", 9, ENGLISH))
    zoo.summary.attention("text", several, 0, logdir=logs / "heads")
    pieces, _ = TOKENIZERS["wordpiece"]
    axis = zoo.Axis("token", len(pieces), pieces)
    seen = zoo.AttentionMap(WEIGHTS["wordpiece"][None, None], axis, axis)
    zoo.summary.attention("text", seen, 0, logdir=logs / "pooled", resolution=7)
    with start_tensorboard(logs) as url:
        yield url


@pytest.fixture
def open_text(open_tab, address):
    """`open_text(run, form)` opens the view, the plugin's own page alone unless `whole`."""

    def open_(run, form=None, whole=False, **selection):
        selection |= {"run": f"{run}/attention"} | ({"text": form} if form else {})
        page = "" if whole else "data/plugin_entry.html?name=attention"
        chosen = "&".join(f"p.attention.{name}={value}" for name, value in selection.items())
        tab = open_tab(f"{address}/{page}#attention&{chosen}")
        tab.wait_for(step=0)
        expect(tab.find("section.text")).to_be_visible()
        return tab

    return open_


def token(tab, side, index):
    """The node of a query's or key's token."""
    return tab.find(f".token[data-{side}='{index}']")


def form(tab):
    """Which form is pressed."""
    return tab.find(".forms [aria-pressed=true]").get_attribute("data-form")


def read_matrix(tab, rows, columns):
    """Weights and labels of all cells, reached with the arrow keys."""
    canvas = tab.find(".alignment canvas")
    canvas.focus()
    canvas.press("ArrowDown")  # the first cell
    read = []
    for _ in range(rows):
        canvas.press("Home")
        for _ in range(columns):
            read.append(tab.read())
            canvas.press("ArrowRight")
        canvas.press("ArrowDown")
    values, queries, keys = zip(*read, strict=True)
    return np.reshape(values, (rows, columns)), queries[::columns], keys[:columns]


def by_words(weights, sizes):
    """Mean over the pieces of a query, sum over those of a key, word by word."""
    ends = np.cumsum(sizes)
    words = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return np.array([[weights[np.ix_(q, k)].sum(axis=1).mean() for k in words] for q in words])


@pytest.mark.parametrize("name", TOKENIZERS)
def test_pieces_become_words(open_text, name):
    """Judge: NumPy. Merged weights are mean over a query's and sum over a key's pieces; rows sum to 1."""
    pieces, words = TOKENIZERS[name]
    tab = open_text(name, "matrix")
    _, queries, keys = read_matrix(tab, 1, len(pieces))
    assert (pieces[0], *pieces) == (queries[0], *keys)
    tab.find("#words").check()
    expect(tab.find(".alignment .label.query")).to_have_count(len(words))
    tab.find(".alignment canvas").press("Escape")
    read, queries, keys = read_matrix(tab, len(words), len(words))
    labels, sizes = zip(*words, strict=True)
    assert labels == queries == keys
    np.testing.assert_allclose(read, by_words(WEIGHTS[name], sizes), rtol=1e-5)
    np.testing.assert_allclose(read.sum(axis=1), 1, rtol=1e-5)
    assert list(labels) == tab.find(".alignment .label.key").all_text_contents()


def test_form_suits_the_text(open_text):
    """Lines for a short text, highlighted text for a long one, a matrix for a translation."""
    tab = open_text("very_long")
    assert "highlight" == form(tab)
    for run, expected in (("next", "lines"), ("long", "highlight"), ("translation", "matrix")):
        tab.choose(f"{run}/attention")
        expect(tab.find(f"[data-form={expected}]")).to_have_attribute("aria-pressed", "true")


def test_form_is_chosen_and_kept_in_the_address(open_text):
    """A click changes the form, the address says so, and a form too small for the text cannot be chosen."""
    tab = open_text("next")
    tab.find("[data-form=highlight]").click()
    expect(tab.find(".passage")).to_be_visible()
    assert "p.attention.text=highlight" in tab.page.url
    assert "lines" == form(open_text("next", "nonsense"))
    tab = open_text("long", "matrix")
    assert "highlight" == form(tab)
    expect(tab.find("[data-form=matrix]")).to_be_disabled()


def right_edge(tab, side):
    """Opacity of the lines' canvas in every row, 3 pixels from its left (0) or right (1) edge."""
    return tab.find(".bipartite canvas").evaluate(
        """(canvas, side) => {
            const context = canvas.getContext("2d");
            const x = side ? canvas.width - 3 : 3;
            const rows = canvas.clientHeight / 26;
            return Array.from({ length: rows }, (_, row) =>
                context.getImageData(x, ((row + 0.5) * canvas.height) / rows, 1, 1).data[3]);
        }""",
        side,
    )


def test_lines_lead_to_the_keys(open_text):
    """Without a chosen token all lines are drawn; of a chosen one only its own, to the key it looks at."""
    tab = open_text("next")
    count = len(ENGLISH)
    assert count == sum(opacity > 100 for opacity in right_edge(tab, 1))
    token(tab, "query", 2).hover()
    assert [2] == [row for row, opacity in enumerate(right_edge(tab, 0)) if opacity > 0]
    assert [3] == [row for row, opacity in enumerate(right_edge(tab, 1)) if opacity > 0]
    token(tab, "key", 0).hover()
    assert [count - 1] == [row for row, opacity in enumerate(right_edge(tab, 0)) if opacity > 0]
    expect(tab.find(".caption")).to_contain_text("The is attended to most by . 1.000")


def backgrounds(tab, count):
    """Red + green + blue behind each token, None where it is the page's."""
    colours = tab.find(".token").evaluate_all("nodes => nodes.map((node) => node.style.background)")
    assert count == len(colours)
    sums = [sum(map(int, colour[4:-1].replace(",", " ").split())) if colour else None for colour in colours]
    return np.array([np.nan if one is None else one for one in sums])


def test_lines_of_several_heads(open_text):
    """Each chosen head has lines of its own colour, and a legend says which is which."""
    tab = open_text("heads", head="0,2")
    token(tab, "query", 4).hover()
    assert [5, 7] == [row for row, opacity in enumerate(right_edge(tab, 1)) if opacity > 0]
    assert ["head 1", "head 3"] == tab.find(".heads li").all_inner_texts()
    colours = tab.find(".heads .swatch").evaluate_all("nodes => nodes.map((node) => node.style.background)")
    assert 2 == len(set(colours))


def test_pooled_tokens_have_no_pieces(open_text):
    """Of a pooled text the labels are a few of many: sub-words cannot be merged, and are not offered."""
    tab = open_text("pooled", words="true")
    expect(tab.find("#words")).to_be_hidden()
    assert 7 == tab.find(".token[data-query]").count()
    tab.choose("wordpiece/attention")
    expect(tab.find("#words")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_highlight_follows_the_weights(open_text, dark):
    """The more a query attends to a token, the darker it is on a light page, the lighter on a dark one."""
    tab = open_text("long", scale="power")
    tab.darken(dark)
    assert np.isnan(backgrounds(tab, len(LONG))).all()
    query = int(WEIGHTS["long"].max(axis=1).argmax())
    token(tab, "query", query).hover()
    sums = backgrounds(tab, len(LONG))
    assert np.isnan(sums[query])  # the chosen one
    others = np.arange(len(LONG)) != query
    order = np.argsort(WEIGHTS["long"][query][others])
    assert ((np.diff(sums[others][order]) * (1 if dark else -1)) >= 0).all()
    assert 10 < len(set(sums[others]))


def test_clicked_token_stays(open_text):
    """A click keeps the query, pointing then reads weights, a second click lets it go."""
    tab = open_text("long")
    token(tab, "query", 5).click()
    token(tab, "key", 11).hover()
    assert (WEIGHTS["long"][5, 11], LONG[5], LONG[11]) == tab.read()
    tab.find("h1").hover()
    assert LONG[5] == tab.find("#readout").get_attribute("data-query")
    token(tab, "query", 5).click()
    tab.find("h1").hover()
    expect(tab.find("#readout")).to_contain_text("largest weight")


def test_arrows_move_and_other_views_follow(open_text):
    """Arrows choose query and key, the map shows the same cell, Escape lets go."""
    tab = open_text("english", "lines", whole=True)
    queries, keys = tab.find(".bipartite .query"), tab.find(".bipartite .key")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        queries.press(key)
    assert "text-query-1" == queries.get_attribute("aria-activedescendant")
    keys.press("End")
    expected = WEIGHTS["english"][1, -1], ENGLISH[1], ENGLISH[-1]
    assert expected == tab.read()
    for view in ("map", "text"):
        tab.find(f"[data-view={view}]").click()
        expect(tab.find("section.text")).to_be_visible(visible=view == "text")
        assert expected == tab.read()
    keys.press("Escape")
    expect(tab.find("#readout")).to_contain_text("largest weight")


def test_very_long_text_is_drawn(open_text):
    """2,053 tokens stay below 3,000 nodes; keyboard and pointer find them, far down too."""
    tab = open_text("very_long")
    canvas, last = tab.find("canvas.passage"), len(VERY_LONG) - 1
    assert 3000 > tab.frame.evaluate("document.querySelectorAll('*').length")
    canvas.press("End")
    assert VERY_LONG[-1] == tab.find("#readout").get_attribute("data-query")
    assert 1000 < tab.find(".scroller").evaluate("node => node.scrollTop")
    canvas.press("Shift+Home")
    value, _, key = tab.read()
    weights = WEIGHTS["very_long"]
    assert VERY_LONG[0] == key
    assert value == pytest.approx(float(weights[last, 0]), abs=float(weights.max()) / 255)
    canvas.press("Escape")
    tab.find(".scroller").evaluate("node => node.scrollTo(0, 0)")
    tab.find(".scroller").hover(position={"x": 8, "y": 16})
    assert VERY_LONG[0] == tab.find("#readout").get_attribute("data-query")


def lefts(tab):
    """The x of every token."""
    return tab.find(".token").evaluate_all("nodes => nodes.map((node) => node.getBoundingClientRect().left)")


def test_right_to_left_text(open_text):
    """Most tokens Arabic: the line runs from the right, its Latin words from the left, arrows with it."""
    tab = open_text("arabic", "highlight")
    assert "rtl" == tab.find(".passage").evaluate("node => getComputedStyle(node).direction")
    x = lefts(tab)
    assert [0, 1, 2, 3, 4, 6, 5, 7, 8, 9, 10] == sorted(range(len(x)), key=lambda i: -x[i])
    styles = "nodes => nodes.map((node) => [node.dir, getComputedStyle(node).unicodeBidi])"
    assert {("auto", "isolate")} == set(map(tuple, tab.find(".token").evaluate_all(styles)))
    tab.find(".passage").press("Home")
    tab.find(".passage").press("ArrowLeft")
    assert ARABIC[1] == tab.find("#readout").get_attribute("data-query")


def test_words_from_the_right_in_a_line_from_the_left(open_text):
    """Two Hebrew words in an English line stand in their own order."""
    tab = open_text("english", "highlight")
    x = lefts(tab)
    assert [0, 1, 3, 2, 4, 5, 6, 7, 8] == sorted(range(len(x)), key=lambda i: x[i])


def test_devanagari_is_shaped_whole(open_text):
    """A merged word is one text, exactly as wide as the word unbroken."""
    tab = open_text("sentencepiece", "highlight", words="true")
    width = """node => {
        const range = document.createRange();
        range.selectNodeContents(node);
        return [node.childNodes.length, node.textContent, range.getBoundingClientRect().width];
    }"""
    nodes, text, wide = token(tab, "query", 1).evaluate(width)
    assert (1, "नमस्ते") == (nodes, text)
    whole = token(tab, "query", 1).evaluate(
        """node => {
            const context = document.createElement("canvas").getContext("2d");
            context.font = `15px ${getComputedStyle(node).fontFamily}`;
            return context.measureText("नमस्ते").width;
        }"""
    )
    assert whole == pytest.approx(wide, abs=0.5)


def test_greatest_of_each_row_is_outlined(open_text):
    """Of every query's cells the one with the greatest weight has a rim in the text's colour."""
    tab = open_text("translation")
    rows, columns = WEIGHTS["translation"].shape
    rims = tab.find(".alignment canvas").evaluate(
        """(canvas, [rows, columns]) => {
            const context = canvas.getContext("2d");
            const cell = canvas.width / columns;
            return Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => {
                const { data } = context.getImageData((column + 0.5) * cell, row * cell + 1, 1, 1);
                return Math.max(...data.slice(0, 3));
            }));
        }""",
        [rows, columns],
    )
    dark = np.array(rims) < 40  # the colours of weights are bluer
    assert [1] * rows == dark.sum(axis=1).tolist()
    assert WEIGHTS["translation"].argmax(axis=1).tolist() == dark.argmax(axis=1).tolist()


def test_tokens_are_never_markup(open_text):
    """A token that is HTML is shown as it is written, in every form, merged or not."""
    tab = open_text("hostile", words="true")
    for name in FORMS:
        tab.find(f"[data-form={name}]").click()
        tab.find("section.text [data-query='0']").first.hover()
        expect(tab.find(".caption")).to_contain_text(HOSTILE)
        assert HOSTILE in tab.find("section.text .stage").inner_text()
    assert 0 == tab.find("img").count()
    assert "hacked" != tab.page.title()


def test_text_view_is_accessible(open_text):
    """axe-core finds nothing to complain of in any form, with a chosen token, in light and in dark."""
    tab = open_text("wordpiece")
    for name in FORMS:
        tab.find(f"[data-form={name}]").click()
        tab.find("section.text [data-query='3']").first.click()
        for dark in (False, True):
            tab.darken(dark)
            assert [] == tab.violations("main"), name
