"""The user's model is never altered. Judge: the same model, never captured."""

import threading

import keras
import numpy as np
import pytest

import zoo

STEPS, DEPTH, HEADS = 7, 5, 2


def trained(x, capture):
    """Weights and losses after an epoch, with `capture(model)` called in between."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((STEPS, DEPTH))
    y = keras.layers.Dropout(0.3)(inputs, training=True)  # a seed that even inference moves on
    y = keras.layers.MultiHeadAttention(HEADS, 3, dropout=0.2, name="mh")(y, y)
    y = keras.layers.BatchNormalization()(keras.layers.MultiHeadAttention(HEADS, 3)(y, y))
    model = keras.Model(inputs, y)
    model.compile("adam", "mse")
    before = model.fit(x, x, epochs=1, batch_size=2, verbose=0, shuffle=False).history["loss"]
    capture(model)
    after = model.fit(x, x, epochs=2, batch_size=2, verbose=0, shuffle=False).history["loss"]
    return before + after, model.get_weights()


def attended(x):
    def capture(model):
        zoo.attend(model, x)
        with zoo.capture(model, replace={"mh": lambda a: a * 0}):
            model(x, training=False)
        with pytest.raises(Exception, match="(?i)shape|incompatible|matmul|dim"):
            zoo.attend(model, x[:, :, :3])

    return capture


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch's dropout keeps one global seed")
def test_training_is_the_same_to_the_bit(x):
    """Losses and weights, with and without captures in between, one of which raised."""

    def only_called(model):
        model(x, training=False)  # the one call within zoo.capture is the user's own, and moves the seed on

    losses, weights = trained(x, only_called)
    losses_seen, weights_seen = trained(x, attended(x))
    assert losses == losses_seen
    for one, other in zip(weights, weights_seen, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch: predict is a plain call")
def test_compiled_functions_stay_those_they_were(x, self_attention):
    """`predict` inside the context is the model's own, traced or not, before, inside and after."""
    model, _ = self_attention()
    fresh = keras.models.clone_model(model)
    fresh.set_weights(model.get_weights())
    expected = fresh.predict(x, verbose=0)
    with zoo.capture(model, replace={"mh": lambda a: a * 0}) as seen:
        model(x)
        np.testing.assert_array_equal(expected, model.predict(x, verbose=0))
        assert 0 == seen.maps["mh"].weights.max()
    np.testing.assert_array_equal(expected, model.predict(x, verbose=0))


def functions():
    """Everything that capture patches."""
    from keras.src import backend

    from zoo.capture import hooks

    found = [
        getattr(getattr(backend, name.split(".")[0]), name.split(".")[1], None) for name in hooks.WATCHED
    ]
    found += [vars(cls).get(name) for cls in hooks._tensor_classes() for name in hooks.OPERATORS]
    return [
        *found,
        backend.rnn,
        keras.layers.Layer.__call__,
        *(getattr(backend.core, n) for n in hooks.LOOPS),
    ]


def test_nothing_stays_patched(x, self_attention):
    """Not after a call, not after one that raised, not after an exception in the context."""
    model, _ = self_attention()
    before = functions()
    zoo.attend(model, x)
    assert before == functions()
    with pytest.raises(KeyError), zoo.capture(model):
        assert before != functions()
        raise KeyError
    assert before == functions()


def test_another_thread_is_not_recorded(x, self_attention):
    """A model that runs elsewhere meanwhile leaves no map here."""
    model, _ = self_attention()
    other, _ = self_attention()
    with zoo.capture(model) as seen:
        model(x)
        thread = threading.Thread(target=lambda: (model(x), other(x)))
        thread.start()
        thread.join()
        assert ["mh"] == list(seen.maps)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["fused", "unfused"])
def test_outputs_agree(x, numpy, causal, dropout):
    """To 1e-6 relative, and with exact=True to the bit (on TensorFlow; elsewhere to 5e-6)."""
    inputs = keras.Input((STEPS, DEPTH))
    y = inputs
    for name in "abc":
        layer = keras.layers.MultiHeadAttention(HEADS, 3, dropout=dropout, name=name)
        y = layer(y, y, use_causal_mask=causal)
        y = keras.layers.LayerNormalization()(keras.layers.Dense(DEPTH, "gelu")(y))
    model = keras.Model(inputs, y)
    expected = model.predict_on_batch(x)
    tight = 1e-6 if keras.backend.backend() == "tensorflow" else 5e-6
    close = {"rtol": tight, "atol": tight}
    np.testing.assert_allclose(zoo.attend(model, x)[0], expected, **close)
    np.testing.assert_allclose(zoo.attend(model, x, resolution=3)[0], expected, **close)
    for exact in (zoo.attend(model, x, exact=True), zoo.attend(model, x, exact=True, resolution=3)):
        if keras.backend.backend() == "tensorflow":
            np.testing.assert_array_equal(exact[0], expected)
        np.testing.assert_allclose(exact[0], expected, **close)


def test_losses_and_states_of_the_model_are_its_own(x):
    """A stateful recurrent layer and an activity regulariser notice nothing."""
    inputs = keras.Input(batch_shape=(3, STEPS, DEPTH))
    y = keras.layers.LSTM(DEPTH, stateful=True, return_sequences=True)(inputs)
    y = keras.layers.MultiHeadAttention(HEADS, 3, activity_regularizer="l2")(y, y)
    model = keras.Model(inputs, y)
    model(x)
    states = [np.array(keras.ops.convert_to_numpy(v.value)) for v in model.non_trainable_variables]
    losses = [float(loss) for loss in model.losses]
    zoo.attend(model, x)
    assert losses == [float(loss) for loss in model.losses]
    for before, variable in zip(states, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(variable.value))
