"""A softmax that is not attention never comes out. Judge: the models are built to have none, or one."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo

STEPS, DEPTH, HEADS = 7, 5, 2


class Router(keras.layers.Layer):
    """A dense mixture of experts: answers weighted by a softmax over a Dense layer's outputs."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how
        self.gate = keras.layers.Dense(3, activation="softmax" if how == "activation" else None)
        self.experts = [keras.layers.Dense(DEPTH) for _ in range(3)]

    def build(self, shape):
        for layer in (self.gate, *self.experts):
            layer.build(shape)

    def call(self, x):
        w = self.gate(x)
        if self.how == "einsum":
            w = ops.softmax(w / 0.7)
        if self.how == "temperature and sum":
            w = ops.softmax(ops.cast(w, "float32") * 2.0, axis=-1)
        y = ops.stack([expert(x) for expert in self.experts], axis=-2)
        if self.how == "temperature and sum":
            return ops.sum(w[..., None] * y, axis=-2)
        return ops.einsum("bte,bted->btd", w, y)


@pytest.mark.parametrize("how", ["activation", "einsum", "temperature and sum"])
def test_a_router_is_no_attention(x, how):
    """It is named among the missing, with the reason."""
    inputs = keras.Input((STEPS, DEPTH))
    y = keras.layers.MultiHeadAttention(HEADS, 3, name="mh")(inputs, inputs)
    _, maps = zoo.attend(keras.Model(inputs, Router(how, name="router")(y)), x)
    assert ["mh"] == list(maps)
    assert any("router" in reason for reason in maps.missing.values())


LOGITS = {
    "top-k mask": lambda g: ops.where(g >= ops.top_k(g, 2)[0][..., -1:], g, -1e9),
    "largest two": lambda g: ops.top_k(g, 2)[0],
    "noise": lambda g: g + keras.random.normal(ops.shape(g), seed=3),
    "tanh": ops.tanh,
    "relu": ops.relu,
    "clip": lambda g: ops.clip(g, -1, 1),
    "stop gradient": ops.stop_gradient,
    "largest subtracted": lambda g: g - ops.max(g, axis=-1, keepdims=True),
    "normalised": lambda g: (g - ops.mean(g, -1, keepdims=True)) / (ops.std(g, -1, keepdims=True) + 1e-3),
}


@pytest.mark.parametrize("how", LOGITS)
@pytest.mark.parametrize("product", ["dense", "dot", "cast"])
def test_whatever_is_done_to_a_routers_logits(x, how, product):
    """They stay outputs of a weight matrix, and no keys."""

    class Mixture(keras.layers.Layer):
        def build(self, shape):
            self.W = self.add_weight(shape=(DEPTH, 3))

        def call(self, x):
            if product == "dot":
                g = ops.dot(x, self.W)
            else:
                g = ops.matmul(x, self.W if product == "dense" else ops.cast(self.W, x.dtype) / 2)
            w = ops.softmax(LOGITS[how](g))
            experts = ops.stack([x, 2 * x, 3 * x][: w.shape[-1]], axis=-2)
            return ops.einsum("bte,bted->btd", w, experts)

    inputs = keras.Input((STEPS, DEPTH))
    y = keras.layers.MultiHeadAttention(HEADS, 3, name="mh")(inputs, inputs)
    _, maps = zoo.attend(keras.Model(inputs, Mixture(name="router")(y)), x)
    assert (["mh"], ["router"]) == (list(maps), list(maps.missing))


def test_weights_that_met_no_values_are_missing_by_name(x):
    """A softmax that is lost on the way to its values is not lost from the result."""

    class Lost(keras.layers.Layer):
        def call(self, x):
            w = ops.softmax(ops.matmul(x, ops.swapaxes(x, 1, 2)))
            return ops.matmul(ops.concatenate([w, w], axis=-1), ops.concatenate([x, x], axis=1))

    inputs = keras.Input((STEPS, DEPTH))
    y = keras.layers.MultiHeadAttention(HEADS, 3, name="mh")(inputs, inputs)
    _, maps = zoo.attend(keras.Model(inputs, Lost(name="lost")(y)), x)
    assert (["mh"], ["lost"]) == (list(maps), list(maps.missing))
    assert "meets its values was not seen" in maps.missing["lost"]


def test_nothing_but_the_uncapturable(x):
    """Where there is attention, but none that can be read, the error says why."""

    class Mapped(keras.layers.Layer):
        def call(self, x):
            return ops.map(lambda one: ops.matmul(ops.softmax(one @ ops.transpose(one)), one), x)

    inputs = keras.Input((STEPS, DEPTH))
    with pytest.raises(ValueError, match="No attention of the model .* could be read: mapped: it ran inside"):
        zoo.attend(keras.Model(inputs, Mapped(name="mapped")(inputs)), x)


@pytest.mark.parametrize("after", [False, True], ids=["at the end", "read by a Dense layer"])
def test_a_classifier_is_no_attention(x, after):
    """A softmax over classes, whether or not another layer reads it."""
    inputs = keras.Input((STEPS, DEPTH))
    y = keras.layers.MultiHeadAttention(HEADS, 3, name="mh")(inputs, inputs)
    y = keras.layers.Dense(7, activation="softmax")(keras.layers.GlobalAveragePooling1D()(y))
    model = keras.Model(inputs, keras.layers.Dense(2)(y) if after else y)
    assert ["mh"] == list(zoo.attend(model, x)[1])


def test_a_softmax_of_hidden_units_is_no_attention(x):
    """A softmax over time whose result only a weight matrix reads has no values."""
    inputs = keras.Input((STEPS, DEPTH))
    y = keras.layers.MultiHeadAttention(HEADS, 3, name="mh")(inputs, inputs)
    y = keras.layers.Softmax(axis=1)(y)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(y)))
    assert ["mh"] == list(zoo.attend(model, x)[1])


def test_a_model_without_attention_says_so():
    """Nothing to read is an error, not an empty result."""
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2, activation="softmax")(x), name="m")
    with pytest.raises(ValueError, match="^The model 'm' has no layer that attends"):
        zoo.attend(model, np.ones((1, 3), "float32"))


def test_a_layer_that_cannot_be_captured_is_missing_by_name(x):
    """Weights computed past Keras' functions, and a layer that was not called."""

    class ByHandAttention(keras.layers.Layer):
        def call(self, x):
            e = ops.exp(x @ ops.transpose(x, (0, 2, 1)))
            return (e / ops.sum(e, axis=-1, keepdims=True)) @ x

    class Both(keras.Model):
        def __init__(self):
            super().__init__()
            self.a = keras.layers.MultiHeadAttention(HEADS, 3, name="a")
            self.b = ByHandAttention(name="b")
            self.c = keras.layers.Attention(name="c")

        def call(self, x):
            return self.b(self.a(x, x))

    model = Both()
    model(x)
    _, maps = zoo.attend(model, x)
    assert ["a"] == list(maps)
    assert {"b", "c"} == set(maps.missing)
    assert "not called" in maps.missing["c"]
    assert "return_attention_scores" in maps.missing["b"]
