"""Judge: the equations of Woo 2018, in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.layers import CBAM, ChannelAttention, SpatialAttention


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def channel_reference(F, W_0, W_1):
    """Equation 2, a sample and a channel at a time."""
    gates = np.zeros((len(F), 1, F.shape[3]))
    for b, sample in enumerate(F):
        channels = sample.reshape(-1, F.shape[3]).T
        mean, largest = np.array([c.mean() for c in channels]), np.array([c.max() for c in channels])
        gates[b, 0] = sigmoid(np.maximum(mean @ W_0, 0) @ W_1 + np.maximum(largest @ W_0, 0) @ W_1)
    return F * gates[:, :, None], gates


def spatial_reference(F, kernel):
    """Equation 3, a position at a time; beyond the edge is zero."""
    batch, rows, columns, _ = F.shape
    size = len(kernel)
    before = (size - 1) // 2
    gates = np.zeros((batch, rows, columns))
    for b in range(batch):
        maps = np.stack([F[b].mean(axis=-1), F[b].max(axis=-1)], axis=-1)
        for i in range(rows):
            for j in range(columns):
                for di in range(size):
                    for dj in range(size):
                        r, c = i + di - before, j + dj - before
                        if 0 <= r < rows and 0 <= c < columns:
                            gates[b, i, j] += maps[r, c] @ kernel[di, dj, :, 0]
    gates = sigmoid(gates)
    return F * gates[..., None], gates.reshape(batch, 1, rows * columns)


def weights_of(layer):
    return [keras.ops.convert_to_numpy(w.value).astype("float64") for w in layer.weights]


def sizes(data):
    """A random feature map whose channels a random ratio divides, and that ratio."""
    batch, rows, columns, hidden, ratio = (data.draw(st.integers(1, 5)) for _ in range(5))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    return rng.normal(size=(batch, rows, columns, hidden * ratio)), ratio


@given(st.data())
def test_channel_attention_equals_the_reference(data):
    """Gates and scaled map are those of the paper, whatever the sizes."""
    F, ratio = sizes(data)
    layer = ChannelAttention(ratio)
    found = layer(F.astype("float32"), return_attention_scores=True)
    for expected, one in zip(channel_reference(F, *weights_of(layer)), found, strict=True):
        np.testing.assert_allclose(expected, keras.ops.convert_to_numpy(one), atol=1e-5)


@given(st.data(), st.sampled_from([1, 2, 3, 4, 7]))
def test_spatial_attention_equals_the_reference(data, kernel_size):
    """Gates and scaled map are those of the paper, for filters odd and even, larger than the map too."""
    F, _ = sizes(data)
    layer = SpatialAttention(kernel_size)
    found = layer(F.astype("float32"), return_attention_scores=True)
    for expected, one in zip(spatial_reference(F, *weights_of(layer)), found, strict=True):
        np.testing.assert_allclose(expected, keras.ops.convert_to_numpy(one), atol=1e-5)


@given(st.data())
def test_cbam_is_one_after_the_other(data):
    """Channels first, then positions of what is left (equation 1)."""
    F, ratio = sizes(data)
    layer = CBAM(ratio, kernel_size=3)
    found = layer(F.astype("float32"))
    W_0, W_1, kernel = weights_of(layer)
    expected, _ = spatial_reference(channel_reference(F, W_0, W_1)[0], kernel)
    np.testing.assert_allclose(expected, keras.ops.convert_to_numpy(found), atol=1e-5)


def test_spatial_gates_know_their_grid():
    """Row by row: a filter that looks at the mean alone gives each position's own."""
    layer = SpatialAttention(1)
    layer.build((1, 2, 3, 1))
    layer.set_weights([np.array([[[[1.0], [0.0]]]])])
    F = np.arange(6.0).reshape(1, 2, 3, 1)
    _, gates = layer(F, return_attention_scores=True)
    np.testing.assert_allclose(sigmoid(np.arange(6.0)), keras.ops.convert_to_numpy(gates)[0, 0], rtol=1e-5)
    assert ({"kind": "step"}, {"kind": "patch", "grid": (2, 3)}) == layer.attention_axes((1, 2, 3, 1))


def test_the_ratio_divides_the_channels():
    """The sentence names the ratio and the channels."""
    with pytest.raises(ValueError, match=r"^ChannelAttention got ratio=16 and 7 channels; pass a ratio that"):
        CBAM().build((None, 2, 3, 7))


def test_a_kernel_size_of_zero_is_refused():
    """The sentence names the argument and its value."""
    with pytest.raises(ValueError, match=r"^SpatialAttention got kernel_size=0; pass a whole number"):
        SpatialAttention(0)
