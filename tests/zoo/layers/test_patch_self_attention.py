"""Judge: the equations of Vaswani 2017 and Dosovitskiy 2021, in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.layers import PatchSelfAttention


def reference(x, p, E, E_pos, W_q, b_q, W_k, b_k, W_v, b_v, W_o, b_o):
    """Equation 1 of Dosovitskiy and the attention of Vaswani, a patch and a head at a time."""
    batch, rows, columns, _ = x.shape
    grid = rows // p, columns // p
    heads, size = W_q.shape[1:]
    y = np.zeros((batch, *grid, W_o.shape[2]))
    a = np.zeros((batch, heads, grid[0] * grid[1], grid[0] * grid[1]))
    for b in range(batch):
        patches = [x[b, i * p : (i + 1) * p, j * p : (j + 1) * p].ravel() for i, j in np.ndindex(*grid)]
        z = np.stack(patches) @ E + E_pos
        out = b_o.copy()[None].repeat(len(z), axis=0)
        for h in range(heads):
            q, k, v = (z @ W[:, h] + bias[h] for W, bias in ((W_q, b_q), (W_k, b_k), (W_v, b_v)))
            e = q @ k.T / np.sqrt(size)
            exponentials = np.exp(e - e.max(axis=1, keepdims=True))
            a[b, h] = exponentials / exponentials.sum(axis=1, keepdims=True)
            out += a[b, h] @ v @ W_o[h]
        y[b] = out.reshape(*grid, -1)
    return y, a


@given(st.data(), st.booleans())
def test_equals_the_reference(data, positions):
    """Output and weights are those of the papers, whatever the sizes, with and without positions."""
    batch, rows, columns, channels, p, heads, size = (data.draw(st.integers(1, 3)) for _ in range(7))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    x = rng.normal(size=(batch, rows * p, columns * p, channels))
    layer = PatchSelfAttention(heads * size, heads, p, positions)
    layer.build(x.shape)
    for w in layer.weights:
        w.assign(rng.normal(size=w.shape))
    attention = layer.attention
    parts = [layer.E, *attention.weights]
    E, W_q, b_q, W_k, b_k, W_v, b_v, W_o, b_o = (keras.ops.convert_to_numpy(w.value) for w in parts)
    E_pos = keras.ops.convert_to_numpy(layer.E_pos.p.value) if positions else 0
    expected = reference(x, p, E, E_pos, W_q, b_q, W_k, b_k, W_v, b_v, W_o, b_o)
    found = layer(x.astype("float32"), return_attention_scores=True)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, keras.ops.convert_to_numpy(other), rtol=1e-4, atol=1e-4)


def test_its_axes():
    """Patches look at patches, on the grid of patches."""
    patches = {"kind": "patch", "grid": (2, 3)}
    assert (patches, patches) == PatchSelfAttention(6, 2, patch_size=2).attention_axes((1, 4, 6, 3))


def test_the_patch_size_divides_the_image():
    """The sentence names the image and the patch size."""
    with pytest.raises(
        ValueError, match=r"^PatchSelfAttention got an image of shape \(1, 4, 7, 3\) and patch_size=2; pass a"
    ):
        PatchSelfAttention(6, 2, patch_size=2)(np.zeros((1, 4, 7, 3), "float32"))


def test_the_heads_divide_the_units():
    """The sentence names both."""
    with pytest.raises(
        ValueError, match=r"^PatchSelfAttention got num_heads=3 and 7 units; pass a num_heads that divides"
    ):
        PatchSelfAttention(7, 3)


def test_learned_positions_want_a_size():
    """The sentence says what to type for images of any size."""
    with pytest.raises(
        ValueError, match=r"of unknown size, .* pass positions=False or an image of known size\.$"
    ):
        PatchSelfAttention(6, 2)(keras.Input((None, None, 3)))


@pytest.mark.parametrize(
    "sentence, shape",
    [
        *(
            (
                f"PatchSelfAttention got an image of shape {shape} and was built for 4 rows and 6 columns; "
                "pass such images, or make a layer with positions=False.",
                shape,
            )
            for shape in [(1, 6, 6, 3), (1, 6, 4, 3), (1, 2, 6, 3)]
        ),
        (
            "PatchSelfAttention got a feature map of shape (1, 4, 6, 5) and was built for a depth of 3; pass "
            "that depth, or make another layer.",
            (1, 4, 6, 5),
        ),
    ],
)
def test_another_image_than_it_was_built_for(sentence, shape):
    """Learned positions belong to one size, with more patches, as many or fewer; without them any will do."""
    layer, free = PatchSelfAttention(6, 2, patch_size=2), PatchSelfAttention(6, 2, 2, positions=False)
    for one in (layer, free):
        one.build((None, 4, 6, 3))
    with pytest.raises(ValueError) as error:
        layer(np.zeros(shape, "float32"))
    assert sentence in str(error.value)
    assert (1, 3, 5, 6) == tuple(free(np.zeros((1, 6, 10, 3), "float32")).shape)
