"""Judges: keras.layers.MultiHeadAttention with the window as a mask, and TensorFlow's own graph."""

import keras
import numpy as np
import pytest
from keras import ops

from zoo.layers import MultiHeadAttention, heads

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def draw(rng, *shape):
    return rng.normal(size=shape).astype("float32")


@pytest.mark.parametrize("keys", [211, 149, 331])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [1, 2, 17, 41])
def test_a_window_over_many_blocks(window, causal, keys):
    """Blocks along the diagonal hold the same scores as Keras' mask, for any lengths and masks."""
    rng = np.random.default_rng(window)
    query, value = draw(rng, 2, 211, 5), draw(rng, 2, keys, 5)
    theirs = keras.layers.MultiHeadAttention(3, 2)
    ours = MultiHeadAttention(3, 2, sliding_window=window)
    ours(query, value), theirs(query, value)
    ours.set_weights(theirs.get_weights())
    near = abs(np.arange(211)[:, None] - np.arange(keys)) < window
    value_mask = rng.random((2, keys)) < 0.7
    for shape in ((2, 211, keys), (2, 3, 211, keys), (2, 1, keys)):
        mask = rng.random(shape) < 0.7
        allowed = near & value_mask[:, None, None] & (mask if mask.ndim == 4 else mask[:, None])
        allowed = allowed & (np.arange(keys) <= np.arange(211)[:, None]) if causal else allowed
        expected, weights = theirs(query, value, attention_mask=allowed, return_attention_scores=True)
        call = {"value_mask": value_mask, "attention_mask": mask, "use_causal_mask": causal}
        output, a = ours(query, value, **call, return_attention_scores=True)
        np.testing.assert_allclose(array(weights), array(a), **TOLERANCE)
        np.testing.assert_allclose(array(expected), array(output), **TOLERANCE)
        np.testing.assert_allclose(array(output), array(ours(query, value, **call)), **TOLERANCE)


@pytest.mark.parametrize("position", [None, "relative", "rotary"])
@pytest.mark.parametrize("window, keys, causal", [(1, 211, False), (17, 149, True), (41, 331, False)])
def test_one_block_at_a_time_changes_nothing(monkeypatch, window, keys, causal, position):
    """Long series are computed a few blocks at a time, with the numbers of all blocks at once."""
    rng = np.random.default_rng(window)
    query, value = draw(rng, 2, 211, 5), draw(rng, 2, keys, 5)
    layer = MultiHeadAttention(3, 2, sliding_window=window, position=position)
    masks = {"query_mask": rng.random((2, 211)) < 0.7, "value_mask": rng.random((2, keys)) < 0.7}
    for call in ({}, masks):
        results = []
        for scores, chunks in ((10**9, 1), (1, 8), (1, 3)):  # all at once, 7 times 1 block, 3 times 3
            monkeypatch.setattr(heads, "SCORES", scores)
            monkeypatch.setattr(heads, "CHUNKS", chunks)
            found = layer(query, value, **call, use_causal_mask=causal, return_attention_scores=True)
            results.append([*found, layer(query, value, **call, use_causal_mask=causal)])
        for expected, *others in zip(*results, strict=True):
            for other in others:
                np.testing.assert_allclose(array(expected), array(other), **TOLERANCE)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's graph")
def test_a_window_holds_no_matrix_of_all_pairs():
    """No tensor of the training step's graph is as large as queries times keys."""
    import tensorflow as tf

    layer = MultiHeadAttention(2, 3, sliding_window=16)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, x) ** 2)
        return tape.gradient(loss, layer.trainable_variables)

    layer(tf.zeros((1, 2, 5)), tf.zeros((1, 2, 5)))
    graph = step.get_concrete_function(tf.TensorSpec((1, 4096, 5))).graph
    sizes = [x.shape.num_elements() or 0 for op in graph.get_operations() for x in op.outputs]
    assert 4096 * 5 <= max(sizes) <= 2 * 4096 * 64


@pytest.mark.parametrize("scores", [1, 10**9], ids=["one block at a time", "all at once"])
@pytest.mark.parametrize("kwargs", [{}, {"sliding_window": 3}])
def test_gradients_are_those_of_keras(gradients, monkeypatch, kwargs, scores):
    """Every weight has the gradient that it has in Keras' layer: also through blocks of a window."""
    monkeypatch.setattr(heads, "SCORES", scores)
    rng = np.random.default_rng(3)
    x = draw(rng, 2, 101, 7)
    ours, theirs = (layer(2, 3, **kwargs) for layer in (MultiHeadAttention, keras.layers.MultiHeadAttention))
    ours(x, x), theirs(x, x)
    ours.set_weights(theirs.get_weights())
    mask = np.stack([np.arange(101) % 5 != 3, np.arange(101) % 2 == 0])  # every query sees a key
    expected, found = (
        gradients(lambda f=f: ops.sum(f(x, x, value_mask=mask, use_causal_mask=True) ** 2), f)
        for f in (theirs, ours)
    )
    largest = max(np.abs(g).max() for g in expected)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * largest)
