"""Judge: the layer's own call of the whole sequence, which test_multi_head_attention.py holds to Keras'."""

import keras
import numpy as np
import pytest
from keras import ops

from zoo.layers import MultiHeadAttention

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def array(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def draw(rng, *shape):
    return rng.normal(size=shape).astype("float32")


POSITIONED = [(position, window) for position in (None, "relative", "rotary") for window in (None, 3)]


@pytest.mark.parametrize("position, window", POSITIONED)
def test_decoding_step_by_step(position, window, compiled):
    """A prompt of 4 steps at once and then single steps give what one causal call gives."""
    rng = np.random.default_rng(4)
    x = draw(rng, 2, 13, 7)
    layer = MultiHeadAttention(4, 6, num_key_value_heads=2, position=position, sliding_window=window)
    whole, weights = layer(x, x, use_causal_mask=True, return_attention_scores=True)

    def step(x, cache, t):
        return layer(x, x, cache=cache, cache_position=t, use_causal_mask=True, return_attention_scores=True)

    y, a, cache = step(ops.convert_to_tensor(x[:, :4]), layer.empty_cache(2, 17), 0)
    assert (2, 4, 4, 17) == tuple(a.shape)
    found = [array(y)]
    step = compiled(step) if keras.backend.backend() != "torch" else step  # minutes, there
    for t in range(4, 13):
        y, a, cache = step(ops.convert_to_tensor(x[:, t : t + 1]), cache, ops.convert_to_tensor(t, "int32"))
        found.append(array(y))
        np.testing.assert_allclose(array(weights)[:, :, t], array(a)[:, :, 0, :13], **TOLERANCE)
        np.testing.assert_array_equal(0, array(a)[..., 13:])
    np.testing.assert_allclose(array(whole), np.concatenate(found, axis=1), **TOLERANCE)


def test_the_cache_remembers_padding():
    """Keys that a prompt's mask hides stay hidden in the steps after it."""
    rng = np.random.default_rng(5)
    x, mask = draw(rng, 2, 7, 5), np.array([[False, False, True, True, True, True, True], [True] * 7])
    layer = MultiHeadAttention(2, 3)
    whole = layer(x, x, value_mask=mask, use_causal_mask=True)
    prompt = {"value_mask": mask[:, :6], "use_causal_mask": True, "cache": layer.empty_cache(2, 11)}
    y, cache = layer(x[:, :6], x[:, :6], **prompt)
    np.testing.assert_allclose(array(whole)[:, :6], array(y), **TOLERANCE)
    y, _ = layer(x[:, 6:], x[:, 6:], cache=cache, cache_position=6)
    np.testing.assert_allclose(array(whole)[:, 6:], array(y), **TOLERANCE)


@pytest.mark.parametrize("position", [None, "rotary"])
def test_a_memory_is_projected_once(position):
    """A cache filled with a memory stands for it in every call."""
    rng = np.random.default_rng(6)
    query, value, key = draw(rng, 2, 3, 5), draw(rng, 2, 7, 11), draw(rng, 2, 7, 13)
    mask = np.arange(7) < np.array([[5], [7]])
    layer = MultiHeadAttention(2, 4, position=position)
    expected = layer(query, value, key, value_mask=mask)
    cache = layer.fill_cache(value, key, value_mask=mask)
    y, again = layer(query, None, cache=cache)
    np.testing.assert_allclose(array(expected), array(y), **TOLERANCE)
    for one, other in zip(cache, again, strict=True):
        np.testing.assert_array_equal(array(one), array(other))


@pytest.mark.parametrize(
    "cache, position, sentence",
    [
        (1, 0, "a cache that is not three tensors; pass one of empty_cache or fill_cache."),
        (
            [(2, 7, 3, 5), (2, 7, 2, 5), (2, 7)],
            0,
            "a cache of shapes (2, 7, 3, 5), (2, 7, 2, 5), (2, 7) for a query of shape (2, 2, 3); pass one "
            "of empty_cache(2, length).",
        ),
        (
            [(2, 7, 3, 5), (2, 7, 3, 5), (2, 7)],
            6,
            "2 steps at cache_position=6 of a cache for 7; pass a position from 0 to 5.",
        ),
    ],
)
def test_bad_caches(cache, position, sentence):
    """One sentence says which cache came and how to get one that fits."""
    layer = MultiHeadAttention(3, 5)
    x = np.zeros((2, 2, 3), "float32")
    layer(x, x)
    if cache != 1:
        cache = tuple(np.zeros(shape, bool if len(shape) == 2 else "float32") for shape in cache)
    with pytest.raises(ValueError) as error:
        layer(x, x, cache=cache, cache_position=position)
    assert f"MultiHeadAttention got {sentence}" in str(error.value)


NO_VALUE = (
    "no value; type layer(query, value), or layer(query, None, cache=cache) with "
    "cache=layer.fill_cache(memory)."
)
DEPTH = "and was built for a depth of {}; pass that depth, or make another layer."


@pytest.mark.parametrize(
    "sentence, call",
    [
        (NO_VALUE, lambda layer, x, m: layer(x, None)),
        (NO_VALUE, lambda layer, x, m: MultiHeadAttention(3, 5)(x, None)),
        ("a query of shape (2, 3, 11) " + DEPTH.format(7), lambda layer, x, m: layer(m, m)),
        ("a value of shape (2, 2, 7) " + DEPTH.format(11), lambda layer, x, m: layer(x, x)),
        ("a key of shape (2, 3, 7) " + DEPTH.format(11), lambda layer, x, m: layer(x, m, m[..., :7])),
        (
            "a query of shape (2, 3, 11) " + DEPTH.format(7),
            lambda layer, x, m: layer(m, None, cache=layer.fill_cache(m)),
        ),
        (
            "an input of shape (3, 11); pass one tensor of shape (batch, length, depth), its depth known.",
            lambda layer, x, m: layer.fill_cache(m[0]),
        ),
        ("a value of shape (2, 2, 7) " + DEPTH.format(11), lambda layer, x, m: layer.fill_cache(x)),
        (
            "a value of shape (2, 3, 11) and a key of shape (2, 2, 11); pass as many keys as values.",
            lambda layer, x, m: layer.fill_cache(m, m[:, 1:]),
        ),
        (
            "a value_mask of shape (2, 2) for a value of shape (2, 3, 11); pass one of shape (2, 3).",
            lambda layer, x, m: layer.fill_cache(m, value_mask=np.ones((2, 2), bool)),
        ),
    ],
)
def test_bad_memories(sentence, call):
    """One sentence says what came and what the layer was built for."""
    layer, x, memory = (
        MultiHeadAttention(3, 5),
        np.zeros((2, 2, 7), "float32"),
        np.zeros((2, 3, 11), "float32"),
    )
    layer(x, memory)
    with pytest.raises(ValueError) as error:
        call(layer, x, memory)
    assert f"MultiHeadAttention got {sentence}" in str(error.value)
