"""Judges: keras-self-attention 0.51 on TensorFlow; on every backend its arithmetic, restated in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from zoo.layers import SeqWeightedAttention, convert_keras_self_attention_weights


def reference(x, valid, W, b, legacy):
    """keras-self-attention's numbers; not `legacy`, the softmax over valid steps."""
    e = (x @ W)[..., 0] + b
    valid = np.ones(e.shape, bool) if valid is None else valid
    e = e - 10000.0 * ~valid
    a = np.exp(e - e.max(axis=1, keepdims=True)) * (valid | legacy)
    total = a.sum(axis=1, keepdims=True)
    a = a / np.where(total == 0, 1, total)
    return np.einsum("bj,bjd->bd", a, x), a


def draw(batch, length, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, length, 7)).astype("float32")
    return x, rng.random((batch, length)) < 0.6, rng.normal(size=(7, 1)), rng.normal(size=1)


def array(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(2, 13), st.booleans(), st.booleans(), st.integers(0, 99))
def test_equals_the_reference(batch, length, masked, legacy, seed):
    """Output and weights, masked or not, series without a valid step included."""
    x, valid, W, b = draw(batch, length, seed)
    valid = valid if masked else None
    layer = SeqWeightedAttention(legacy_masking=legacy)
    layer.build(x.shape)
    layer.set_weights([W, b])
    found = layer(x, mask=valid, return_attention_scores=True)
    for one, other in zip(reference(x, valid, W, b, legacy), found, strict=True):
        # The penalty of 10000 rounds float32 scores to 0.001, which shows where every step is masked.
        np.testing.assert_allclose(one, array(other), atol=2e-3 if legacy and masked else 1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="keras-self-attention runs there alone")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_is_the_package(masked, use_bias):
    """With copied weights the package's numbers to 1e-5: without a mask always, with one in its masking."""
    from keras_self_attention import SeqWeightedAttention as Theirs

    x, valid, W, b = draw(5, 11, 3)
    valid[0] = False
    theirs = Theirs(use_bias=use_bias, return_attention=True)
    theirs.build(x.shape)
    theirs.set_weights([W, b][: 1 + use_bias])
    for legacy in [True] if masked else [True, False]:
        ours = SeqWeightedAttention(use_bias=use_bias, return_attention=True, legacy_masking=legacy)
        ours.build(x.shape)
        convert_keras_self_attention_weights(theirs, ours)
        mask = valid if masked else None
        for one, other in zip(theirs(x, mask=mask), ours(x, mask=mask), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_padding_has_no_weight(gradients):
    """Padding gets exactly 0, a series without a valid step zeros, and gradients are finite."""
    x, valid, W, b = draw(5, 11, 3)
    valid[0] = False
    layer = SeqWeightedAttention()
    layer.build(x.shape)
    layer.set_weights([W, b])
    v, a = layer(x, mask=valid, return_attention_scores=True)
    np.testing.assert_array_equal(0, array(a)[~valid])
    np.testing.assert_array_equal(0, array(v)[0])
    found = gradients(lambda: ops.sum(layer(x, mask=valid) ** 2), layer)
    assert all(np.isfinite(g).all() for g in found)
    assert np.abs(found[0]).max() > 1e-3


def test_compiled_saved_and_of_unknown_length(compiled, tmp_path):
    """The compiler, a `.keras` file and a model of unknown batch and length change nothing."""
    x, valid, *_ = draw(5, 11, 3)
    x[~valid] = 0
    layer = SeqWeightedAttention(return_attention=True)
    expected = layer(x, mask=valid)
    i = keras.Input((None, 7))
    model = keras.Model(i, layer(keras.layers.Masking()(i)))
    model.save(tmp_path / "model.keras")
    tensors = ops.convert_to_tensor(x), ops.convert_to_tensor(valid)
    results = [compiled(lambda x, m: layer(x, mask=m))(*tensors)]
    results += [m.predict(x, verbose=0) for m in (model, keras.saving.load_model(tmp_path / "model.keras"))]
    for found in results:
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(array(one), array(other), atol=1e-6)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("legacy", [False, True])
def test_half_precision(policy, legacy):
    """Results are in the policy's type and near those of float32."""
    x, valid, W, b = draw(5, 11, 3)
    full, half = (
        SeqWeightedAttention(legacy_masking=legacy),
        SeqWeightedAttention(legacy_masking=legacy, dtype=policy),
    )
    for layer in (full, half):
        layer.build(x.shape)
        layer.set_weights([W, b])
    expected, found = (layer(x, mask=valid, return_attention_scores=True) for layer in (full, half))
    for one, other in zip(expected, found, strict=True):
        assert keras.DTypePolicy(policy).compute_dtype == keras.backend.standardize_dtype(other.dtype)
        np.testing.assert_allclose(array(one), array(other), atol=0.06 if "bfloat16" in policy else 0.01)


def test_bad_inputs():
    """One sentence gives the shapes found and wanted."""
    with pytest.raises(
        ValueError, match=r"^SeqWeightedAttention got an input of shape \(2, 3\); pass one tensor of"
    ):
        SeqWeightedAttention()(np.zeros((2, 3), "float32"))
    with pytest.raises(
        ValueError, match=r"a mask of shape \(2, 5\) for an input of shape \(2, 3, 7\); pass one of"
    ):
        SeqWeightedAttention()(np.zeros((2, 3, 7), "float32"), mask=np.ones((2, 5), bool))
