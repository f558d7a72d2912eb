"""Captured weights are the layer's own. Judges: what Keras' layers return when asked; NumPy beside."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo

BATCH, STEPS, KEYS, DEPTH, HEADS = 3, 7, 11, 5, 2


def padded(x):
    """The last two steps of the first sample are padding."""
    mask = np.ones(x.shape[:2], bool)
    mask[0, -2:] = False
    return mask


@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["fused", "unfused"])
@pytest.mark.parametrize("causal", [False, True])
def test_weights_times_values_projected_are_the_output(x, numpy, dropout, causal):
    """softmax(q kᵀ) v W_o from the captured weights and the layer's own projections, by NumPy."""
    inputs = keras.Input((STEPS, DEPTH))
    layer = keras.layers.MultiHeadAttention(HEADS, 3, dropout=dropout, name="mh")
    model = keras.Model(inputs, layer(inputs, inputs, use_causal_mask=causal))
    outputs, maps = zoo.attend(model, x)
    *_, value, value_bias, projection, bias = (numpy(w.value) for w in layer.weights)
    v = np.einsum("bsd,dhe->bshe", x, value) + value_bias
    context = np.einsum("bhqk,bkhe->bqhe", maps["mh"].weights, v)
    np.testing.assert_allclose(np.einsum("bqhe,hed->bqd", context, projection) + bias, outputs, atol=1e-5)
    assert (BATCH, HEADS, STEPS, STEPS) == maps["mh"].weights.shape
    assert maps["mh"].normalised


@pytest.mark.parametrize("heads", [1, STEPS])
def test_causal_attention_of_any_number_of_heads(x, numpy, heads):
    """Rows are counted along the queries: judge, Keras' own scores and outputs."""
    inputs = keras.Input((STEPS, DEPTH))
    layer = keras.layers.MultiHeadAttention(heads, 3, name="mh")
    model = keras.Model(inputs, layer(inputs, inputs, use_causal_mask=True))
    expected, scores = layer(x, x, use_causal_mask=True, return_attention_scores=True)
    for resolution in (None, STEPS - 1):
        outputs, _ = zoo.attend(model, x, resolution=resolution)
        np.testing.assert_allclose(numpy(expected), outputs, atol=1e-5)
    np.testing.assert_allclose(numpy(scores), zoo.attend(model, x)[1]["mh"].weights, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention_is_as_it_returns_itself(x, numpy, masked):
    """Fused, with a mask: pad queries are zero, other rows as Keras computes them unfused."""
    keys = np.tile(x, (1, 2, 1))[:, :KEYS]
    mask = padded(x)[:, :, None] & np.ones((1, 1, KEYS), bool) if masked else None
    query, value = keras.Input((STEPS, DEPTH)), keras.Input((KEYS, DEPTH))
    layer = keras.layers.MultiHeadAttention(HEADS, 3, name="mh")
    if masked:
        allowed = keras.Input((STEPS, KEYS), dtype="bool")
        model = keras.Model([query, value, allowed], layer(query, value, attention_mask=allowed))
        inputs = [x, keys, mask]
    else:
        model, inputs = keras.Model([query, value], layer(query, value)), [x, keys]
    outputs, maps = zoo.attend(model, inputs)
    _, scores = layer(x, keys, attention_mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(numpy(scores), maps["mh"].weights, atol=1e-6)
    np.testing.assert_allclose(numpy(model(inputs)), outputs, rtol=1e-5, atol=1e-6)


def test_grouped_queries(x, numpy):
    """Four query heads over two heads of keys."""
    inputs = keras.Input((STEPS, DEPTH))
    layer = keras.layers.GroupQueryAttention(3, 4, 2, name="grouped")
    model = keras.Model(inputs, layer(inputs, inputs))
    outputs, maps = zoo.attend(model, x)
    _, scores = layer(x, x, return_attention_scores=True)
    np.testing.assert_allclose(numpy(scores), maps["grouped"].weights, atol=1e-6)
    np.testing.assert_allclose(numpy(model(x)), outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [keras.layers.Attention, keras.layers.AdditiveAttention])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_without_heads(x, numpy, model_of, kind, causal):
    """One head; the scores are those Keras returns."""
    layer = kind(name="a", use_scale=True)
    keys = np.tile(x, (1, 2, 1))[:, :KEYS]
    model = model_of(lambda both: layer(both, use_causal_mask=causal), (STEPS, DEPTH), (KEYS, DEPTH))
    _, maps = zoo.attend(model, [x, keys])
    _, scores = layer([x, keys], return_attention_scores=True, use_causal_mask=causal)
    np.testing.assert_allclose(numpy(scores)[:, None], maps["a"].weights, atol=1e-6)


def test_padding_of_an_embedding_gets_no_weight(numpy):
    """Masks that inputs carry; a padded query's row is zero."""
    ids = np.array([[1, 2, 3, 0, 0]])
    tokens = keras.Input((5,), dtype="int32")
    x = keras.layers.Embedding(13, DEPTH, mask_zero=True)(tokens)
    model = keras.Model(tokens, keras.layers.MultiHeadAttention(HEADS, 3, name="mh")(x, x))
    _, maps = zoo.attend(model, ids)
    sums = maps["mh"].weights.sum(axis=-1)
    np.testing.assert_allclose(np.broadcast_to([1, 1, 1, 0, 0], sums.shape), sums, atol=1e-6)
    assert 0 == maps["mh"].weights[..., 3:].max()


class Own(keras.layers.Layer):
    """A user's layer: q, k and v by Dense layers, and the rest by hand, in one of many ways."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how
        self.q, self.k, self.v = (keras.layers.Dense(DEPTH) for _ in range(3))
        self.score = keras.layers.Dense(1)

    def build(self, shape):
        for layer in (self.q, self.k, self.v):
            layer.build(shape)
        self.score.build(shape)

    def call(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.how == "einsum":
            return ops.einsum("bqk,bkd->bqd", ops.softmax(ops.einsum("bqd,bkd->bqk", q, k)), v)
        if self.how == "operators":
            return ops.softmax(q @ ops.transpose(k, (0, 2, 1)) / 2.0) @ v
        if self.how == "masked, cast and transposed":
            w = ops.softmax(ops.matmul(k, ops.swapaxes(q, 1, 2)), axis=1)  # (batch, keys, queries)
            w = ops.cast(ops.where(ops.ones((STEPS, 1), "bool"), w, 0.0), v.dtype)
            return ops.matmul(ops.transpose(w, (0, 2, 1)), v)
        if self.how == "pooling":
            w = ops.softmax(self.score(ops.tanh(k)), axis=1)
            return ops.sum(w * v, axis=1)
        if self.how == "pooling, squeezed":
            w = ops.softmax(ops.squeeze(self.score(ops.tanh(k)), -1))
            return ops.sum(ops.expand_dims(w, -1) * v, axis=1)
        if self.how == "pooling, indexed":
            w = ops.softmax(self.score(ops.tanh(k))[..., 0])
            return ops.sum(v * w[:, :, None], axis=-2)
        if self.how == "values first":
            w = ops.softmax(ops.matmul(k, ops.swapaxes(q, 1, 2)), axis=1)
            return ops.swapaxes(ops.matmul(ops.swapaxes(v, 1, 2), w), 1, 2)
        raise AssertionError


def by_numpy(layer, x, numpy):
    """The weights of `Own`, `(batch, 1, queries, keys)`."""
    q, k, v = (x @ numpy(one.kernel) + numpy(one.bias) for one in (layer.q, layer.k, layer.v))
    if "pooling" in layer.how:
        e = (np.tanh(k) @ numpy(layer.score.kernel) + numpy(layer.score.bias)).transpose(0, 2, 1)
    else:
        e = np.einsum("bqd,bkd->bqk", q, k) / (2 if layer.how == "operators" else 1)
    a = np.exp(e - e.max(-1, keepdims=True))
    return (a / a.sum(-1, keepdims=True))[:, None], v


WAYS = [
    "einsum",
    "operators",
    "masked, cast and transposed",
    "pooling",
    "pooling, squeezed",
    "pooling, indexed",
    "values first",
]


@pytest.mark.parametrize("how", WAYS)
def test_a_softmax_over_keys_is_found_without_help(x, numpy, model_of, how):
    """However it is written; the weights are NumPy's, and times the values the layer's output."""
    layer = Own(how, name="own")
    outputs, maps = zoo.attend(model_of(layer), x)
    weights, v = by_numpy(layer, x, numpy)
    np.testing.assert_allclose(weights, maps["own"].weights, atol=1e-6)
    context = (maps["own"].weights @ v[:, None])[:, 0]
    np.testing.assert_allclose(context[:, 0] if "pooling" in how else context, outputs, atol=1e-5)


def test_attention_made_of_keras_layers(x, numpy):
    """Softmax over time and a Dot, both layers of a functional model: named after the softmax."""
    inputs = keras.Input((STEPS, DEPTH))
    scores = keras.layers.Dense(1)(inputs)
    weights = keras.layers.Softmax(axis=1, name="over_time")(scores)
    model = keras.Model(inputs, keras.layers.Dot(axes=1)([weights, inputs]))
    outputs, maps = zoo.attend(model, x)
    np.testing.assert_allclose(maps["over_time"].weights[:, 0] @ x, outputs, atol=1e-5)


def test_the_classic_recipe_of_keras_layers(x):
    """Flatten, Activation, RepeatVector, Permute, Multiply and a sum."""
    inputs = keras.Input((STEPS, DEPTH))
    scores = keras.layers.Flatten()(keras.layers.Dense(1, activation="tanh")(inputs))
    weights = keras.layers.Activation("softmax", name="alpha")(scores)
    weights = keras.layers.Permute((2, 1))(keras.layers.RepeatVector(DEPTH)(weights))
    model = keras.Model(inputs, ops.sum(keras.layers.Multiply()([inputs, weights]), axis=1))
    outputs, maps = zoo.attend(model, x)
    assert (BATCH, 1, 1, STEPS) == maps["alpha"].weights.shape
    np.testing.assert_allclose(maps["alpha"].weights[:, 0, 0, None] @ x, outputs[:, None], atol=1e-5)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["fused", "unfused"])
def test_half_precision(x, policy, dropout):
    """Maps are float32 and their rows sum to 1."""
    inputs = keras.Input((STEPS, DEPTH))
    layer = keras.layers.MultiHeadAttention(HEADS, 3, dropout=dropout, name="mh", dtype=policy)
    _, maps = zoo.attend(keras.Model(inputs, layer(inputs, inputs)), x)
    assert "float32" == maps["mh"].weights.dtype
    np.testing.assert_allclose(1.0, maps["mh"].weights.sum(-1), atol=1e-5)


def test_training_weights_are_those_before_dropout(x, numpy, self_attention):
    """Around the user's own training call, rows still sum to 1."""
    model, _ = self_attention(dropout=0.5)
    with zoo.capture(model) as seen:
        model(x, training=True)
    np.testing.assert_allclose(1.0, seen.maps["mh"].weights.sum(-1), atol=1e-5)


def test_our_gaussian_window_is_its_own_weights(x, numpy, model_of):
    """Luong's weights leave less than 1 in a row; the map says so, and equals what the layer returns."""
    layer = zoo.layers.LuongAttention(5, alignment="local_predictive", window=2, name="luong")
    model = model_of(layer, (STEPS, DEPTH), (KEYS, DEPTH))
    keys = np.tile(x, (1, 2, 1))[:, :KEYS]
    _, maps = zoo.attend(model, [x, keys])
    _, scores = layer([x, keys], return_attention_scores=True)
    np.testing.assert_allclose(numpy(scores)[:, None], maps["luong"].weights, atol=1e-6)
    assert not maps["luong"].normalised
