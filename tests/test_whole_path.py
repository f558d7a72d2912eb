"""From real data to the page, as a newcomer walks it, and the docs' pictures of every view on the way.

`--pictures docs` keeps the pictures, and then all trainings are whole; else those of fashion and digits are
short.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import data
import zoo

ROOT = Path(__file__).parents[1]
RUN = "forecast-sp500-bahdanau-seed0"
SENTENCE = "The animal didn't cross the street because it was too tired."
LONG = (
    "Attention gives every word of a sentence a share of every other. Whether these shares explain what a "
    "model does is another question: a head may rest on a full stop or on the first token when it has "
    "nothing to say, and a map with one bright column is more often a habit than an insight. Look at many "
    "heads, sentences and steps before you believe what one of them seems to show."
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The README's training on the whole index."""
    logs = tmp_path_factory.mktemp("logs")
    recipe = ["forecast", "--attention", "bahdanau", "--series", "sp500", "--logdir", logs]
    subprocess.run([sys.executable, "-m", "training", *recipe], cwd=ROOT, check=True)
    return logs


@pytest.fixture
def tab(logs, start_tensorboard, open_tab):
    with start_tensorboard(logs) as url:
        yield open_tab(f"{url}/#attention")


def test_the_page_shows_what_the_trained_model_attends_to(logs, tab, pictures):
    """The last epoch's cell is the model's own weight, over the index's own dates and prices."""
    import keras

    import zoo.models  # Keras finds the classes of a file among those that were imported

    last = len(json.loads((logs / RUN / "result.json").read_text())["history"]) - 1
    tab.wait_for(step=last, sample=0)
    dates = tab.find("#sample option").all_inner_texts()
    assert "forecast from 2014-12-31" == dates[0]
    tab.hover(1, 17, 5, 60 + 5)
    weight, query, key = tab.read()
    assert ("2015-01-05", "2014-10-30") == (query, key)
    assert f"{data.load('sp500')['close']['2014-10-30']:,.2f}" in tab.find("#readout").inner_text()
    assert "S&P 500 close" == tab.find(".legend li").first.inner_text()
    tab.find("#floor").select_option("lowest")
    tab.hover(1, 17, 5, 60 + 5)
    photograph(tab, pictures, "time")

    with np.load(logs / RUN / "checkpoint.npz") as state:
        model = keras.saving.load_model(logs / RUN / "model.keras")
        for i, variable in enumerate(model.variables):  # of the last epoch; the file holds the best
            variable.assign(state[f"model{i}"])
    _, maps = zoo.attend(model, sample_of(logs))
    expected = maps["decoder"].weights[0, 0]
    assert expected[1, 17] == pytest.approx(weight, abs=float(expected.max()) / 255 + 1e-6)


def test_the_readme_forecasts_with_the_trained_model(logs):
    """The README's block for a trained run, where that run is."""
    readme = (ROOT / "README.md").read_text()
    (block,) = [one for one in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "load_model" in one]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", block.replace('"logs/', f'"{logs}/')]
    done = subprocess.run(command, cwd=logs, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    forecast = np.array(done.stdout.strip(" []\n").split(), float)
    assert (5,) == forecast.shape
    np.testing.assert_allclose(forecast, data.load("sp500")["close"].iloc[-1], rtol=0.05)


def test_every_other_view_of_the_forecaster(logs, start_tensorboard, open_tab, pictures):
    """The map alone, curves over the epochs, the first epoch beside the last, and the two small windows."""
    with start_tensorboard(logs) as url:
        tab = open_view(open_tab, url, RUN, "map", floor="lowest")
        tab.find("#heatmap").hover()
        photograph(tab, pictures, "map")
        tab.find(".export .open").click()
        expect(tab.find(".export .menu")).to_be_visible()
        photograph(tab, pictures, "export")
        tab.page.keyboard.press("Escape")
        tab.page.keyboard.press("?")
        expect(tab.find("dialog.keys")).to_be_visible()
        photograph(tab, pictures, "keys")
        for view in ("training", "compare"):
            photograph(open_view(open_tab, url, RUN, view), pictures, view)


def test_every_view_of_sentences(train, start_tensorboard, open_tab, pictures):
    """MiniLM's 72 heads, four of them at once, and its tokens as lines, in running text and as a matrix."""
    with start_tensorboard(train("minilm", SENTENCE, LONG)) as url:
        tab = open_view(open_tab, url, "minilm", "overview", sample=1)
        expect(tab.find(".thumb-block")).to_have_count(6)
        photograph(tab, pictures, "overview")
        layer = {"tag": "attention/sentences/layer_1"}
        tab = open_view(open_tab, url, "minilm", "map", head="0,1,3,7,8,11", sample=1, scale="power", **layer)
        expect(tab.find(".small-maps .small")).to_have_count(6)
        photograph(tab, pictures, "heads")
        forms = (("lines", 0, "8", 9), ("highlight", 1, "mean", 23), ("matrix", 0, "8", None))
        for form, sample, head, token in forms:
            chosen = {"head": head, "text": form, "sample": sample, "scale": "power", **layer}
            tab = open_view(open_tab, url, "minilm", "text", **chosen)
            expect(tab.find("section.text .forms [aria-pressed=true]")).to_have_attribute("data-form", form)
            if token is not None:
                tab.find(f".token[data-query='{token}']").hover()
            photograph(tab, pictures, f"text_{form}")


@pytest.mark.parametrize(
    ("recipe", "less", "needs", "sample"),
    [
        ("fashion", ["--images", "200", "--epochs", "1"], "/usr/share/datasets/fashion-mnist", 1),
        ("digits", ["--epochs", "1"], "/usr/bin/espeak-ng", 3),
    ],
)
def test_pictures_under_maps(
    request, recipe, less, needs, sample, train, start_tensorboard, open_tab, pictures
):
    """Clothes and spoken digits: the input under the map of one of its patches, and every head."""
    if not Path(needs).exists():
        pytest.skip(f"{needs} is not here: make test installs it on Debian where it may")
    kept = request.config.getoption("--pictures")
    with start_tensorboard(train(recipe, *([] if kept else less))) as url:
        tab = open_view(
            open_tab, url, f"{recipe}-seed0", "image", tag="attention/test/block_1", sample=sample
        )
        expect(tab.find("#picture")).to_be_visible()
        box = tab.find("#picture").bounding_box()
        tab.page.mouse.click(box["x"] + 0.45 * box["width"], box["y"] + 0.45 * box["height"])
        photograph(tab, pictures, {"fashion": "image", "digits": "spectrogram"}[recipe])


@pytest.fixture
def train(tmp_path):
    """`train(recipe, *arguments)` is the folder of its logs."""

    def train_(recipe, *arguments):
        command = [sys.executable, "-m", "training", recipe, *arguments, "--logdir", tmp_path / "logs"]
        subprocess.run(command, cwd=ROOT, check=True)
        return tmp_path / "logs"

    return train_


def open_view(open_tab, url, run, view, **selection):
    """The tab in one view, when its map is there."""
    selection |= {"run": f"{run}/attention", "view": view}
    tab = open_tab(f"{url}/#attention&" + "&".join(f"p.attention.{k}={v}" for k, v in selection.items()))
    expect(tab.find("#readout")).to_have_attribute("data-step", re.compile(r"\d+"), timeout=60_000)
    expect(tab.find(f"button.view[data-view={view}]")).to_have_attribute("aria-current", "page")
    expect(tab.find("main.loading")).to_have_count(0)
    return tab


def photograph(tab, pictures, name):
    """One picture in light and one in dark, which differ."""
    (pictures / "views").mkdir(exist_ok=True)
    taken = []
    for look in ("light", "dark"):
        tab.darken(look == "dark")
        taken.append(tab.page.screenshot(path=pictures / "views" / f"{name}_{look}.png"))
    tab.darken(False)
    assert taken[0] != taken[1]


def sample_of(logs):
    """The first window of the validation part, prepared as the recipe does."""
    frames = {name: data.load(name) for name in ("sp500", "nasdaq", "wti")}
    settings = json.loads((logs / RUN / "settings.json").read_text())
    ready = zoo.preprocess.prepare(
        frames.pop("sp500"),
        window=settings["window"],
        horizon=settings["horizon"],
        train_end="2014-12-31",
        validation_end="2016-12-31",
        companions=frames,
    )
    return np.array(ready.validation.x[:1])
