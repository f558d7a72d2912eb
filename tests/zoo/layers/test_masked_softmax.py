import keras
import numpy as np
import pytest

from zoo.layers.masked_softmax import masked_softmax


def test_hand_made_truth():
    """Two equal scores share the weight, and the masked third gets exactly none of it."""
    weights = masked_softmax(keras.ops.array([[2.0, 2.0, 9.0]]), keras.ops.array([[True, True, False]]))
    np.testing.assert_array_equal([[0.5, 0.5, 0.0]], keras.ops.convert_to_numpy(weights))


def test_a_row_without_an_allowed_key_is_zero():
    """Nothing to attend to is a row of zeros, neither NaN nor a uniform row."""
    weights = masked_softmax(keras.ops.array([[1.0, -3.0, 5.0]]), keras.ops.array([[False, False, False]]))
    np.testing.assert_array_equal([[0.0, 0.0, 0.0]], keras.ops.convert_to_numpy(weights))


@pytest.mark.parametrize("low", [-1e5, -1e20])
def test_very_low_scores_keep_their_weight(low):
    """A masked key gets nothing even beside allowed ones whose scores are far below zero."""
    weights = masked_softmax(keras.ops.array([[low, low, 0.0]]), keras.ops.array([[True, True, False]]))
    np.testing.assert_array_equal([[0.5, 0.5, 0.0]], keras.ops.convert_to_numpy(weights))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_scores_give_float32_weights(dtype):
    """A row of 4099 half precision scores still sums to 1."""
    score = keras.ops.cast(np.random.default_rng(0).normal(size=(1, 4099)), dtype)
    weights = keras.ops.convert_to_numpy(masked_softmax(score, True))
    assert weights.dtype == "float32"
    np.testing.assert_allclose(1, weights.sum(), atol=1e-6)
