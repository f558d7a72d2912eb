"""Layers in their own words. Judges: keras-self-attention 0.51 and what the layers return when asked."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo

BATCH, STEPS, DEPTH = 3, 7, 5
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="keras-self-attention calls TensorFlow"
)


class Gate(keras.layers.Layer):
    """A sigmoid gate that follows Keras' convention, and ours."""

    normalised = False

    def call(self, x, return_attention_scores=False):
        w = ops.sigmoid(ops.mean(x, axis=1))
        return (x * w[:, None], w) if return_attention_scores else x * w[:, None]

    def attention_axes(self, shape):
        return {"kind": "step"}, {"kind": "channel"}


@on_tensorflow
@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
@pytest.mark.parametrize("returns", [False, True])
def test_keras_self_attention(x, numpy, model_of, kind, returns):
    """SeqSelfAttention, whether or not it returns its weights anyway; the layer is as it was."""
    from keras_self_attention import SeqSelfAttention

    layer = SeqSelfAttention(attention_type=kind, attention_width=3, return_attention=returns, name="ksa")
    model = model_of(layer)
    outputs, maps = zoo.attend(model, x)
    assert returns == layer.return_attention
    for mine, its in zip(keras.tree.flatten(outputs), keras.tree.flatten(model(x)), strict=True):
        np.testing.assert_allclose(mine, numpy(its), atol=1e-6)
    layer.return_attention = True
    np.testing.assert_allclose(numpy(layer(x)[1])[:, None], maps["ksa"].weights, atol=1e-6)


@on_tensorflow
def test_the_other_layers_of_keras_self_attention(x, model_of):
    """One query, and scaled dot-product."""
    from keras_self_attention import ScaledDotProductAttention, SeqWeightedAttention

    _, maps = zoo.attend(model_of(SeqWeightedAttention(name="weighted")), x)
    assert (BATCH, 1, 1, STEPS) == maps["weighted"].weights.shape
    _, maps = zoo.attend(model_of(ScaledDotProductAttention(name="scaled", history_only=True)), x)
    assert 0 == maps["scaled"].weights[..., 0, 1:].max()


def test_a_gate_speaks_for_itself(x, model_of):
    """No softmax, but scores when asked: its axes, and not normalised."""
    outputs, maps = zoo.attend(model_of(Gate(name="gate")), x)
    expected = 1 / (1 + np.exp(-x.mean(axis=1)))
    np.testing.assert_allclose(expected[:, None, None], maps["gate"].weights, atol=1e-6)
    np.testing.assert_allclose(x * expected[:, None], outputs, atol=1e-6)
    assert "channel" == maps["gate"].keys.kind
    assert not maps["gate"].normalised


def test_patches_have_their_grid(rng, model_of):
    """A layer that says its axes are patches gets a map over a grid, found through the layer inside it."""

    class Patches(keras.layers.Layer):
        normalised = True

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.layers.MultiHeadAttention(2, 3, name="inner")

        def build(self, shape):
            self.inner.build((shape[0], shape[1] * shape[2], shape[3]), (shape[0], 6, shape[3]))

        def call(self, x, return_attention_scores=False):
            shape = ops.shape(x)
            x = ops.reshape(x, (-1, shape[1] * shape[2], shape[3]))
            y, a = self.inner(x, x, return_attention_scores=True) if return_attention_scores else (0, 0)
            y = y if return_attention_scores else self.inner(x, x)
            y = ops.reshape(y, (-1, *shape[1:]))
            return (y, a) if return_attention_scores else y

        def attention_axes(self, shape):
            return ({"kind": "patch", "grid": shape[1:3]},) * 2

    x = rng.normal(size=(BATCH, 2, 3, DEPTH)).astype("float32")
    _, maps = zoo.attend(model_of(Patches(name="patches"), (2, 3, DEPTH)), x)
    assert ["patches"] == list(maps)
    assert (BATCH, 2, 6, 6) == maps["patches"].weights.shape
    assert ("patch", (2, 3)) == (maps["patches"].queries.kind, maps["patches"].queries.grid)


def test_a_layer_registered_in_one_line(x, model_of):
    """Weights that no hook sees, read by a function of the user's."""

    class Mean(keras.layers.Layer):
        def call(self, x):
            return ops.mean(x, axis=1)

    zoo.capture.register(Mean, lambda call, x: (call(x), ops.full(x.shape[:2], 1 / x.shape[1])))
    outputs, maps = zoo.attend(model_of(Mean(name="mean")), x)
    np.testing.assert_allclose(1 / STEPS, maps["mean"].weights, atol=1e-6)
    np.testing.assert_allclose(x.mean(axis=1), outputs, atol=1e-6)


def test_a_layer_that_only_answers_is_changed_inside(x, numpy, model_of, gradients_by_weights):
    """Its weights are reshaped before they are returned: what takes their place does so before that."""
    model = model_of(Gate(name="gate"))
    with zoo.capture(model, replace={"gate": lambda a: a / 2}) as seen:
        y = model(x)
    gates = 1 / (1 + np.exp(-x.mean(axis=1)))
    np.testing.assert_allclose(gates[:, None, None] / 2, seen.maps["gate"].weights, atol=1e-6)
    np.testing.assert_allclose(x * gates[:, None] / 2, numpy(y), atol=1e-6)
    gradient = gradients_by_weights(ops.sum, model, x, "gate")
    np.testing.assert_allclose(x.sum(axis=1)[:, None, None], gradient, atol=1e-5)


@on_tensorflow
@pytest.mark.parametrize("kind", ["additive", "multiplicative", "weighted", "scaled"])
def test_the_weights_of_keras_self_attention_are_changed(x, numpy, model_of, gradients_by_weights, kind):
    """Σ_j a_ij x_j of other weights a, and the gradient of its sum."""
    import keras_self_attention as ksa

    layer = {"weighted": ksa.SeqWeightedAttention, "scaled": ksa.ScaledDotProductAttention}.get(kind)
    layer = layer(name="a") if layer else ksa.SeqSelfAttention(attention_type=kind, name="a")
    model = model_of(layer)
    _, maps = zoo.attend(model, x)
    with zoo.capture(model, replace={"a": lambda a: ops.flip(a, axis=-1)}) as seen:
        y = numpy(model(x))
    np.testing.assert_allclose(maps["a"].weights[..., ::-1], seen.maps["a"].weights, atol=1e-6)
    expected = np.einsum("bhqk,bkd->bqd", maps["a"].weights[..., ::-1], x)
    np.testing.assert_allclose(expected.reshape(y.shape), y, atol=1e-5)
    gradient = gradients_by_weights(ops.sum, model, x, "a")
    expected = np.broadcast_to(x.sum(axis=-1)[:, None, None], gradient.shape)
    np.testing.assert_allclose(expected, gradient, atol=1e-5)


def test_a_decoder_is_one_map_and_its_steps_on_request(rng):
    """The forecaster's decoder speaks for its attention; chosen by its path, that is read by steps."""
    x = rng.normal(size=(BATCH, 11, 3)).astype("float32")
    model = zoo.models.lstm_forecaster(11, 3, 2, units=5)
    _, maps = zoo.attend(model, x)
    assert ["decoder"] == list(maps)
    assert (BATCH, 1, 2, 11) == maps["decoder"].weights.shape
    _, steps = zoo.attend(model, x, layers=["decoder/attention", "decoder/attention#2"])
    for t, one in enumerate(steps.values()):
        np.testing.assert_allclose(maps["decoder"].weights[:, :, t], one.weights[:, :, 0], atol=1e-6)
