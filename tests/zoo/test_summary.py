import gzip
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
            back = record.decode_map(header, blobs, sample=sample, head=head)
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


def test_resolution_and_exact_are_the_callers(tmp_path):
    """`resolution` bounds what is written, and `exact` keeps it to the last bit."""
    made = some_map(1, 2, 23, 29, layer="x")
    zoo.summary.attention("val", made, 0, logdir=tmp_path, resolution=11, exact=True)
    ((_, blobs),) = logged(tmp_path)["attention/val/x"]
    header = record.decode_header(blobs[0])
    assert ([2, 11, 11], [23, 29], "exact") == (header["shape"], header["full"], header["scale"])
    expected = made.pooled(11, 11).weights[0, 1]
    np.testing.assert_array_equal(expected, record.decode_map(header, blobs, 0, 1), strict=True)


def test_statistics_are_those_of_the_whole_map(tmp_path):
    """Of every sample and head before pooling: entropy, distance, sink and, by the labels, padding."""
    words = [["the", "cat", "[PAD]", "[PAD]", "[PAD]"], ["a", "dog", "that", "barked", "[PAD]"]]
    axis = zoo.Axis("token", 5, labels=words)
    made = some_map(2, 3, 5, 5, layer="x").with_axes(axis, axis)
    zoo.summary.attention("val", made, 0, logdir=tmp_path, resolution=3)
    ((_, blobs),) = logged(tmp_path)["attention/val/x"]
    found = record.decode_header(blobs[0])["statistics"]
    w = made.weights.astype("float64")
    mass = w.sum(2) / w.sum((2, 3))[..., None]
    way = abs(np.subtract.outer(np.arange(5), np.arange(5))) / 4
    expected = {
        "entropy": -(w * np.log(w)).sum(3).mean(2) / np.log(5),
        "distance": (w * way).sum(3).mean(2),
        "sink": mass.max(2),
        "sink_key": mass.argmax(2),
        "padding": np.stack([mass[0, :, 2:].sum(1), mass[1, :, 4:].sum(1)]),
    }
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(values, found[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("class_tokens", [0, 2])
def test_distance_between_patches_is_measured_on_their_grid(tmp_path, class_tokens):
    """From every patch to itself is 0, and from corner to corner is 1; class tokens stand nowhere."""
    axis = zoo.Axis("patch", class_tokens + 6, grid=(2, 3))
    assert class_tokens == axis.class_tokens
    weights = np.full((1, 2, class_tokens + 6, class_tokens + 6), 0.1, "float32")
    weights[0, :, class_tokens:, class_tokens:] = np.stack([np.eye(6), np.eye(6)[::-1]])
    weights[0, 1, class_tokens + 1 : class_tokens + 5] = 0
    zoo.summary.attention("val", zoo.AttentionMap(weights, axis, axis, "x"), 0, logdir=tmp_path)
    ((_, blobs),) = logged(tmp_path)["attention/val/x"]
    assert [[0, 1]] == record.decode_header(blobs[0])["statistics"]["distance"]


def test_weights_that_are_no_weights_are_counted(tmp_path):
    """NaN, infinity and less than 0 are 0 in map and statistics, and the record counts them."""
    weights = np.full((1, 1, 2, 4), 0.25, "float32")
    weights[0, 0, 0] = [np.nan, np.inf, -1, 0.25]
    zoo.summary.attention("val", zoo.AttentionMap(weights, layer="x"), 0, logdir=tmp_path)
    ((_, blobs),) = logged(tmp_path)["attention/val/x"]
    header = record.decode_header(blobs[0])
    assert (3, [[0.5]]) == (header["repaired"], header["statistics"]["entropy"])
    assert [0, 0, 0, 0.25] == record.decode_map(header, blobs, 0, 0)[0].tolist()


@pytest.mark.parametrize(
    "bad",
    [np.ones((1, 1, 0, 3)), np.ones((2, 3)), np.ones((1, 1, 2, 3), int), np.ones((1, 1, 2, 3), complex)],
)
def test_arrays_that_are_no_maps_are_refused(bad):
    """No length may be 0, there are four of them, and the numbers are floating-point ones."""
    with pytest.raises(ValueError, match="Attention weights are"):
        zoo.AttentionMap(bad)


def pictures_of(logdir):
    """Pixels of each sample, as the record has them."""
    ((_, blobs),) = logged(logdir)["attention/val/__inputs__"]
    found = [sample["picture"] for sample in record.decode_header(blobs[0])["samples"]]
    return [
        (one["kind"], np.frombuffer(gzip.decompress(blobs[one["part"]]), "u1").reshape(one["shape"]))
        for one in found
    ]


BYTES = np.random.default_rng(3).integers(0, 256, (2, 5, 7, 3), np.uint8)
LEVELS = np.array([[[0.0, 10, -np.inf], [20, np.nan, 5]], [[-3, -3, -3], [-3, -3, -3]]])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (BYTES, BYTES),
        (BYTES // 255, BYTES // 255),
        (BYTES.astype("float32"), BYTES),
        (BYTES / 255, BYTES),
        (BYTES[..., 0], BYTES[..., :1]),
        (np.full((2, 1, 3), [np.nan, -5, 300]), np.full((2, 1, 3, 1), [[0], [0], [255]])),
    ],
    ids=["bytes", "dark bytes", "0 to 255", "0 to 1", "grey", "beyond"],
)
def test_pictures_are_written_as_bytes(tmp_path, given, expected):
    """Images in bytes, in numbers to 255 or to 1, in colour or grey."""
    zoo.summary.attention("val", some_map(), 0, logdir=tmp_path, pictures=given)
    for (kind, pixels), one in zip(pictures_of(tmp_path), expected, strict=True):
        assert "image" == kind
        np.testing.assert_array_equal(one, pixels)


def test_spectrograms_have_low_frequencies_at_the_bottom(tmp_path):
    """From lowest to highest level of each; silence is the lowest, and an even one is black."""
    zoo.summary.attention("val", some_map(), 0, logdir=tmp_path, pictures={"spectrogram": LEVELS})
    (kind, first), (_, even) = pictures_of(tmp_path)
    assert "spectrogram" == kind
    assert [[255, 0, 64], [0, 128, 0]] == first[..., 0].tolist()
    assert 0 == even.max()


@pytest.mark.parametrize(
    "pictures",
    [
        BYTES[:1],
        BYTES[0],
        BYTES[..., :2],
        BYTES[:, :0],
        {"film": BYTES},
        {"image": BYTES, "spectrogram": BYTES},
        BYTES.astype(str),
    ],
    ids=["one", "no batch", "two channels", "no rows", "film", "two", "text"],
)
def test_what_is_no_picture_is_refused(tmp_path, pictures):
    """What was found and what is wanted are in the message, and nothing is written."""
    with pytest.raises(ValueError, match=r"2 samples want pictures \(batch, rows, columns\)"):
        zoo.summary.attention("val", some_map(), 0, logdir=tmp_path, pictures=pictures)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"step": "0"}, "`step` is a whole number of training steps or epochs; found '0'"),
        ({"step": None}, "`step` is a whole number"),
        ({"name": ""}, "`name` is a text of 1 to 500 letters; found ''"),
        ({"name": None}, "`name` is a text"),
        ({"maps": {"a": np.ones(3)}}, "or a dict of them, found dict of ndarray"),
        ({"maps": {'a"': some_map(), "a\\": some_map()}}, "Two layers would have one tag"),
        ({"series": [[1, 2]]}, r"`series` is {name: \(batch, keys\)}, found list"),
        ({"titles": "ab"}, "2 samples want as many titles, found 'ab'"),
        ({"resolution": "64"}, "at least 1 × 1; found '64' × '64'"),
    ],
)
def test_wrong_arguments_are_a_sentence(tmp_path, changed, sentence):
    """What was found and what is wanted; nothing is written."""
    given = {"name": "val", "maps": some_map(), "step": 0} | changed
    with pytest.raises(ValueError, match=sentence):
        zoo.summary.attention(logdir=tmp_path, **given)
    assert not os.listdir(tmp_path)


NUMPY_ALONE = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "jax", "torch"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Refuse())
import numpy, zoo

weights = numpy.load(sys.argv[1])
zoo.summary.attention("a", zoo.AttentionMap(weights, layer="x"), 3, logdir=sys.argv[2], exact=True)
print(sorted({"tensorflow", "keras", "torch", "jax"} & set(sys.modules)))
"""


def test_a_summary_needs_nothing_but_numpy(tmp_path):
    """Where neither TensorFlow nor any other backend can be imported, a record is written, and read back."""
    made = some_map()
    np.save(tmp_path / "weights.npy", made.weights)
    command = [sys.executable, "-c", NUMPY_ALONE, tmp_path / "weights.npy", tmp_path / "logs"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()
    ((step, blobs),) = logged(tmp_path / "logs")["attention/a/x"]
    read = record.decode_map(record.decode_header(blobs[0]), blobs, sample=1, head=2)
    assert 3 == step
    np.testing.assert_array_equal(made.weights[1, 2], read)
