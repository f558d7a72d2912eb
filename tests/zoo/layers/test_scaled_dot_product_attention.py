"""Judges: keras-self-attention 0.51 on TensorFlow; on every backend equation 1 of Vaswani 2017 in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from zoo.layers import ScaledDotProductAttention
from zoo.layers.query_blocks import in_query_blocks


def reference(query, key, value, query_valid, key_valid, history_only):
    """softmax(QKᵀ/√d)V over the allowed keys, one row at a time."""
    a = np.zeros((len(query), query.shape[1], key.shape[1]))
    for b, i in np.ndindex(a.shape[:2]):
        seen = key_valid[b] & query_valid[b, i] & ((np.arange(a.shape[2]) <= i) | (not history_only))
        if seen.any():
            e = key[b, seen] @ query[b, i] / np.sqrt(query.shape[2])
            a[b, i, seen] = np.exp(e - e.max()) / np.exp(e - e.max()).sum()
    return a @ value, a


def draw(batch, queries, keys, seed):
    rng = np.random.default_rng(seed)
    sizes = [(queries, 5), (keys, 5), (keys, 7)]
    inputs = [rng.normal(size=(batch, *size)).astype("float32") for size in sizes]
    return inputs, [rng.random((batch, n)) < 0.6 for n in (queries, keys)]


def array(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 11), st.integers(2, 13), st.booleans(), st.integers(0, 99))
def test_equals_the_reference(batch, queries, keys, history_only, seed):
    """Output and weights at random shapes and masks, rows without any key included."""
    inputs, (query_valid, key_valid) = draw(batch, queries, keys, seed)
    layer = ScaledDotProductAttention(history_only=history_only)
    found = layer(inputs, mask=[query_valid, key_valid, None], return_attention_scores=True)
    expected = reference(*inputs, query_valid, key_valid, history_only)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, array(other), atol=1e-5)


@pytest.mark.parametrize("history_only", [False, True])
def test_blocks_change_nothing(history_only, monkeypatch):
    """Cut into blocks, of one tensor with a mask, the results are those of one piece."""
    (x, *_), (valid, _) = draw(3, 11, 2, 3)
    expected = reference(x, x, x, valid, valid, history_only)
    small = lambda f, q, k, w, floats: in_query_blocks(f, q, k, w, floats, budget=4 * 3 * floats)  # noqa: E731
    monkeypatch.setattr("zoo.layers.scaled_dot_product_attention.in_query_blocks", small)
    layer = ScaledDotProductAttention(history_only=history_only, return_attention=True)
    for one, other in zip(expected, layer(x, mask=valid), strict=True):
        np.testing.assert_allclose(one, array(other), atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="keras-self-attention runs there alone")
@pytest.mark.parametrize("history_only", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_is_the_package(history_only, masked):
    """The package's numbers to 1e-5: without a mask always, with one in its masking."""
    from keras_self_attention import ScaledDotProductAttention as Theirs

    arguments = {"return_attention": True, "history_only": history_only}
    inputs, (query_valid, key_valid) = draw(3, 11, 13, 3)
    key_valid[0] = False
    theirs = Theirs(**arguments)
    for legacy in [True] if masked else [True, False]:
        ours = ScaledDotProductAttention(legacy_masking=legacy, **arguments)
        for x, mask in [(inputs, [query_valid, key_valid, None]), (inputs[1], key_valid)]:
            mask = mask if masked else None
            for one, other in zip(theirs(x, mask=mask), ours(x, mask=mask), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-5)


def test_compiled_saved_and_of_unknown_length(compiled, tmp_path):
    """The compiler, a `.keras` file and a model of unknown batch and length change nothing."""
    inputs, (query_valid, key_valid) = draw(3, 11, 13, 3)
    mask = [query_valid, key_valid, key_valid]
    for x, valid in zip(inputs, mask, strict=True):
        x[~valid] = 0
    layer = ScaledDotProductAttention(return_attention=True, history_only=True)
    expected = layer(inputs, mask=mask)
    tensors = [keras.Input((None, x.shape[2])) for x in inputs]
    model = keras.Model(tensors, layer([keras.layers.Masking()(x) for x in tensors]))
    model.save(tmp_path / "model.keras")
    given = [ops.convert_to_tensor(x) for x in (*inputs, *mask)]
    results = [compiled(lambda *t: layer(list(t[:3]), mask=list(t[3:])))(*given)]
    results += [
        m.predict(inputs, verbose=0) for m in (model, keras.saving.load_model(tmp_path / "model.keras"))
    ]
    for found in results:
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(array(one), array(other), atol=1e-5)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("legacy", [False, True])
def test_half_precision(policy, legacy):
    """Results are in the policy's type and near those of float32."""
    inputs, mask = draw(3, 11, 13, 3)
    arguments = {"legacy_masking": legacy, "history_only": True}
    full, half = ScaledDotProductAttention(**arguments), ScaledDotProductAttention(dtype=policy, **arguments)
    results = (layer(inputs, mask=[*mask, None], return_attention_scores=True) for layer in (full, half))
    for one, other in zip(*results, strict=True):
        assert keras.DTypePolicy(policy).compute_dtype == keras.backend.standardize_dtype(other.dtype)
        np.testing.assert_allclose(array(one), array(other), atol=0.06 if "bfloat16" in policy else 0.01)


def test_bad_inputs():
    """One sentence gives the shapes found and wanted."""
    two = [np.zeros((2, 3, 5), "float32")] * 2
    with pytest.raises(
        ValueError, match=r"got inputs of shapes \(2, 3, 5\), \(2, 3, 5\); pass one tensor or \[query"
    ):
        ScaledDotProductAttention()(two)
    depths = [np.zeros((2, 3, depth), "float32") for depth in (5, 7, 7)]
    with pytest.raises(ValueError, match=r"got queries of depth 5 and keys of depth 7; pass one depth"):
        ScaledDotProductAttention()(depths)


THREE = (
    "ScaledDotProductAttention got three inputs and a mask that is not a list of three; pass "
    "mask=[query_mask, key_mask, value_mask], each of which may be None."
)


@pytest.mark.parametrize(
    "sentence, mask",
    [
        (THREE, np.ones((2, 3), bool)),
        (THREE, [None, None]),
        (
            "ScaledDotProductAttention got a value mask of shape (2, 3) for a value of shape (2, 7, 5); pass "
            "one of shape (2, 7).",
            [None, None, np.ones((2, 3), bool)],
        ),
    ],
)
def test_bad_masks(sentence, mask):
    """One sentence asks for as many masks as inputs, in their order, each of its input's shape."""
    inputs = [np.zeros((2, length, 5), "float32") for length in (3, 7, 7)]
    with pytest.raises(ValueError) as error:
        ScaledDotProductAttention()(inputs, mask=mask)
    assert sentence in str(error.value)
