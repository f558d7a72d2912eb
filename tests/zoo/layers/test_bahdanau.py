"""Judge: equations 5 and 6 and appendix A.1.2 of Bahdanau 2014, in NumPy, and a truth made by hand."""

import keras
import numpy as np
import pytest

from zoo.layers import BahdanauAttention

UNITS = 19


def reference(query, value, key, query_mask, value_mask, W, U, v):
    """Bahdanau 2014, equations 5 and 6 and the alignment model of appendix A.1.2, one number at a time."""
    (batch, queries), keys = query.shape[:2], key.shape[1]
    context, a = np.zeros((batch, queries, value.shape[2])), np.zeros((batch, queries, keys))
    for b in range(batch):
        valid = range(keys) if value_mask is None else np.flatnonzero(value_mask[b])
        for i in range(queries):
            if len(valid) == 0 or (query_mask is not None and not query_mask[b, i]):
                continue
            e = {j: v @ np.tanh(query[b, i] @ W + key[b, j] @ U) for j in valid}
            total = sum(np.exp(e_j) for e_j in e.values())
            for j in valid:
                a[b, i, j] = np.exp(e[j]) / total
                context[b, i] += a[b, i, j] * value[b, j]
    return context, a


def weights_of(layer):
    return {w.name: keras.ops.convert_to_numpy(w.value).astype("float64") for w in layer.weights}


@pytest.mark.parametrize("masks", ["none", "random", "prefix", "suffix"])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_reference(batch, seed, masks):
    """Context and weights are those of the paper's equations, whatever is masked."""
    inputs, mask = batch(seed, masks)
    layer = BahdanauAttention(UNITS)
    context, a = layer(inputs, mask=mask, return_attention_scores=True)
    exact = [x.astype("float64") for x in inputs]
    expected_context, expected_a = reference(*exact, *mask, **weights_of(layer))
    np.testing.assert_allclose(expected_a, keras.ops.convert_to_numpy(a), atol=1e-5)
    np.testing.assert_allclose(expected_context, keras.ops.convert_to_numpy(context), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_without_a_key_the_value_is_the_key(batch, seed):
    """`[query, value]` is `[query, value, value]`."""
    (query, value, _), mask = batch(seed)
    layer = BahdanauAttention(UNITS)
    context = layer([query, value], mask=mask)
    expected, _ = reference(*(x.astype("float64") for x in (query, value, value)), *mask, **weights_of(layer))
    np.testing.assert_allclose(expected, keras.ops.convert_to_numpy(context), atol=1e-5)


def test_hand_made_truth():
    """With W = 0, U = 1 and v = 1/tanh(1) the keys 0 and 1 score 0 and 1: weights 1/(1+e) and e/(1+e)."""
    layer = BahdanauAttention(1)
    layer.build([(1, 1, 1), (1, 2, 1), (1, 2, 1)])
    layer.set_weights([np.array([[0.0]]), np.array([[1.0]]), np.array([1 / np.tanh(1)])])
    query, value, key = np.array([[[5.0]]]), np.array([[[10.0], [20.0]]]), np.array([[[0.0], [1.0]]])
    context, a = layer([query, value, key], return_attention_scores=True)
    e = np.e
    np.testing.assert_allclose([[[1 / (1 + e), e / (1 + e)]]], keras.ops.convert_to_numpy(a), rtol=1e-6)
    np.testing.assert_allclose([[[(10 + 20 * e) / (1 + e)]]], keras.ops.convert_to_numpy(context), rtol=1e-6)


def test_the_weights_are_the_papers():
    """W, U and v, without biases; W and U start out different even where their shapes agree."""
    layer = BahdanauAttention(UNITS)
    layer.build([(None, None, 7), (None, None, 7)])
    weights = weights_of(layer)
    assert {"W": (7, UNITS), "U": (7, UNITS), "v": (UNITS,)} == {name: w.shape for name, w in weights.items()}
    assert np.abs(weights["W"] - weights["U"]).max() > 0.1


def test_the_rows_sum_to_one(batch):
    """The layer says that its weights are normalised, and they are."""
    inputs, _ = batch(0, "none")
    layer = BahdanauAttention(UNITS)
    _, a = layer(inputs, return_attention_scores=True)
    assert layer.normalised
    np.testing.assert_allclose(1, keras.ops.convert_to_numpy(a).sum(axis=2), atol=1e-6)


@pytest.mark.parametrize("units", [0, -1, 2.5, True, "7", None])
def test_units_must_be_a_positive_whole_number(units):
    """The sentence names the argument and its value."""
    with pytest.raises(ValueError, match=rf"^BahdanauAttention got units={units!r}; pass a whole number"):
        BahdanauAttention(units)
