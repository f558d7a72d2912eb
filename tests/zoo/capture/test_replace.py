"""Other weights in place of a layer's, and gradients by them. Judge: NumPy, with the layer's projections."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo

BATCH, STEPS, DEPTH, HEADS = 3, 7, 5, 2


def by_numpy(layer, x, a, numpy):
    """The output of a MultiHeadAttention whose weights are `a`."""
    *_, value, value_bias, projection, bias = (numpy(w.value) for w in layer.weights)
    v = np.einsum("bsd,dhe->bshe", x, value) + value_bias
    return np.einsum("bhqk,bkhe,hed->bqd", a, v, projection) + bias


@pytest.mark.parametrize("dropout", [0.0, 0.4], ids=["fused", "unfused"])
@pytest.mark.parametrize("how", ["permuted", "uniform", "zeroed"])
def test_the_output_is_that_of_the_other_weights(x, numpy, self_attention, dropout, how):
    """The map shows what took the place."""
    model, layer = self_attention(dropout=dropout)
    _, maps = zoo.attend(model, x)
    f = {
        "permuted": lambda a: ops.flip(a, axis=-1),
        "uniform": lambda a: ops.ones_like(a) / STEPS,
        "zeroed": ops.zeros_like,
    }[how]
    a = numpy(f(ops.convert_to_tensor(maps["mh"].weights)))
    with zoo.capture(model, replace={"mh": f}) as seen:
        y = model(x)
    np.testing.assert_allclose(a, seen.maps["mh"].weights, atol=1e-6)
    np.testing.assert_allclose(by_numpy(layer, x, a, numpy), numpy(y), atol=1e-5)


def test_one_call_of_a_shared_layer(x, numpy):
    """`mh#2` is the second call alone."""
    inputs = keras.Input((STEPS, DEPTH))
    layer = keras.layers.MultiHeadAttention(HEADS, 3, name="mh")
    model = keras.Model(inputs, layer(*[layer(inputs, inputs)] * 2))
    with zoo.capture(model, replace={"mh#2": ops.zeros_like}) as seen:
        model(x)
    assert 0 == seen.maps["mh#2"].weights.max()
    assert 0 < seen.maps["mh"].weights.min()


def test_weights_that_are_multiplied_and_summed(x, numpy):
    """Attention pooling: Σ_t w_t x_t."""
    inputs = keras.Input((STEPS, DEPTH))
    w = keras.layers.Softmax(axis=1, name="w")(keras.layers.Dense(1)(inputs))
    model = keras.Model(inputs, ops.sum(w * inputs, axis=1))
    with zoo.capture(model, replace={"w": lambda a: ops.ones_like(a) / STEPS}) as seen:
        y = model(x)
    np.testing.assert_allclose(x.mean(axis=1), numpy(y), atol=1e-6)
    np.testing.assert_allclose(1 / STEPS, seen.maps["w"].weights, atol=1e-6)


def gradients(loss, model, x):
    """d loss / d weights of `mh`, and the weights, by the backend's own means."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape, zoo.capture(model, differentiable=True) as seen:
            result = loss(model(x))
        return tape.gradient(result, seen.weights["mh"]).numpy(), seen.weights["mh"].numpy()
    if keras.backend.backend() == "torch":
        import torch

        with zoo.capture(model, differentiable=True) as seen:
            result = loss(model(x))
        (gradient,) = torch.autograd.grad(result, seen.weights["mh"])
        return gradient.numpy(), seen.weights["mh"].detach().numpy()
    import jax

    a = zoo.attend(model, x)[1]["mh"].weights

    def of_weights(a):
        with zoo.capture(model, replace={"mh": lambda _: a}):
            return loss(model(x))

    return np.asarray(jax.grad(of_weights)(a)), a


@pytest.mark.parametrize("dropout", [0.0, 0.4], ids=["fused", "unfused"])
def test_gradients_by_the_weights(x, numpy, self_attention, dropout):
    """Of Σ y²/2: y_qd · Σ_e v_khe W_hed, by NumPy."""
    model, layer = self_attention(dropout=dropout)
    gradient, a = gradients(lambda y: ops.sum(y * y) / 2, model, x)
    *_, value, value_bias, projection, _ = (numpy(w.value) for w in layer.weights)
    v = np.einsum("bsd,dhe->bshe", x, value) + value_bias
    expected = np.einsum("bqd,bkhe,hed->bhqk", by_numpy(layer, x, a, numpy), v, projection)
    np.testing.assert_allclose(expected, gradient, atol=1e-4)


def test_another_shape_is_an_error(x, self_attention):
    """One sentence, without the arguments of layers."""
    model, _ = self_attention()
    message = r"^What replaces the weights of mh has the shape .*\.$"
    with pytest.raises(ValueError, match=message), zoo.capture(model, replace={"mh": lambda a: a[:, :1]}):
        model(x)


def test_an_unknown_path_is_an_error(x, self_attention):
    """A replacement that takes no place must not go unnoticed."""
    model, _ = self_attention()
    message = "no attention at nowhere, only at mh"
    with pytest.raises(ValueError, match=message), zoo.capture(model, replace={"nowhere": ops.zeros_like}):
        model(x)


class Renormalised(keras.layers.Layer):
    """Weights that are masked and made to sum to 1 again, or summed twice."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def call(self, x):
        w = ops.softmax(ops.matmul(x, ops.swapaxes(x, 1, 2)))
        if self.how == "renormalised":
            w = w * ops.tril(ops.ones((STEPS, STEPS)))
            w = w / ops.sum(w, axis=-1, keepdims=True)
        if self.how == "entropy":
            self.add_loss(-ops.mean(ops.sum(w * ops.log(w), axis=-1)))
        y = ops.matmul(w, x)
        return y + ops.einsum("bts,bsd->btd", w, 2 * x) if self.how == "twice" else y


@pytest.mark.parametrize("how", ["renormalised", "entropy", "twice"])
def test_one_softmax_is_one_map_however_it_is_summed(x, numpy, how):
    """Sums on the way are no values, and what takes the place of the weights does so everywhere."""
    inputs = keras.Input((STEPS, DEPTH))
    model = keras.Model(inputs, Renormalised(how, name="rn")(inputs))
    _, maps = zoo.attend(model, x)
    assert ["rn"] == list(maps)
    np.testing.assert_allclose(1, maps["rn"].weights.sum(-1), atol=1e-5)
    with zoo.capture(model, replace={"rn": ops.zeros_like}) as seen:
        y = model(x)
    assert 0 == np.abs(numpy(y)).max() == seen.maps["rn"].weights.max()


def test_values_of_the_weights_own_shape(x):
    """Attention of every feature over time is a map, whose weights nothing can take the place of."""

    class Features(keras.layers.Layer):
        def call(self, x):
            return ops.sum(ops.softmax(x, axis=1) * x, axis=1)

    inputs = keras.Input((STEPS, DEPTH))
    model = keras.Model(inputs, Features(name="features")(inputs))
    _, maps = zoo.attend(model, x)
    assert ["features"] == list(maps)
    sentence = "The weights of features are multiplied by values of their own shape"
    with pytest.raises(ValueError, match=sentence), zoo.capture(model, replace={"features": ops.zeros_like}):
        model(x)


def test_what_gradients_cannot_pass_through_is_said(x, self_attention):
    """Chosen heads, samples and a resolution leave the output to other weights; loops and answers too."""
    model, _ = self_attention()
    for options in ({"heads": 0}, {"samples": [0]}, {"resolution": 3}):
        with pytest.raises(ValueError, match="Gradients pass through whole maps alone"):
            zoo.capture(model, differentiable=True, **options)
    image = keras.Input((3, 5, 4))
    gates = keras.Model(image, zoo.layers.SqueezeExcite(2, name="gates")(image))
    picture = np.ones((1, 3, 5, 4), "float32")
    for options in ({"differentiable": True}, {"replace": {"gates": ops.zeros_like}}):
        with pytest.raises(ValueError, match="nothing can take their place"), zoo.capture(gates, **options):
            gates(picture)
