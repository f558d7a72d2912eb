"""Models to look into. Sizes are distinct primes: swapped axes cannot pass."""

import keras
import numpy as np
import pytest
from keras import ops

BATCH, STEPS, KEYS, DEPTH, HEADS = 3, 7, 11, 5, 2


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(29)


@pytest.fixture
def rng():
    return np.random.default_rng(31)


@pytest.fixture
def x(rng):
    """Inputs `(batch, steps, depth)`."""
    return rng.normal(size=(BATCH, STEPS, DEPTH)).astype("float32")


@pytest.fixture
def model_of():
    """`model_of(layer, x)` is a functional model of one layer (or function of layers)."""

    def make(layer, *shapes):
        inputs = [keras.Input(shape) for shape in shapes or ((STEPS, DEPTH),)]
        one = inputs[0] if len(inputs) == 1 else inputs
        return keras.Model(one, layer(one))

    return make


@pytest.fixture
def self_attention():
    """A model with a self-attention layer `mh`; arguments are the layer's."""

    def make(**kwargs):
        steps = kwargs.pop("steps", STEPS)
        x = keras.Input((steps, DEPTH))
        layer = keras.layers.MultiHeadAttention(HEADS, 3, name="mh", **kwargs)
        return keras.Model(x, layer(x, x)), layer

    return make


@pytest.fixture
def numpy():
    """A tensor as an array."""
    return lambda tensor: np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))
