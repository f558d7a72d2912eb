import keras
import numpy as np
import pytest

import zoo

RNG = np.random.default_rng(0)


def test_maps_of_keras_layers_are_those_the_layer_returns(numpy):
    """The tap reads what the layer gives when asked for its scores; the outputs do not change."""
    x = keras.Input((7, 5))
    layer = keras.layers.MultiHeadAttention(2, 3, name="mh")
    model = keras.Model(x, keras.layers.Dense(1)(layer(x, x)))
    inputs = RNG.normal(size=(3, 7, 5)).astype("float32")
    outputs, maps = zoo.attend(model, inputs)
    _, scores = layer(inputs, inputs, return_attention_scores=True)
    np.testing.assert_allclose(numpy(scores), maps["mh"].weights, atol=1e-6)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), outputs, atol=1e-5)


def test_scores_without_heads_get_one():
    """Keras' AdditiveAttention returns (batch, queries, keys)."""
    query, value = keras.Input((3, 5)), keras.Input((7, 5))
    model = keras.Model([query, value], keras.layers.AdditiveAttention(name="add")([query, value]))
    _, maps = zoo.attend(model, [np.ones((2, 3, 5), "float32"), np.ones((2, 7, 5), "float32")])
    assert (2, 1, 3, 7) == maps["add"].weights.shape


def test_nested_and_shared_layers_have_paths_and_numbers():
    """A layer inside a layer is named by its path; one called twice is numbered."""

    class Block(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.attention = keras.layers.MultiHeadAttention(1, 3, name="inner")

        def call(self, x):
            x = self.attention(x, x)
            return self.attention(x, x)

    x = keras.Input((4, 3))
    model = keras.Model(x, Block(name="block")(x))
    _, maps = zoo.attend(model, np.ones((1, 4, 3), "float32"))
    assert ["block/inner", "block/inner#2"] == list(maps)


def test_the_model_is_left_as_it_was_even_after_an_error():
    """No layer keeps the tap, and a call that fails inside takes it off too."""
    x = keras.Input((4, 3))
    layer = keras.layers.MultiHeadAttention(1, 3)
    model = keras.Model(x, layer(x, x))
    with pytest.raises(Exception, match="(?i)shape|incompatible"):
        zoo.attend(model, np.ones((1, 4, 7), "float32"))
    zoo.attend(model, np.ones((1, 4, 3), "float32"))
    assert "call" not in vars(layer)


def test_gaussian_windows_are_not_called_normalised():
    """A map says whether its rows sum to 1, as its layer says."""
    model = zoo.models.lstm_forecaster(
        7, 3, 2, attention="luong", alignment="local_predictive", attention_window=2, units=5
    )
    _, maps = zoo.attend(model, RNG.normal(size=(2, 7, 3)).astype("float32"))
    (only,) = maps.values()
    assert (2, 1, 2, 7) == only.weights.shape
    assert not only.normalised


def test_chosen_layers_alone_are_returned():
    """`layers` names paths as the result does, and an unknown one is an error that lists the known."""
    x = keras.Input((4, 3))
    y = keras.layers.MultiHeadAttention(1, 3, name="a")(x, x)
    model = keras.Model(x, keras.layers.MultiHeadAttention(1, 3, name="b")(y, y))
    inputs = np.ones((1, 4, 3), "float32")
    assert ["b"] == list(zoo.attend(model, inputs, layers=["b"])[1])
    with pytest.raises(ValueError, match="no attention at c, only at a, b"):
        zoo.attend(model, inputs, layers=["c"])


RESOLUTION = (
    "A resolution is a whole number of at least 1, or a pair of them; found {!r}: pass such as resolution=64,"
    " or (64, 32) for queries and keys."
)
LAYERS = (
    "layers are paths as the maps name them; found {!r}: pass such as layers=['mh'], or leave them out for "
    "all."
)
NUMBERS = "{} are whole numbers from 0 on; found {!r}: pass such as {}=[0, 2], or leave them out for all."
REPLACE = (
    "What replaces weights is a function of them for each path; found replace={!r}: pass such as "
    "replace={{'mh': keras.ops.zeros_like}}."
)


@pytest.mark.parametrize(
    "sentence, options",
    [
        *((LAYERS.format(layers), {"layers": layers}) for layers in (3, [], [3])),
        *(
            (RESOLUTION.format(resolution), {"resolution": resolution})
            for resolution in (3.5, "64", (3, None), (3.0, 3.0), (3,), True, 0, -1)
        ),
        *((NUMBERS.format("heads", h, "heads"), {"heads": h}) for h in ("a", 1.5, [0.5], [], -1, [True])),
        (NUMBERS.format("samples", -1, "samples"), {"samples": -1}),
        *((REPLACE.format(replace), {"replace": replace}) for replace in ({"mh": 3}, 3)),
    ],
)
def test_options_that_do_not_fit(sentence, options):
    """One sentence says what was found, what is wanted, and what to type."""
    x = keras.Input((4, 3))
    model = keras.Model(x, keras.layers.MultiHeadAttention(2, 3, name="mh")(x, x))
    with pytest.raises(ValueError) as error:
        zoo.capture(model, **options)
    assert sentence == str(error.value)


def test_numbers_of_numpy_are_numbers():
    """A size, heads and samples that were computed do as well as those that were typed."""
    x = keras.Input((7, 3))
    model = keras.Model(x, keras.layers.MultiHeadAttention(2, 3, name="mh")(x, x))
    three, options = np.int64(3), {"heads": np.arange(1, 2), "samples": np.int64(1)}
    _, maps = zoo.attend(model, np.ones((2, 7, 3), "float32"), resolution=three, **options)
    assert (1, 1, 3, 3) == maps["mh"].weights.shape
