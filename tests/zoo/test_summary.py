import os
import subprocess
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import zoo
from tb_plugin import record


def logged(logdir):
    """`{tag: [(step, blobs)]}` as TensorBoard's own reader finds it below `logdir`."""
    found = {}
    for folder, _, files in os.walk(logdir):
        for file in files:
            for event in EventFileLoader(os.path.join(folder, file)).Load():
                for value in event.summary.value:
                    found.setdefault(value.tag, []).append((event.step, list(value.tensor.string_val)))
    return found


def some_map(samples=2, heads=3, queries=5, keys=7, **about):
    weights = np.random.default_rng(1).dirichlet(np.ones(keys), (samples, heads, queries))
    return zoo.AttentionMap(weights.astype("float32"), **about)


def test_what_is_written_is_read_back(tmp_path):
    """Weights within the bound that the record states, axes and layer exactly, in a run of its own."""
    days = [[f"2018-0{s + 1}-{d:02}" for d in range(1, 8)] for s in range(2)]
    made = some_map(layer="decoder").with_axes(keys=zoo.Axis("time", 7, labels=days))
    zoo.summary.attention("val", made, 11, logdir=tmp_path)
    zoo.summary.close(tmp_path)
    assert ["attention"] == os.listdir(tmp_path)
    ((step, blobs),) = logged(tmp_path)["attention/val/decoder"]
    header = record.decode_header(blobs[0])
    assert (11, "decoder") == (step, header["layer"])
    assert days == [list(labels) for labels in header["keys"]["labels"]]
    for sample in range(2):
        for head in range(3):
            weights = made.weights[sample, head]
            back = record.decode_map(header, blobs[1 + sample * 3 + head], sample=sample, head=head)
            np.testing.assert_array_less(abs(back - weights), weights.max() / 255 + 1e-7)


def test_series_forecast_and_target_are_drawn_on_the_axes(tmp_path):
    """Every sample's input is drawn on the keys, its forecast and target on the queries."""
    made = some_map(queries=2, keys=3).with_axes(
        keys=zoo.Axis("time", 3, labels=[["a", "b", "c"], ["d", "e", "f"]]), queries=zoo.Axis("time", 2)
    )
    zoo.summary.attention(
        "val",
        {"x": made},
        0,
        logdir=tmp_path,
        series={"price": [[1, 2, 3], [4, 5, np.nan]]},
        forecast=[[7, 8], [9, 10]],
        target=[[11, 12], [13, 14]],
        titles=["first", "second"],
    )
    ((_, blobs),) = logged(tmp_path)["attention/val/__inputs__"]
    second = record.decode_header(blobs[0])["samples"][1]
    assert "second" == second["label"]
    assert [
        {"name": "price", "role": "input", "labels": ["d", "e", "f"], "values": [4.0, 5.0, None]},
        {"name": "forecast", "role": "forecast", "labels": ["0", "1"], "values": [9.0, 10.0]},
        {"name": "what came", "role": "target", "labels": ["0", "1"], "values": [13.0, 14.0]},
    ] == second["series"]


def test_long_maps_are_pooled(tmp_path):
    """A map of more than 512 keys is written at 512, and the record says what it was."""
    zoo.summary.attention("val", some_map(1, 1, 3, 1031, layer="long"), 0, logdir=tmp_path)
    ((_, blobs),) = logged(tmp_path)["attention/val/long"]
    header = record.decode_header(blobs[0])
    assert ([1, 3, 512], [3, 1031]) == (header["shape"], header["full"])


def test_images_are_plain_pngs_of_the_images_tab(tmp_path):
    """`images=True` writes one picture a sample, of the size its record states."""
    zoo.summary.attention("val", some_map(layer="x"), 0, logdir=tmp_path, images=True)
    ((_, strings),) = logged(tmp_path)["attention_image/val/x"]
    width, height, first, second = strings
    for png in (first, second):
        assert b"\x89PNG" == png[:4]
        assert (int(width), int(height)) == tuple(int.from_bytes(png[i : i + 4], "big") for i in (16, 20))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"series": {"price": [[1, 2]]}}, r"'price' wants the shape \(2, 7\), found \(1, 2\)"),
        ({"forecast": np.ones((2, 3))}, r"'forecast' wants the shape \(2, 5\)"),
        ({"titles": ["one"]}, "2 samples want as many titles, found 1"),
    ],
)
def test_series_that_do_not_fit_are_refused(tmp_path, arguments, sentence):
    """The shapes found and wanted are in the message, and nothing is written."""
    with pytest.raises(ValueError, match=sentence):
        zoo.summary.attention("val", some_map(), 0, logdir=tmp_path, **arguments)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("maps", "sentence"),
    [
        (np.ones((1, 1, 2, 3)), r"found ndarray: make one of an array with zoo.AttentionMap\(weights\)"),
        ({"x": np.ones((1, 1, 2, 3))}, "`maps` is a zoo.AttentionMap or a dict of them"),
        ({}, "`maps` is empty"),
        ({"x": some_map(samples=2), "y": some_map(samples=3)}, "same samples, found {'x': 2, 'y': 3}"),
        (some_map(samples=37, heads=11), "at most 256 maps; found 37 samples × 11 heads"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path, maps, sentence):
    """What was found and how to mend it are in the message, and nothing is written."""
    with pytest.raises(ValueError, match=sentence):
        zoo.summary.attention("val", maps, 0, logdir=tmp_path)
    assert not os.listdir(tmp_path)


def test_a_summary_needs_no_backend(tmp_path):
    """PyTorch, JAX and NumPy users log without TensorFlow or Keras in the process."""
    code = (
        "import sys, numpy, zoo\n"
        "zoo.summary.attention('a', zoo.AttentionMap(numpy.ones((1, 1, 1, 1))), 0, logdir=sys.argv[1])\n"
        "print(sorted({'tensorflow', 'keras', 'torch', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()
