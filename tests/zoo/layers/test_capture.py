"""Capture of our own layers. Judge: the weights that each returns when it is asked."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo
from zoo import layers
from zoo.attention_map import AttentionMap

LENGTH, DEPTH, R = 211, 5, 13
WINDOW = {"attention_width": 17}
LONG = {
    "seq-self": (lambda: layers.SeqSelfAttention(7), 1),
    "seq-self-band": (lambda: layers.SeqSelfAttention(7, **WINDOW), 1),
    "seq-self-blocks": (lambda: layers.SeqSelfAttention(attention_type="multiplicative", **WINDOW), 1),
    "scaled-dot-product": (lambda: layers.ScaledDotProductAttention(history_only=True), 1),
    "multi-head": (lambda: layers.MultiHeadAttention(2, 3), 2),
    "multi-head-window": (lambda: layers.MultiHeadAttention(2, 3, sliding_window=11), 2),
}


def model_of(case, layer):
    """A functional model that calls the layer as the table says."""
    inputs = [keras.Input(batch_shape=(None, *shape[1:])) for shape in case.shapes]
    return keras.Model(inputs, case.call(layer, inputs))


def long_model(name):
    """A model of one self-attention layer over a long series."""
    make, count = LONG[name]
    layer, x = make(), keras.Input((LENGTH, DEPTH))
    return keras.Model(x, layer(*[x] * count)), layer


@pytest.fixture
def series():
    return np.random.default_rng(5).normal(size=(3, LENGTH, DEPTH)).astype("float32")


def test_every_layer_is_captured(case, draw, built, array):
    """The map is what the layer returns when it is asked, on the axes that the layer names."""
    inputs, _ = draw(case)
    layer = built(case)
    if isinstance(layer, (layers.SinusoidalPositions, layers.LearnedPositions)):
        with pytest.raises(ValueError, match="has no layer that attends"):
            zoo.attend(model_of(case, layer), inputs)
        return
    outputs, maps = zoo.attend(model_of(case, layer), inputs)
    assert {} == maps.missing
    np.testing.assert_allclose(array(case.call(layer, inputs)), outputs, atol=1e-5)
    if isinstance(layer, layers.CBAM):
        assert ["channel", "patch"] == [one.keys.kind for one in maps.values()]
        return
    scores = array(case.call(layer, inputs, return_attention_scores=True)[1])
    path = layer.name
    if isinstance(layer, layers.TransformerDecoder):  # looks at itself before it looks at the memory
        path = next(path for path, one in maps.items() if one.weights.shape[2:] == scores.shape[2:])
    found = maps[path]
    np.testing.assert_allclose(scores.reshape(found.weights.shape), found.weights, atol=1e-5)
    if hasattr(layer, "attention_axes"):
        shapes = [x.shape for x in inputs]
        axes = layer.attention_axes(*[shapes] if case.call.__name__ == "listed" else shapes)
        assert [axis["kind"] for axis in axes] == [found.queries.kind, found.keys.kind]
        assert [axis.get("grid") for axis in axes] == [found.queries.grid, found.keys.grid]


def test_every_map_can_be_changed_and_has_gradients(case, draw, built, array, gradients_by_weights):
    """The same weights give the same output; others, one that the gradient foretells."""
    inputs, _ = draw(case)
    layer = built(case)
    model = model_of(case, layer)
    if isinstance(layer, (layers.SinusoidalPositions, layers.LearnedPositions)):
        return
    outputs, maps = zoo.attend(model, inputs)
    rng = np.random.default_rng(37)
    r = ops.convert_to_tensor(rng.normal(size=outputs.shape).astype("float32"))

    def loss(y):
        return ops.sum(ops.tanh(y) * r)

    def changed(path, f):
        with zoo.capture(model, replace={path: f}) as seen:
            y = model(inputs)
        return y, seen.maps[path].weights

    for path, one in maps.items():
        y, _ = changed(path, lambda a: a)
        np.testing.assert_allclose(outputs, array(y), atol=1e-5)
        change = rng.normal(size=one.weights.shape).astype("float32")
        gradient = gradients_by_weights(loss, model, inputs, path)
        others = [one.weights + 0.002 * change, one.weights - 0.002 * change]
        ahead, behind = (
            changed(path, lambda a, other=other: ops.convert_to_tensor(other)) for other in others
        )
        np.testing.assert_allclose(others[0], ahead[1], atol=1e-6)
        slope = (array(loss(ahead[0])) - array(loss(behind[0]))) / 0.004
        np.testing.assert_allclose((gradient * change).sum(), slope, rtol=0.02, atol=0.02)
        assert 0 < np.abs(gradient).max()


@pytest.mark.parametrize("name", LONG)
def test_a_lower_resolution_is_the_full_map_pooled(series, name):
    """Whatever way a layer goes, the pooled map is that of the full one, and says what it was."""
    model, layer = long_model(name)
    (_, full), (_, low) = (zoo.attend(model, series, resolution=one) for one in (None, R))
    assert (3, full[layer.name].weights.shape[1], R, R) == low[layer.name].weights.shape
    assert (LENGTH, LENGTH) == low[layer.name].full
    expected = AttentionMap(full[layer.name].weights).pooled(R, R).weights
    np.testing.assert_allclose(expected, low[layer.name].weights, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's graph")
@pytest.mark.parametrize("name", LONG)
def test_a_pooled_map_was_never_whole(name):
    """No tensor of the graph is as large as queries times keys."""
    import tensorflow as tf

    make, count = LONG[name]
    layer, x, length = make(), keras.Input((4096, DEPTH)), 4096
    model = keras.Model(x, layer(*[x] * count))

    @tf.function
    def captured(x):
        with zoo.capture(model, resolution=R) as seen:
            return model(x), seen.weights

    graph = captured.get_concrete_function(tf.TensorSpec((1, length, DEPTH))).graph
    graphs = [graph, *(f.graph for f in graph._functions.values() if hasattr(f, "graph"))]
    sizes = [x.shape.num_elements() or 0 for one in graphs for op in one.get_operations() for x in op.outputs]
    assert length * DEPTH <= max(sizes) < length**2


@pytest.mark.parametrize("name", LONG)
def test_weights_can_be_replaced(series, name):
    """Whatever way a layer goes: uniform weights give the mean of what the layer sums."""
    model, layer = long_model(name)
    with zoo.capture(model, replace={layer.name: lambda a: ops.ones_like(a) / LENGTH}) as seen:
        found = ops.convert_to_numpy(model(series))
    np.testing.assert_allclose(1 / LENGTH, seen.maps[layer.name].weights, rtol=1e-6)
    values = series
    if isinstance(layer, layers.MultiHeadAttention):
        values = ops.einsum("bsm,mhd->bshd", series, layer.W_v) + layer.b_v
        values = ops.convert_to_numpy(ops.einsum("bthd,hdm->btm", values, layer.W_o) + layer.b_o)
    expected = np.broadcast_to(values.mean(axis=1, keepdims=True), found.shape)
    np.testing.assert_allclose(expected, found, atol=1e-5)


def test_weights_that_a_loss_wants_stay_whole(series):
    """The attention regulariser sees all weights, also where a pooled map is asked for."""
    x = keras.Input((LENGTH, DEPTH))
    layer = layers.SeqSelfAttention(7, attention_width=17, attention_regularizer_weight=0.1)
    model = keras.Model(x, layer(x))
    model(series)
    expected = float(layer.losses[0])
    with zoo.capture(model, resolution=R) as seen:
        model(series)
    assert (3, 1, R, R) == seen.maps[layer.name].weights.shape
    np.testing.assert_allclose(expected, float(model.losses[0]), rtol=1e-5)


@pytest.mark.parametrize("name", ["seq-self", "seq-self-band", "scaled-dot-product"])
def test_a_layer_that_returns_its_weights_anyway(series, name):
    """Built with return_attention=True, it returns what it always returns, and has its map."""
    layer = {
        "seq-self": lambda: layers.SeqSelfAttention(7, return_attention=True),
        "seq-self-band": lambda: layers.SeqSelfAttention(7, return_attention=True, **WINDOW),
        "scaled-dot-product": lambda: layers.ScaledDotProductAttention(return_attention=True),
    }[name]()
    x = keras.Input((LENGTH, DEPTH))
    model = keras.Model(x, layer(x))
    (_, a), maps = zoo.attend(model, series)
    np.testing.assert_allclose(a[:, None], maps[layer.name].weights, atol=1e-6)
    (_, whole), low = zoo.attend(model, series, resolution=R)
    np.testing.assert_allclose(a, whole, atol=1e-6)
    assert (3, 1, R, R) == low[layer.name].weights.shape


def test_a_call_with_a_cache(series):
    """It is asked for its weights, and still returns its cache."""

    class Decoding(keras.Model):
        def __init__(self):
            super().__init__()
            self.mh = layers.MultiHeadAttention(2, 3, dropout=0.1, name="mh")

        def build(self, shape):
            self.mh.build(shape, shape)

        def call(self, x, training=False):
            y, cache = self.mh(x, x, cache=self.mh.empty_cache(3, LENGTH), use_causal_mask=True)
            return y, cache[0]

    model = Decoding()
    expected = model(series)
    (y, keys), maps = zoo.attend(model, series)
    np.testing.assert_allclose(ops.convert_to_numpy(expected[0]), y, atol=1e-5)
    assert (3, LENGTH, 2, 3) == keys.shape
    assert (3, 2, LENGTH, LENGTH) == maps["mh"].weights.shape
