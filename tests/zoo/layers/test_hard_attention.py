"""Judge: the equations of Xu 2015, section 4.1, in NumPy, and for draws their frequencies."""

import keras
import numpy as np
import pytest

from zoo.layers import BahdanauAttention, HardAttention

UNITS = 19


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def pair(inputs, seed=3):
    """A hard layer and a soft one of the same weights."""
    hard, soft = HardAttention(UNITS, seed=seed), BahdanauAttention(UNITS)
    hard(inputs), soft(inputs)
    soft.set_weights([numpy(w.value) for w in hard.weights])
    return hard, soft


@pytest.mark.parametrize("masks", ["none", "random", "prefix"])
def test_inference_reads_the_most_likely_key(batch, masks):
    """s is one-hot at the greatest weight of additive attention, and c the value there."""
    (query, value, key), mask = batch(0, masks)
    hard, soft = pair([query, value, key])
    _, alpha = soft([query, value, key], mask=mask, return_attention_scores=True)
    c, s = hard([query, value, key], mask=mask, return_attention_scores=True)
    alpha, c, s = map(numpy, (alpha, c, s))
    for b, i in np.ndindex(*alpha.shape[:2]):
        expected = np.zeros(alpha.shape[2])
        if alpha[b, i].any():
            expected[alpha[b, i].argmax()] = 1
        np.testing.assert_array_equal(expected, s[b, i])
        np.testing.assert_allclose(expected @ value[b], c[b, i], rtol=1e-6)


def test_training_draws_one_allowed_key(batch):
    """Every row is exactly one-hot at a key that is not masked, and zero where all are; c is that value."""
    (query, value, key), mask = batch(1)
    layer = HardAttention(UNITS, seed=3)
    for _ in range(20):
        c, s = layer([query, value, key], mask=mask, return_attention_scores=True, training=True)
        c, s = numpy(c), numpy(s)
        assert {0.0, 1.0} == set(np.unique(s))
        some = mask[0] & mask[1].any(axis=1)[:, None]
        np.testing.assert_array_equal(some, s.sum(axis=2))
        assert not s[np.broadcast_to(~mask[1][:, None], s.shape)].any()
        np.testing.assert_allclose(s @ value, c, rtol=1e-6)


def test_draws_follow_the_weights():
    """Over 4000 draws of four keys each is drawn as often as α says, within five standard errors."""
    rng = np.random.default_rng(2)
    query, value = rng.normal(size=(1, 1, 5)), rng.normal(size=(1, 4, 7))
    hard, soft = pair([query, value])
    _, alpha = soft([query, value], return_attention_scores=True)
    alpha, draws = numpy(alpha)[0, 0], 4000
    many = np.repeat(query, draws, axis=1)
    _, s = hard([many, value], return_attention_scores=True, training=True)
    frequency = numpy(s)[0].mean(axis=0)
    assert alpha.std() > 0.02
    assert (np.abs(frequency - alpha) < 5 * np.sqrt(alpha * (1 - alpha) / draws)).all()


def test_the_gradient_is_straight_through(batch, gradients):
    """The loss of s, of gradient g by s, has by the weights the gradient that g · α has."""
    inputs, mask = batch(1)
    hard, soft = pair(inputs)
    g = np.random.default_rng(5).normal(size=(3, 5, 7)).astype("float32")

    def loss(layer):
        _, a = layer(inputs, mask=mask, return_attention_scores=True, training=True)
        return keras.ops.sum(keras.ops.convert_to_tensor(g) * a)

    expected = gradients(lambda: loss(soft), soft)
    found = gradients(lambda: loss(hard), hard)
    for one, other in zip(expected, found, strict=True):
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_seed_makes_the_draws_again(batch):
    """Two layers of one seed draw the same, call after call; another seed, or the next call, does not."""
    inputs, _ = batch(0, "none")
    first, second, other = (HardAttention(UNITS, seed=seed) for seed in (3, 3, 5))
    for layer in (first, second, other):
        layer(inputs)
        layer.set_weights([np.zeros(w.shape) for w in layer.weights])

    def draws(layer):
        return numpy(layer(inputs, return_attention_scores=True, training=True)[1])

    once, again = draws(first), draws(first)
    np.testing.assert_array_equal(once, draws(second))
    np.testing.assert_array_equal(again, draws(second))
    assert (once != again).any()
    assert (once != draws(other)).any()
    assert 3 == HardAttention.from_config(first.get_config()).seed


def test_it_learns_where_to_look():
    """Trained to repeat the value whose key says so, its loss falls to less than a tenth."""
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(512, 5, 3)).astype("float32")
    values = rng.normal(size=(512, 5, 2)).astype("float32")
    target = values[np.arange(512), keys[:, :, 0].argmax(axis=1)]
    query, value, key = keras.Input((1, 1)), keras.Input((5, 2)), keras.Input((5, 3))
    found = HardAttention(16, seed=7)([query, value, key])
    model = keras.Model([query, value, key], keras.layers.Reshape((2,))(found))
    model.compile("adam", "mse")
    model.optimizer.learning_rate = 0.02
    data = [np.ones((512, 1, 1), "float32"), values, keys]
    before = model.evaluate(data, target, verbose=0)
    model.fit(data, target, epochs=25, batch_size=64, verbose=0)
    assert before / 10 > model.evaluate(data, target, verbose=0)
