"""From real prices to a cell of the page, as a newcomer walks it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import data
import zoo

ROOT = Path(__file__).parents[1]
RUN = "forecast-sp500-bahdanau-seed0"


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
    tab.page.screenshot(path=pictures / "attention_tab.png")

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
