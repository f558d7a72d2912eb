import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training import table
from training.scores import METRICS

ROOT = Path(__file__).parents[2]

# Two real years and a small model: the whole path in half a minute.
SLICE = (
    "--series sp500 --start 2015 --train-end 2017-06-30 --validation-end 2017-12-31 --window 23 --horizon 3"
)
SMALL = f"{SLICE} --units 5 --epochs 4 --batch-size 32".split()


def command(*arguments):
    return [sys.executable, "-m", "training", "forecast", *map(str, arguments)]


def forecast(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The log directory of a training that was killed in the middle and typed again, and what was printed."""
    logs = tmp_path_factory.mktemp("logs")
    with open(logs / "told.txt", "w") as told:
        arguments = command(*SMALL, "--attention", "luong", "--logdir", logs, "--run", "run")
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=told, stderr=told)
    checkpoint, end = logs / "run" / "checkpoint.npz", time.monotonic() + 300
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() < end, (logs / "told.txt").read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = forecast(*SMALL, "--attention", "luong", "--logdir", logs, "--run", "run", "--images")
    assert 0 == done.returncode, done.stderr
    return logs, done.stdout


def result_of(logs, run="run"):
    return json.loads((logs / run / "result.json").read_text())


def test_a_killed_training_ends_as_the_unbroken_one(trained, tmp_path):
    """The same losses, the same scores."""
    logs, printed = trained
    assert "from epoch 1\n" not in printed.split("without attention")[0], "the training began anew"
    done = forecast(*SMALL, "--attention", "luong", "--logdir", tmp_path, "--run", "run")
    assert 0 == done.returncode, done.stderr
    expected, resumed = result_of(tmp_path), result_of(logs)
    losses = [[one["val_loss"] for one in result["history"]] for result in (expected, resumed)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    title = expected["model"]
    np.testing.assert_allclose(
        *[[one["value"] for one in r["scores"][title].values()] for r in (expected, resumed)], rtol=1e-4
    )


def test_the_table_has_every_baseline_with_intervals(trained):
    """What is printed is the table of the result file, with all five baselines."""
    logs, printed = trained
    result = result_of(logs)
    assert table.render(result) in printed
    assert 6 == len(result["scores"])
    for name, scores in result["scores"].items():
        for metric, one in scores.items():
            if name == "last value" and one["value"] is None:
                continue
            assert one["low"] <= one["value"] <= one["high"], (name, metric)


def test_typed_again_it_only_prints(trained):
    """A finished run is not trained again."""
    logs, printed = trained
    again = forecast(*SMALL, "--attention", "luong", "--logdir", logs, "--run", "run")
    assert "with attention: trained already" in again.stdout
    assert printed[printed.index("Test part") :] == again.stdout[again.stdout.index("Test part") :]


def test_other_settings_do_not_overwrite_a_run(trained):
    """A run of other settings is named, with both ways on."""
    logs, _ = trained
    done = forecast(*SMALL, "--attention", "luong", "--logdir", logs, "--run", "run", "--units", 7)
    assert 2 == done.returncode
    assert "Traceback" not in done.stderr
    assert "was trained with units=5, now it is 7" in done.stderr


def test_the_saved_model_is_the_scored_one(trained):
    """`model.keras` loads and attends over the window."""
    import keras

    import zoo.models  # Keras finds the classes of a file among those that were imported

    logs, _ = trained
    model = keras.saving.load_model(logs / "run" / "model.keras")
    _, maps = zoo.attend(model, np.zeros((2, 23, model.input_shape[-1]), "float32"))
    assert (2, 1, 3, 23) == maps["decoder"].weights.shape
    assert result_of(logs)["parameters"][result_of(logs)["model"]] == model.count_params()


def test_tensorboard_serves_what_was_logged(trained, start_tensorboard):
    """A real TensorBoard lists the run, the epochs and the dates over HTTP, beside scalars and images."""
    logs, _ = trained

    def get(url, route, **query):
        with urllib.request.urlopen(f"{url}/data/plugin/{route}?{urllib.parse.urlencode(query)}") as reply:
            return reply.read()

    with start_tensorboard(logs) as url:
        tag, run = "attention/validation/decoder", "run/attention"
        end = time.monotonic() + 120
        while tag not in (tags := json.loads(get(url, "attention/tags"))["runs"]).get(run, []):
            assert time.monotonic() < end, tags
            time.sleep(0.2)
        found = json.loads(get(url, "attention/steps", run=run, tag=tag))["steps"]
        assert [0, 1, 2, 3] == sorted(one["step"] for one in found)
        reply = get(url, "attention/records", run=run, tag=tag, step=3, parts="header")
        header = json.loads(reply[4 + int.from_bytes(reply[:4], "little") :])
        assert ([1, 3, 23], 4) == (header["shape"], header["samples"])
        assert "2017-07-03" == header["queries"]["labels"][0][0], "the first day after the training part"
        scalars = json.loads(get(url, "scalars/tags"))
        assert "epoch_loss" in scalars["run/train"] and "epoch_loss" in scalars["run/validation"]
        assert "attention_image/validation/decoder" in json.loads(get(url, "images/tags"))[run]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--window", "99999"], "window"),
        (["--horizon", "0"], "horizon"),
        (["--train-end", "2030", "--validation-end", "2031"], "part is empty"),
        (["--train-end", "soon", "--validation-end", "later"], "not a date"),
        (["--series", "dax"], "choose one of sp500"),
        (["--csv", "nowhere.csv"], "nowhere.csv"),
        (["--attention", "luong", "--alignment", "local_predictive"], "window"),
        (["--attention", "luong", "--alignment", "local_monotonic", "--attention-window", "0"], "window"),
        (["--attention", "bahdanau", "--score", "dot"], "--score is Luong's: add --attention luong"),
        (["--units", "0"], "units"),
        (["--epochs", "0"], "--epochs is 0: a whole number of at least 1"),
        (["--seed", "-1"], "--seed is -1: a whole number of at least 0"),
        (["--learning-rate", "-1"], "--learning-rate is -1.0: a number above 0"),
        (["--run", "../elsewhere"], "--run is '../elsewhere': the name of a folder"),
        (["--logdir", "/dev/null/logs"], "choose another place with --logdir"),
        (["--result", "/dev/null/result.json"], "choose another place with --result"),
        (["--ticker", "NOSUCH"], "NOSUCH"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_a_mistake_is_one_line(tmp_path, arguments, sentence):
    """Exit status 2, one sentence on stderr, nothing left in the log directory."""
    done = forecast("--logdir", tmp_path / "logs", *arguments)
    assert 2 == done.returncode, done.stderr
    assert 1 == len(done.stderr.splitlines()), done.stderr
    assert sentence in done.stderr
    assert not any(files for _, _, files in os.walk(tmp_path))


def test_a_full_disk_is_one_line_and_the_training_goes_on(tmp_path):
    """What stood there stays whole, nothing half-written is left, and the same command finishes later."""

    def limit():  # no file may grow beyond this, as if the disk were full; the checkpoint would
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    run = command(*SMALL, "--logdir", tmp_path, "--run", "run")
    full = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, preexec_fn=limit)
    assert 2 == full.returncode, full.stderr
    assert "checkpoint.npz could not be written (File too large): free space" in full.stderr
    assert "Traceback" not in full.stderr
    left = {path.name for path in tmp_path.rglob("*") if path.is_file() and "tfevents" not in path.name}
    assert {"settings.json"} == left
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert 0 == done.returncode, done.stderr
    assert (tmp_path / "run" / "model.keras").exists()


def prices(path, days=400, seed=0):
    walk = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(seed).normal(size=days)))
    pd.DataFrame({"date": pd.bdate_range("2015-01-01", periods=days), "close": walk}).to_csv(
        path, index=False
    )


TINY = ["--window", "11", "--horizon", "2", "--units", "3", "--epochs", "1", "--run", "run"]


def test_changed_prices_are_not_scored_with_the_model_of_the_old(tmp_path):
    """A file of prices that changed under a finished run is refused: its test part may be what was learnt."""
    prices(tmp_path / "prices.csv")
    run = [*TINY, "--csv", tmp_path / "prices.csv", "--logdir", tmp_path / "logs"]
    assert 0 == forecast(*run).returncode
    prices(tmp_path / "prices.csv", days=300)
    again = forecast(*run)
    assert 2 == again.returncode
    assert "was trained with prices='37" in again.stderr and "--restart" in again.stderr


def test_a_loss_that_is_no_number_is_one_line(tmp_path):
    """A learning rate that blows up says so, and leaves no model behind."""
    done = forecast(*SMALL, "--learning-rate", "1e30", "--logdir", tmp_path, "--run", "run")
    assert 2 == done.returncode and "Traceback" not in done.stderr
    assert "The validation loss of epoch" in done.stderr and "lower --learning-rate" in done.stderr
    assert not (tmp_path / "run" / "model.keras").exists()


@pytest.mark.parametrize("name", ["settings.json", "checkpoint.npz"])
def test_a_damaged_run_can_be_begun_anew(name, tmp_path):
    """Half a file in the run's folder is named, and --restart forgets it."""
    prices(tmp_path / "prices.csv")
    run = [*TINY, "--csv", tmp_path / "prices.csv", "--logdir", tmp_path]
    assert 0 == forecast(*run).returncode
    path = tmp_path / "run" / name
    path.write_bytes(path.read_bytes()[:100])
    again = forecast(*run)
    assert (2, True) == (again.returncode, f"{path} is damaged" in again.stderr), again.stderr
    assert 0 == forecast(*run, "--restart").returncode


def test_the_table_of_cheap_prices_keeps_its_digits():
    """Four digits of a small error, and a dash where nothing could be computed."""
    known, unknown = (
        {"value": 0.012346, "low": 0.01, "high": 0.02},
        {"value": None, "low": None, "high": None},
    )
    scores = {metric: known if metric == "mse" else unknown for metric in METRICS}
    text = table.render({"model": "m", "scores": {"m": scores}, "parameters": {}, "differences": {}})
    assert "**0.01235** [0.01000, 0.02000]" in text
    assert "–" in text


def test_the_docs_have_the_tables_of_the_result_files():
    """Every table is what its result file says, and every result file has its table."""
    text = "".join(page.read_text() for page in table.PAGES)
    assert text == table.fill(text)
    results = sorted(file.stem for file in table.RESULTS.glob("*.json"))
    assert len(results) >= 5
    for name in results:
        assert f"<!-- table {name} -->" in text
