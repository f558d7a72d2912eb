"""Maps at a lower resolution. Judge: the full map, pooled by NumPy, bin by bin."""

import re
from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import ops

import zoo
from zoo.capture import fused

STEPS, KEYS, DEPTH, HEADS = 23, 31, 5, 2


def pooled(a, rows, columns):
    """The mean over queries and the sum over keys of bins that start at i · length // bins."""
    queries = [i * a.shape[2] // rows for i in range(rows + 1)]
    keys = [i * a.shape[3] // columns for i in range(columns + 1)]
    low = [a[..., one:other].sum(-1) for one, other in pairwise(keys)]
    low = np.stack(low, -1)
    low = [low[:, :, one:other].mean(2) for one, other in pairwise(queries)]
    return np.stack(low, 2)


def cross(dropout=0.0, causal=False, masked=False):
    """A model whose queries attend to more keys."""
    query, value = keras.Input((STEPS, DEPTH)), keras.Input((KEYS, DEPTH))
    mask = keras.Input((KEYS,), dtype="bool")
    layer = keras.layers.MultiHeadAttention(HEADS, 3, dropout=dropout, name="mh")
    y = layer(query, value, use_causal_mask=causal, value_mask=mask if masked else None)
    return keras.Model([query, value, mask], [y, ops.any(mask)])


@pytest.fixture
def inputs(rng):
    mask = rng.random((3, KEYS)) < 0.7
    mask[1] = False
    return [
        rng.normal(size=(3, STEPS, DEPTH)).astype("float32"),
        rng.normal(size=(3, KEYS, DEPTH)).astype("float32"),
        mask,
    ]


@pytest.mark.parametrize("block", [1, 4 * 3 * HEADS * KEYS * 5, 2**30], ids=["row", "five rows", "all"])
@pytest.mark.parametrize("resolution", [(5, 7), (23, 3), (1, 31)], ids=str)
def test_pooled_on_the_fly(inputs, monkeypatch, block, resolution):
    """Fused attention in blocks of any size; the outputs stay the same."""
    monkeypatch.setattr(fused, "BLOCK", block)
    monkeypatch.setattr(fused, "LEAST", 1)
    model = cross()
    outputs, full = zoo.attend(model, inputs)
    low_outputs, low = zoo.attend(model, inputs, resolution=resolution)
    np.testing.assert_allclose(pooled(full["mh"].weights, *resolution), low["mh"].weights, atol=1e-6)
    np.testing.assert_allclose(outputs[0], low_outputs[0], atol=1e-6)
    assert (STEPS, KEYS) == low["mh"].full
    np.testing.assert_allclose(1.0, low["mh"].weights.sum(-1), atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["fused", "unfused"])
def test_masks_in_blocks(inputs, monkeypatch, masked, dropout):
    """Causal, and with keys that are masked: those of one sample all, whose rows are zero."""
    monkeypatch.setattr(fused, "BLOCK", 4 * 3 * HEADS * KEYS * 5)
    model = cross(dropout, causal=True, masked=masked)
    outputs, full = zoo.attend(model, inputs)
    low_outputs, low = zoo.attend(model, inputs, resolution=5)
    np.testing.assert_allclose(pooled(full["mh"].weights, 5, 5), low["mh"].weights, atol=1e-6)
    np.testing.assert_allclose(outputs[0], low_outputs[0], atol=1e-6)
    assert not masked or 0 == low["mh"].weights[1].max()


def test_heads_and_samples(inputs):
    """Chosen by number, pooled or not."""
    model = cross()
    _, full = zoo.attend(model, inputs)
    for resolution in (None, 5):
        _, some = zoo.attend(model, inputs, heads=[1], samples=[2, 0], resolution=resolution)
        expected = full["mh"].weights[[2, 0]][:, [1]]
        expected = expected if resolution is None else pooled(expected, 5, 5)
        np.testing.assert_allclose(expected, some["mh"].weights, atol=1e-6)


def test_a_map_that_is_small_enough_stays_whole(inputs):
    """At most R × R, never more."""
    _, maps = zoo.attend(cross(), inputs, resolution=(64, 64))
    assert (STEPS, KEYS) == maps["mh"].weights.shape[2:]


def test_it_is_the_maps_own_pooling(inputs):
    """`AttentionMap.pooled` of the full map is the same map."""
    model = cross()
    expected = zoo.attend(model, inputs)[1]["mh"].pooled(5, 7)
    low = zoo.attend(model, inputs, resolution=(5, 7))[1]["mh"]
    np.testing.assert_allclose(expected.weights, low.weights, atol=1e-6)
    assert expected.full == low.full


def test_the_full_matrix_never_exists(rng):
    """In the compiled graph no tensor has as many numbers as the map."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("reads TensorFlow's graph")
    import tensorflow as tf

    length = 1031
    x = keras.Input((length, DEPTH))
    model = keras.Model(x, keras.layers.MultiHeadAttention(HEADS, 3, name="mh")(x, x))

    @tf.function
    def run(x):
        with zoo.capture(model, resolution=16) as seen:
            return model(x), seen.weights

    definition = run.get_concrete_function(tf.TensorSpec((1, length, DEPTH))).graph.as_graph_def(
        add_shapes=True
    )
    nodes = [*definition.node, *(node for f in definition.library.function for node in f.node_def)]
    shapes = [shape for node in nodes for shape in node.attr["_output_shapes"].list.shape]
    sizes = [np.prod([dimension.size for dimension in shape.dim]) for shape in shapes]
    assert 0 < len(sizes)
    assert HEADS * length * length > max(sizes)


@pytest.mark.parametrize(
    "wrong", [{"resolution": 0}, {"heads": [2]}, {"samples": [3]}, {"heads": -1}], ids=str
)
def test_what_does_not_fit_is_an_error(inputs, wrong):
    """One sentence that names the size."""
    with pytest.raises(ValueError) as error:
        zoo.attend(cross(), inputs, **wrong)
    assert re.fullmatch(r"[^\n]*\.", str(error.value))
