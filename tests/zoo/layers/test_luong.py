"""Judge: equations 5 and 7 to 10 of Luong 2015, in NumPy."""

import keras
import numpy as np
import pytest

from zoo.layers import LuongAttention

UNITS, DEPTH = 19, 11
SCORES = ["dot", "general", "concat"]
LOCAL = [("local_monotonic", 1), ("local_monotonic", 2), ("local_predictive", 1), ("local_predictive", 3)]


def reference(
    query, value, key, query_mask, value_mask, weights, score, alignment="global", window=None, position=0
):
    """Luong 2015, equations 5 and 7 to 10, one number at a time; s is a key's rank among the valid ones."""
    (batch, queries), keys = query.shape[:2], key.shape[1]
    attended = np.zeros((batch, queries, weights["W_c"].shape[1]))
    a = np.zeros((batch, queries, keys))
    for b in range(batch):
        valid = np.arange(keys) if value_mask is None else np.flatnonzero(value_mask[b])
        for t in range(queries):
            if query_mask is not None and not query_mask[b, t]:
                continue
            h = query[b, t]
            if alignment == "local_monotonic":
                p = position + t
            if alignment == "local_predictive":
                p = len(valid) / (1 + np.exp(-weights["v_p"] @ np.tanh(weights["W_p"].T @ h)))
            exponentials = {}
            for s, j in enumerate(valid):
                if alignment != "global" and not p - window <= s <= p + window:
                    continue
                if score == "dot":
                    e = h @ key[b, j]
                elif score == "general":
                    e = h @ weights["W_a"] @ key[b, j]
                else:
                    e = weights["v_a"] @ np.tanh(weights["W_a"].T @ np.concatenate([h, key[b, j]]))
                exponentials[s, j] = np.exp(e)
            c = np.zeros(value.shape[2])
            for (s, j), exponential in exponentials.items():
                a[b, t, j] = exponential / sum(exponentials.values())
                if alignment == "local_predictive":
                    a[b, t, j] *= np.exp(-((s - p) ** 2) / (2 * (window / 2) ** 2))
                c += a[b, t, j] * value[b, j]
            attended[b, t] = np.tanh(weights["W_c"].T @ np.concatenate([c, h]))
    return attended, a


def weights_of(layer):
    return {w.name: keras.ops.convert_to_numpy(w.value).astype("float64") for w in layer.weights}


def check(layer, inputs, mask, **call):
    attended, a = layer(inputs, mask=mask, return_attention_scores=True, **call)
    expected_attended, expected_a = reference(
        *(x.astype("float64") for x in inputs),
        *mask,
        weights_of(layer),
        layer.score,
        layer.alignment,
        layer.window,
        **call,
    )
    np.testing.assert_allclose(expected_a, keras.ops.convert_to_numpy(a), atol=1e-5)
    np.testing.assert_allclose(expected_attended, keras.ops.convert_to_numpy(attended), atol=1e-5)
    return expected_a


@pytest.mark.parametrize("masks", ["none", "random", "prefix", "suffix"])
@pytest.mark.parametrize("alignment, window", [("global", None), *LOCAL])
@pytest.mark.parametrize("score", SCORES)
def test_equals_the_reference(batch, score, alignment, window, masks):
    """Output and weights are those of the paper's equations, whatever the score, alignment and masks."""
    layer = LuongAttention(UNITS, score, alignment, window)
    for seed in range(3):
        inputs, mask = batch(seed, masks, key_depth=DEPTH if score == "dot" else 13)
        expected = check(layer, inputs, mask)
        assert np.count_nonzero(expected) > 0


@pytest.mark.parametrize("position", [0, 3, 6, 11])
def test_position_moves_the_monotonic_window(batch, position):
    """A decoder's step t is passed as `position`, a number or a tensor, and p_t = t counts from there."""
    inputs, mask = batch(1, "prefix")
    layer = LuongAttention(UNITS, "general", "local_monotonic", 2)
    check(layer, inputs, mask, position=position)
    number = layer(inputs, mask=mask, position=position)
    tensor = layer(inputs, mask=mask, position=keras.ops.convert_to_tensor(position))
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (number, tensor)))


def test_a_position_tensor_keeps_the_masks_that_inputs_carry(batch):
    """Keras hands over the inputs' masks only where no other argument is a tensor; the layer sees to it."""
    (query, value, key), (_, mask) = batch(1, "prefix")
    layer = LuongAttention(UNITS, "general", "local_monotonic", 2)
    by_hand = layer([query, value, key], mask=[None, mask], position=1)
    masked = keras.layers.Masking()(value * mask[:, :, None])
    found = layer([query, masked, key], position=keras.ops.convert_to_tensor(1))
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (by_hand, found)), atol=1e-6)


def test_stepwise_calls_equal_one_call(batch):
    """Calling a step at a time with its position gives the rows of the call with all queries."""
    (query, value, key), _ = batch(2, "none")
    layer = LuongAttention(UNITS, "concat", "local_monotonic", 2)
    whole = keras.ops.convert_to_numpy(layer([query, value, key]))
    for t in range(query.shape[1]):
        step = keras.ops.convert_to_numpy(layer([query[:, t : t + 1], value, key], position=t))
        np.testing.assert_allclose(whole[:, t], step[:, 0], atol=1e-6)


def test_hand_made_window():
    """Equal scores: D = 1 around p_t = t gives halves at the edge and thirds inside."""
    layer = LuongAttention(2, "dot", "local_monotonic", 1)
    _, a = layer([np.zeros((1, 3, 1)), np.zeros((1, 5, 1))], return_attention_scores=True)
    expected = [[[1 / 2, 1 / 2, 0, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3, 0]]]
    np.testing.assert_allclose(expected, keras.ops.convert_to_numpy(a), rtol=1e-6)


def test_hand_made_gaussian():
    """With W_p = 0, p = S/2 = 2 of 4 keys; D = 2, so σ = 1: weights exp(-(s - 2)²/2)/4 over s = 0..3."""
    layer = LuongAttention(2, "dot", "local_predictive", 2)
    layer.build([(1, 1, 1), (1, 4, 1)])
    layer.W_p.assign(np.zeros((1, 2)))
    _, a = layer([np.zeros((1, 1, 1)), np.zeros((1, 4, 1))], return_attention_scores=True)
    expected = np.exp([[[-2.0, -0.5, 0.0, -0.5]]]) / 4
    np.testing.assert_allclose(expected, keras.ops.convert_to_numpy(a), rtol=1e-5)


@pytest.mark.parametrize("alignment, window", [("global", None), *LOCAL])
def test_left_and_right_padding_agree(batch, alignment, window):
    """Positions count valid keys, so the side of the padding changes nothing."""
    (query, value, key), _ = batch(3, "none")
    layer = LuongAttention(UNITS, "general", alignment, window)
    alone, a = layer([query, value, key], return_attention_scores=True)
    alone, a = keras.ops.convert_to_numpy(alone), keras.ops.convert_to_numpy(a)
    for before, after in [(0, 4), (4, 0)]:
        padded = [np.pad(x, ((0, 0), (before, after), (0, 0)), constant_values=3.0) for x in (value, key)]
        mask = np.pad(np.ones(value.shape[:2], bool), ((0, 0), (before, after)))
        output, scores = layer([query, *padded], mask=[None, mask], return_attention_scores=True)
        np.testing.assert_allclose(alone, keras.ops.convert_to_numpy(output), atol=1e-6)
        scores = keras.ops.convert_to_numpy(scores)
        np.testing.assert_allclose(a, scores[:, :, before : before + value.shape[1]], atol=1e-6)
        np.testing.assert_allclose(a.sum(), scores.sum(), rtol=1e-5)


def test_an_empty_window_is_a_zero_row(batch):
    """Where p_t lies more than D past the last key the weights are zero, and h̃ is tanh(W_c [0; h])."""
    (query, value, key), _ = batch(4, "none")
    layer = LuongAttention(UNITS, "general", "local_monotonic", 2)
    attended, a = layer([query, value, key], return_attention_scores=True, position=7 + 2)
    np.testing.assert_array_equal(0, keras.ops.convert_to_numpy(a))
    W_c = weights_of(layer)["W_c"]
    expected = np.tanh(query.astype("float64") @ W_c[value.shape[2] :])
    np.testing.assert_allclose(expected, keras.ops.convert_to_numpy(attended), atol=1e-5)


@pytest.mark.parametrize("alignment, window", [("global", None), *LOCAL])
def test_normalised_tells_whether_rows_sum_to_one(batch, alignment, window):
    """Rows sum to 1, but for the Gaussian of equation 10, under which they sum to less."""
    inputs, _ = batch(5, "none")
    layer = LuongAttention(UNITS, "general", alignment, window)
    _, a = layer(inputs, return_attention_scores=True)
    sums = keras.ops.convert_to_numpy(a).sum(axis=2)
    if layer.normalised:
        np.testing.assert_allclose(1, sums, atol=1e-6)
    else:
        assert alignment == "local_predictive"
        assert sums.max() < 1 - 1e-3


def test_long_series_keep_their_positions_in_half_precision():
    """In bfloat16, which has no 257, the window around key 509 is still keys 508 to 510."""
    layer = LuongAttention(2, "dot", "local_monotonic", 1, dtype="bfloat16")
    inputs = [np.zeros((1, 1, 1)), np.zeros((1, 601, 1))]
    _, a = layer(inputs, return_attention_scores=True, position=509)
    nonzero = np.flatnonzero(keras.ops.convert_to_numpy(keras.ops.cast(a, "float32")))
    np.testing.assert_array_equal([508, 509, 510], nonzero)


def test_the_weights_are_the_papers():
    """Each score and alignment has the weights that its equations name, and no others."""

    def shapes(**arguments):
        layer = LuongAttention(UNITS, **arguments)
        key_depth = 11 if arguments["score"] == "dot" else 13
        layer.build([(None, None, 11), (None, None, 17), (None, None, key_depth)])
        return {w.name: tuple(w.shape) for w in layer.weights}

    W_c = {"W_c": (17 + 11, UNITS)}
    assert W_c == shapes(score="dot")
    assert W_c | {"W_a": (11, 13)} == shapes(score="general")
    assert W_c | {"W_a": (11 + 13, UNITS), "v_a": (UNITS,)} == shapes(score="concat")
    assert W_c == shapes(score="dot", alignment="local_monotonic", window=2)
    predictive = {"W_p": (11, UNITS), "v_p": (UNITS,)}
    assert W_c | predictive == shapes(score="dot", alignment="local_predictive", window=2)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"units": 0}, "LuongAttention got units=0; pass a whole number of at least 1."),
        (
            {"score": "cosine"},
            "LuongAttention got score='cosine'; pass one of 'dot', 'general', 'concat'.",
        ),
        (
            {"alignment": "local"},
            "LuongAttention got alignment='local'; pass one of 'global', 'local_monotonic', "
            "'local_predictive'.",
        ),
        (
            {"window": 3},
            "LuongAttention got window=3 with alignment='global', which looks at every key; leave the window "
            "out, or pass alignment='local_monotonic' or 'local_predictive'.",
        ),
        *(
            (
                {"alignment": "local_monotonic", "window": window},
                f"LuongAttention got window={window!r}; pass a whole number of at least 1.",
            )
            for window in (None, 0, -2, 1.5, True)
        ),
    ],
)
def test_bad_arguments(arguments, sentence):
    """Each mistake gets one sentence that names the value and what to pass."""
    with pytest.raises(ValueError) as error:
        LuongAttention(**({"units": UNITS} | arguments))
    assert sentence == str(error.value)


def test_dot_wants_one_depth():
    """The dot product of two depths is refused before any weight is made."""
    with pytest.raises(
        ValueError, match="^LuongAttention got queries of depth 3 and keys of depth 5, and score='dot'"
    ):
        LuongAttention(UNITS, "dot")([np.zeros((2, 7, 3)), np.zeros((2, 11, 5))])


def test_a_position_is_a_scalar():
    """A position for each sample is refused: the layer would have to guess what it means."""
    layer = LuongAttention(UNITS, "dot", "local_monotonic", 1)
    with pytest.raises(
        ValueError, match=r"LuongAttention got a position of shape \(2,\); pass one integer\."
    ):
        layer([np.zeros((2, 7, 3)), np.zeros((2, 11, 3))], position=np.array([1, 2]))
