"""The recipes `fashion` and `digits`, on pictures made here and on what espeak-ng says."""

import gzip
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from tb_plugin import record
from training import digits, fashion
from zoo.errors import InputError

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    """The four files of Fashion-MNIST, with a bright band where the class says: 97 pictures and 10,000."""
    folder = tmp_path_factory.mktemp("clothes")
    for part, count in (("train", 97), ("t10k", 10_000)):
        y = np.arange(count, dtype="uint8") % 10
        x = RNG.integers(0, 60, (count, 28, 28), dtype="uint8")
        x[np.arange(count), 2 * y + 3] = 250
        for name, numbers, head in (
            ("images-idx3", x, (2051, count, 28, 28)),
            ("labels-idx1", y, (2049, count)),
        ):
            with gzip.open(folder / f"{part}-{name}-ubyte.gz", "wb", compresslevel=1) as file:
                file.write(struct.pack(f">{len(head)}I", *head) + numbers.tobytes())
    return folder


def run(*arguments):
    command = [sys.executable, "-m", "training", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_fashion_learns_and_logs_its_pictures(tmp_path, clothes):
    """One command prints both accuracies, and logs pictures with the maps of their patches."""
    done = run("fashion", "--data", clothes, "--images", 97, "--epochs", 2, "--logdir", tmp_path)
    assert 0 == done.returncode, done.stderr
    assert "97 images to learn from" in done.stdout
    rows = [line.split("|")[1:3] for line in done.stdout.splitlines() if line.startswith("| ")]
    scores = {name.strip(): score for name, score in rows[2:]}
    assert {"Transformer over patches", "logistic regression on pixels"} == set(scores)
    assert 0.9 < float(scores["logistic regression on pixels"]) <= 1

    folder = tmp_path / "fashion-seed0" / "attention"
    events = [e for file in sorted(os.listdir(folder)) for e in EventFileLoader(str(folder / file)).Load()]
    found = {v.tag: list(v.tensor.string_val) for e in events for v in e.summary.value}
    sample = record.decode_header(found["attention/test/__inputs__"][0])["samples"][3]
    assert ("dress", [28, 28, 1]) == (sample["label"], sample["picture"]["shape"])
    pixels = gzip.decompress(found["attention/test/__inputs__"][sample["picture"]["part"]])
    assert 250 == np.frombuffer(pixels, np.uint8).reshape(28, 28)[9].min()
    for tag, queries in (("attention/test/block_2", 49), ("attention/test/pool", 1)):
        header = record.decode_header(found[tag][0])
        assert ([7, 7], [queries, 49]) == (header["keys"]["grid"], header["shape"][1:])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "/nowhere"], "was not found: type sudo apt-get install dataset-fashion-mnist"),
        (["--images", "3"], "--images is 3: a whole number from 10 to 60,000 is wanted"),
        (["--epochs", "0"], "--epochs is 0: a whole number of at least 1 is wanted"),
    ],
)
def test_mistakes_are_one_sentence(arguments, sentence):
    """What was found, what was wanted, and what to type."""
    done = run("fashion", *arguments)
    assert 2 == done.returncode
    assert sentence in done.stderr
    assert 1 == done.stderr.count("\n")


def test_files_that_are_cut_or_no_gzip_are_refused(tmp_path, clothes):
    """A short file and one of another kind are named, with what is wanted."""
    for file in clothes.iterdir():
        shutil.copy(file, tmp_path)
    with pytest.raises(InputError, match="holds 76,064 bytes, 78,416 are wanted"):
        fashion.read(tmp_path, "train", 100)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip at all")
    with pytest.raises(InputError, match="cannot be read"):
        fashion.read(tmp_path, "train", 97)


@pytest.mark.parametrize("band", [3, 11, 29])
def test_a_tone_is_in_its_band(band):
    """A sine at the middle of a band is loudest there, in every frame that it fills."""
    most = 2595 * np.log10(1 + digits.SAMPLE_RATE / 2 / 700)
    frequency = 700 * (10 ** (most * (band + 1) / (digits.BANDS + 1) / 2595) - 1)
    tone = np.sin(2 * np.pi * frequency * np.arange(digits.SAMPLE_RATE) / digits.SAMPLE_RATE)
    found = digits.log_mel(np.concatenate([np.zeros(997), tone]))
    assert (digits.BANDS, digits.FRAMES) == found.shape
    assert [band] * digits.FRAMES == found.argmax(axis=0).tolist()


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_every_digit_fits_into_its_frames():
    """The slowest word of every accent ends before its spectrogram does."""
    for accent in sum(digits.ACCENTS.values(), ()):
        for word in ("seven", "zero", "nine"):
            found = digits.log_mel(digits.speak(word, f"{accent}+m1", min(digits.RATES)))
            assert found[:, -1].max() < found.max() - 4


def test_a_missing_espeak_is_said(monkeypatch):
    """Where the program is not installed, the sentence says what to type."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="espeak-ng was not found: type sudo apt-get install espeak-ng"):
        digits.speak("one", "en-us+m1", 160)
