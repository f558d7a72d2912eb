"""Judge: the equations of Wang 2018, in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.layers import NonLocalBlock


def reference(x, W_theta, W_phi, W_g, W_z, pairwise):
    """Equations 1 to 4 and 6, a pair of positions at a time."""
    batch, rows, columns, channels = x.shape
    flat = x.reshape(batch, rows * columns, channels)
    f, z = np.zeros((batch, rows * columns, rows * columns)), np.zeros_like(flat)
    for b in range(batch):
        for i, x_i in enumerate(flat[b]):
            for j, x_j in enumerate(flat[b]):
                f[b, i, j] = (x_i @ W_theta) @ (x_j @ W_phi)
            if pairwise == "embedded_gaussian":
                f[b, i] = np.exp(f[b, i])
                f[b, i] /= f[b, i].sum()
            else:
                f[b, i] /= rows * columns
            z[b, i] = sum(f[b, i, j] * (x_j @ W_g) for j, x_j in enumerate(flat[b])) @ W_z + x_i
    return z.reshape(x.shape), f


@given(st.data(), st.sampled_from(["embedded_gaussian", "dot_product"]))
def test_equals_the_reference(data, pairwise):
    """Output and weights are those of the paper, whatever the sizes."""
    batch, rows, columns, channels, units = (data.draw(st.integers(1, 5)) for _ in range(5))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    x = rng.normal(size=(batch, rows, columns, channels))
    layer = NonLocalBlock(units, pairwise)
    layer.build(x.shape)
    weights = [rng.normal(size=w.shape) for w in layer.weights]
    layer.set_weights(weights)
    found = layer(x.astype("float32"), return_attention_scores=True)
    for expected, one in zip(reference(x, *weights, pairwise), found, strict=True):
        np.testing.assert_allclose(expected, keras.ops.convert_to_numpy(one), rtol=1e-4, atol=1e-4)


def test_a_new_block_changes_nothing():
    """Its output is its input, to the bit, so that it can be put into a trained network."""
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype("float32")
    np.testing.assert_array_equal(x, keras.ops.convert_to_numpy(NonLocalBlock()(x)))


def test_half_the_channels_by_default():
    """θ, φ and g have channels / 2 units, and one where there is but one channel."""
    for channels, units in ((8, 4), (7, 3), (1, 1)):
        layer = NonLocalBlock()
        layer.build((None, None, None, channels))
        assert (channels, units) == layer.W_theta.shape


def test_its_axes():
    """Positions of the feature map look at positions of the feature map."""
    patches = {"kind": "patch", "grid": (3, 5)}
    assert (patches, patches) == NonLocalBlock().attention_axes((2, 3, 5, 7))


def test_an_unknown_pairwise_function():
    """The sentence lists those there are."""
    with pytest.raises(
        ValueError,
        match=r"^NonLocalBlock got pairwise='gaussian'; pass one of 'embedded_gaussian', 'dot_product'\.$",
    ):
        NonLocalBlock(pairwise="gaussian")
