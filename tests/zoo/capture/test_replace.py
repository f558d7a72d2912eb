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


@pytest.mark.parametrize("dropout", [0.0, 0.4], ids=["fused", "unfused"])
def test_gradients_by_the_weights(x, numpy, self_attention, gradients_by_weights, dropout):
    """Of Σ y²/2: y_qd · Σ_e v_khe W_hed, by NumPy."""
    model, layer = self_attention(dropout=dropout)
    gradient = gradients_by_weights(lambda y: ops.sum(y * y) / 2, model, x, "mh")
    a = zoo.attend(model, x)[1]["mh"].weights
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


class Features(keras.layers.Layer):
    """Attention of every feature over time, whose weights may be masked and made to sum to 1 again."""

    def __init__(self, masked=False, **kwargs):
        super().__init__(**kwargs)
        self.masked = masked

    def call(self, x):
        w = ops.softmax(x, axis=1)
        if self.masked:
            w = w * ops.cast(x > 0, x.dtype)
            w = w / (ops.sum(w, axis=1, keepdims=True) + 1e-9)
        return ops.sum(w * x, axis=1)


@pytest.mark.parametrize("masked", [False, True])
def test_values_of_the_weights_own_shape(x, numpy, gradients_by_weights, masked):
    """The map is what meets the values, and what takes its place does so there."""
    inputs = keras.Input((STEPS, DEPTH))
    model = keras.Model(inputs, Features(masked, name="features")(inputs))
    _, maps = zoo.attend(model, x)
    w = np.exp(x) * (x > 0 if masked else 1)
    w /= w.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(w.transpose(0, 2, 1)[:, None], maps["features"].weights, atol=1e-6)
    with zoo.capture(model, replace={"features": lambda a: ops.flip(a, axis=-1)}) as seen:
        y = model(x)
    np.testing.assert_allclose(maps["features"].weights[..., ::-1], seen.maps["features"].weights, atol=1e-6)
    np.testing.assert_allclose((w[:, ::-1] * x).sum(axis=1), numpy(y), atol=1e-5)
    gradient = gradients_by_weights(ops.sum, model, x, "features")
    np.testing.assert_allclose(x.transpose(0, 2, 1)[:, None], gradient, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no gradients by results")
@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_by_a_choice_of_weights(x, self_attention, gradients_by_weights, frozen):
    """By some heads and samples: those of the whole; by pooled weights: row sums and column means of them."""
    model, layer = self_attention()
    layer.trainable = not frozen

    def by(**options):
        return gradients_by_weights(lambda y: ops.sum(y * y) / 2, model, x, "mh", **options)

    whole = by()
    np.testing.assert_allclose(whole[[2, 0]][:, [1]], by(heads=1, samples=[2, 0]), atol=1e-5)
    queries, keys = np.array([0, 2, 4]), np.array([0, 3])  # 7 in 3 bins and in 2
    expected = np.add.reduceat(np.add.reduceat(whole, queries, axis=2), keys, axis=3) / [3, 4]
    np.testing.assert_allclose(expected, by(resolution=(3, 2)), atol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trains with TensorFlow's tape")
def test_the_gradient_by_a_parameter_stays_what_it_was(x, self_attention):
    """However little of the weights is handed out, and a loss of the weights reaches the parameters too."""
    import tensorflow as tf

    model, layer = self_attention()

    def gradients(loss, **options):
        with tf.GradientTape() as tape, zoo.capture(model, **options) as seen:
            result = loss(model(x), seen)
        return [g.numpy() for g in tape.gradient(result, [w.value for w in layer.trainable_weights])]

    for loss in (
        lambda y, seen: ops.sum(y * y),
        lambda y, seen: ops.sum(y) * ops.sum(seen.weights["mh"] ** 2),
    ):
        chosen = {"resolution": 2, "heads": 1}
        expected = gradients(loss, **chosen)
        for mine, its in zip(gradients(loss, differentiable=True, **chosen), expected, strict=True):
            np.testing.assert_allclose(its, mine, atol=2e-4)


def test_weights_that_nobody_can_change(x):
    """A reader's own numbers pass through no operation of the layer: one sentence, not silence."""

    class Mean(keras.layers.Layer):
        def call(self, x):
            return ops.mean(x, axis=1)

    zoo.capture.register(Mean, lambda call, x: (call(x), ops.full(x.shape[:2], 1 / x.shape[1])))
    inputs = keras.Input((STEPS, DEPTH))
    model = keras.Model(inputs, Mean(name="mean")(inputs))
    message = "^The weights that mean returns come from no operation of Keras"
    with pytest.raises(ValueError, match=message), zoo.capture(model, replace={"mean": ops.zeros_like}):
        model(x)


def test_a_model_is_called_twice_and_changed_once(x):
    """To learn what weights meet, it is called in vain: its statistics and seeds do not see that."""
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        inputs = keras.Input((STEPS, DEPTH))
        y = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(inputs))
        models.append(
            keras.Model(inputs, zoo.layers.SeqSelfAttention(3, name="a", attention_regularizer_weight=1.0)(y))
        )
    for _ in range(2):
        keras.utils.set_random_seed(11)  # PyTorch's dropout has no seeds of its own
        expected = models[0](x, training=True)
        keras.utils.set_random_seed(11)
        with zoo.capture(models[1], replace={"a": lambda a: a}):
            found = models[1](x, training=True)
        np.testing.assert_allclose(ops.convert_to_numpy(expected), ops.convert_to_numpy(found), atol=1e-6)
        assert len(models[0].losses) == len(models[1].losses) == 1
    for one, other in zip(models[0].variables, models[1].variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), atol=1e-6)
