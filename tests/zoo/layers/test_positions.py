"""Judges: keras-hub's SinePositionEncoding, RotaryEmbedding and T5, and the papers' equations in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from zoo.layers import LearnedPositions, RelativePositionBias, SinusoidalPositions, rotary, sinusoidal


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 13), st.integers(1, 50))
def test_sinusoids_are_those_of_the_paper(depth, length):
    """Even features are sines and odd ones cosines, of frequencies that fall with the feature."""
    expected = np.zeros((length, depth))
    for position in range(length):
        for i in range(depth):
            angle = position / 10000 ** (2 * (i // 2) / depth)
            expected[position, i] = np.cos(angle) if i % 2 else np.sin(angle)
    np.testing.assert_allclose(expected, array(sinusoidal(ops.arange(length), depth)), atol=2e-5)


def test_sinusoids_of_keras_hub():
    """An even depth has the numbers of keras-hub's layer."""
    hub = pytest.importorskip("keras_hub")
    x = np.zeros((1, 101, 14), "float32")
    expected = array(hub.layers.SinePositionEncoding()(x))
    np.testing.assert_allclose(expected, array(SinusoidalPositions()(x))[0:1], atol=2e-5)


@pytest.mark.parametrize("make", [SinusoidalPositions, lambda **k: LearnedPositions(11, **k)])
def test_steps_one_by_one(make):
    """A decoder's call at a position adds what the call of all steps adds there; masks pass through."""
    x = np.random.default_rng(0).normal(size=(2, 7, 5)).astype("float32")
    layer = make()
    whole = array(layer(x))
    assert np.abs(whole - x).max() > 0.01
    for t in range(7):
        for position in (t, ops.convert_to_tensor(t, "int32")):
            np.testing.assert_allclose(
                whole[:, t : t + 1], array(layer(x[:, t : t + 1], position=position)), atol=1e-6
            )
    embedded = keras.layers.Embedding(3, 5, mask_zero=True)(np.array([[1, 2, 0]]))
    np.testing.assert_array_equal([[True, True, False]], ops.convert_to_numpy(make()(embedded)._keras_mask))
    assert "bfloat16" == keras.backend.standardize_dtype(make(dtype="bfloat16")(x).dtype)


@pytest.mark.parametrize(
    "make", [SinusoidalPositions, lambda: LearnedPositions(11), lambda: RelativePositionBias(3)]
)
def test_saved_and_made_again(make, tmp_path):
    """A saved model of unknown length comes back with its weights."""
    layer = make()
    offsets = isinstance(layer, RelativePositionBias)
    inputs = keras.Input((None,), dtype="int32") if offsets else keras.Input((None, 5))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.arange(-15, 20).reshape(1, 7, 5) if not offsets else np.arange(-15, 20)[None]
    x = ops.convert_to_tensor(x, "int32" if offsets else "float32")
    np.testing.assert_array_equal(array(model(x)), array(again(x)))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 3), st.integers(0, 200))
def test_rotary_scores_know_the_distance_alone(half, length, heads, start):
    """q and k turned are as in RoFormer's equation 16: their product depends on n - m, and norms stay."""
    rng = np.random.default_rng(start)
    q, k = (rng.normal(size=(1, 1, heads, 2 * half)).astype("float32").repeat(length, 1) for _ in range(2))
    positions = start + np.arange(length)
    turned_q, turned_k = array(rotary(q, positions)), array(rotary(k, positions))
    np.testing.assert_allclose(np.linalg.norm(q, axis=-1), np.linalg.norm(turned_q, axis=-1), rtol=1e-5)
    scores = np.einsum("bthd,bshd->bhts", turned_q, turned_k)
    for m in range(length):
        for n in range(length):
            alone = array(rotary(k[:, :1], np.array([n - m])))
            expected = np.einsum("bthd,bshd->bhts", q[:, :1], alone)[..., 0, 0]
            np.testing.assert_allclose(expected, scores[..., m, n], atol=2e-3)


def test_rotary_of_keras_hub():
    """keras-hub's layer pairs feature i with i + d/2; with its features in our order the numbers agree."""
    hub = pytest.importorskip("keras_hub")
    x = np.random.default_rng(1).normal(size=(2, 7, 3, 10)).astype("float32")
    order = np.arange(10).reshape(2, 5).T.reshape(-1)  # 0 5 1 6 ...: neighbours, from halves
    expected = array(hub.layers.RotaryEmbedding()(x))[..., order]
    np.testing.assert_allclose(
        expected, array(rotary(ops.convert_to_tensor(x[..., order]), ops.arange(7))), atol=1e-5
    )


def test_rotary_positions_per_sample():
    """Each sample may have positions of its own."""
    x = np.random.default_rng(2).normal(size=(2, 3, 1, 4)).astype("float32")
    positions = np.array([[0, 1, 2], [5, 5, 11]])
    both = array(rotary(ops.convert_to_tensor(x), positions))
    for sample in range(2):
        alone = array(rotary(ops.convert_to_tensor(x[sample : sample + 1]), positions[sample]))
        np.testing.assert_allclose(alone, both[sample : sample + 1], atol=1e-6)


@pytest.mark.parametrize("buckets, distance", [(32, 128), (8, 20), (4, 2)])
def test_relative_buckets_are_those_of_t5(buckets, distance):
    """The bias of every offset is that of keras-hub's T5 attention with the same table."""
    t5 = pytest.importorskip("keras_hub.src.models.t5.t5_multi_head_attention")
    offsets = np.arange(-300, 301)
    layer = RelativePositionBias(3, buckets, distance)
    found = array(layer(offsets))
    table = np.asarray(array(layer.weights[0].value))
    relative = ops.convert_to_tensor(offsets, "int32")
    bucket = t5.T5MultiHeadAttention._relative_position_bucket(relative, True, buckets, distance)
    np.testing.assert_array_equal(table[array(bucket).astype(int)].T, found)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: LearnedPositions(0),
            "LearnedPositions got max_length=0; pass a whole number of at least 1.",
        ),
        (
            lambda: LearnedPositions(3)(np.zeros((2, 5, 7), "float32")),
            "LearnedPositions got 5 steps from position 0 on, and has 3 positions; pass max_length=5 or "
            "more.",
        ),
        (
            lambda: LearnedPositions(3)(np.zeros((2, 5), "float32")),
            "LearnedPositions got an input of shape (2, 5); pass one of shape (batch, length, depth) whose "
            "depth is known.",
        ),
        (
            lambda: SinusoidalPositions()(np.zeros((2, 5), "float32")),
            "SinusoidalPositions got an input of shape (2, 5); pass one of shape (batch, length, depth).",
        ),
        (
            lambda: RelativePositionBias(2, num_buckets=6),
            "RelativePositionBias got num_buckets=6; pass a multiple of 4: two sides, each half exact "
            "and half logarithmic.",
        ),
        (
            lambda: RelativePositionBias(2, max_distance=8),
            "RelativePositionBias got max_distance=8 with num_buckets=32; pass more than the 8 distances "
            "that have a bucket of their own.",
        ),
        (
            lambda: rotary(np.zeros((2, 3, 1, 5), "float32"), np.arange(3)),
            "rotary got x of shape (2, 3, 1, 5) and turns pairs of features; pass one whose last size is "
            "known and even.",
        ),
    ],
)
def test_one_sentence(make, sentence):
    """One sentence says what came and what is wanted."""
    with pytest.raises(ValueError) as error:
        make()
    assert sentence in str(error.value)
