"""Judge: the equations of Hu 2018, in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.layers import SqueezeExcite


def reference(x, W_1, W_2):
    """Equations 2 to 4, a sample and a channel at a time."""
    scaled, gates = np.zeros_like(x), np.zeros((len(x), 1, x.shape[3]))
    for b, sample in enumerate(x):
        z = np.array([sample[:, :, c].mean() for c in range(x.shape[3])])
        gates[b, 0] = 1 / (1 + np.exp(-(np.maximum(z @ W_1, 0) @ W_2)))
        for c, gate in enumerate(gates[b, 0]):
            scaled[b, :, :, c] = gate * sample[:, :, c]
    return scaled, gates


@given(st.data())
def test_equals_the_reference(data):
    """Gates and scaled map are those of the paper, whatever the sizes."""
    batch, rows, columns, hidden, ratio = (data.draw(st.integers(1, 5)) for _ in range(5))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    x = rng.normal(size=(batch, rows, columns, hidden * ratio))
    layer = SqueezeExcite(ratio)
    scaled, gates = layer(x.astype("float32"), return_attention_scores=True)
    expected = reference(x, *(keras.ops.convert_to_numpy(w.value) for w in (layer.W_1, layer.W_2)))
    np.testing.assert_allclose(expected[0], keras.ops.convert_to_numpy(scaled), atol=1e-5)
    np.testing.assert_allclose(expected[1], keras.ops.convert_to_numpy(gates), atol=1e-6)


def test_hand_made_truth():
    """Means 1 and -3, W_1 = [1 0], W_2 = [ln 3, 0]: gates sigmoid(ln 3) = 3/4 and sigmoid(0) = 1/2."""
    layer = SqueezeExcite(ratio=2)
    layer.build((1, 1, 2, 2))
    layer.set_weights([np.array([[1.0], [0.0]]), np.array([[np.log(3), 0.0]])])
    x = np.array([[[[0.0, -4.0], [2.0, -2.0]]]])
    scaled, gates = layer(x, return_attention_scores=True)
    np.testing.assert_allclose([[[0.75, 0.5]]], keras.ops.convert_to_numpy(gates), rtol=1e-6)
    np.testing.assert_allclose([[[[0, -2], [1.5, -1]]]], keras.ops.convert_to_numpy(scaled), rtol=1e-6)


def test_its_axes():
    """One step looks at channels."""
    assert ({"kind": "step"}, {"kind": "channel"}) == SqueezeExcite().attention_axes((1, 2, 3, 32))


def test_the_ratio_divides_the_channels():
    """The sentence names the ratio and the channels."""
    with pytest.raises(
        ValueError, match=r"^SqueezeExcite got ratio=5 and 7 channels; pass a ratio that divides them\.$"
    ):
        SqueezeExcite(5).build((None, 2, 3, 7))


@pytest.mark.parametrize("ratio", [0, -1, 2.5, None])
def test_the_ratio_is_a_positive_whole_number(ratio):
    """The sentence names the argument and its value."""
    with pytest.raises(ValueError, match=rf"^SqueezeExcite got ratio={ratio!r}; pass a whole number"):
        SqueezeExcite(ratio)
