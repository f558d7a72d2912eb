"""Judge: the same sums written out over all pairs with |j - i| in the window, in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from zoo.layers.band import band_allowed, band_context, band_scores, band_to_full
from zoo.layers.masked_softmax import masked_softmax

WINDOWS = [(0, 0), (2, 0), (0, 3), (1, 1), (5, 2), (11, 13)]  # the last is wider than the series


def dense(query, key, value, valid, before, after):
    """Dot-product attention of each query over the valid keys i - before ≤ j ≤ i + after."""
    batch, length = query.shape[:2]
    a = np.zeros((batch, length, length))
    for b in range(batch):
        for i in range(length):
            window = [j for j in range(max(0, i - before), min(length, i + after + 1)) if valid[b, j]]
            if window:
                e = np.exp([query[b, i] @ key[b, j] for j in window])
                a[b, i, window] = e / e.sum()
    return np.einsum("bij,bjd->bid", a, value), a


def banded(query, key, value, valid, before, after):
    e = band_scores(lambda q, k: ops.sum(q * k, axis=-1), query, key, before, after)
    a = masked_softmax(e, band_allowed(valid, before, after))
    return band_context(a, value, before, after), band_to_full(a, before, after)


def array(tensor):
    return ops.convert_to_numpy(tensor)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 13), st.integers(0, 17), st.integers(0, 17), st.integers(0, 99))
def test_equals_the_sums_over_all_pairs(batch, length, before, after, seed):
    """Whatever the sizes, context and matrix are those of attention over the window, computed in full."""
    rng = np.random.default_rng(seed)
    query, key = rng.normal(size=(2, batch, length, 5)).astype("float32")
    value = rng.normal(size=(batch, length, 7)).astype("float32")
    valid = rng.random((batch, length)) < 0.7
    context, a = dense(query, key, value, valid, before, after)
    tensors = [ops.convert_to_tensor(x) for x in (query, key, value, valid)]
    found_context, found_a = banded(*tensors, before, after)
    np.testing.assert_allclose(a, array(found_a), atol=1e-5)
    np.testing.assert_allclose(context, array(found_context), atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has unknown sizes")
@pytest.mark.parametrize("before, after", WINDOWS)
def test_unknown_sizes(before, after):
    """One trace for unknown batch and length gives what known ones do."""
    import tensorflow as tf

    traced = tf.function(
        lambda x, valid: banded(x, x, x, valid, before, after),
        input_signature=[tf.TensorSpec((None, None, 5)), tf.TensorSpec((None, None), tf.bool)],
    )
    for batch, length in [(1, 1), (2, 11), (3, 29)]:
        rng = np.random.default_rng(length)
        x, valid = rng.normal(size=(batch, length, 5)).astype("float32"), rng.random((batch, length)) < 0.7
        for expected, found in zip(dense(x, x, x, valid, before, after), traced(x, valid), strict=True):
            np.testing.assert_allclose(expected, found, atol=1e-5)
