"""Inputs and tools for the tests of all layers. Sizes are distinct primes: swapped axes cannot pass."""

import keras
import numpy as np
import pytest

BATCH, QUERIES, KEYS = 3, 5, 7
QUERY_DEPTH, KEY_DEPTH, VALUE_DEPTH = 11, 13, 17


@pytest.fixture(autouse=True)
def seed():
    """The same weights in every run: at the edge of a local window the smallest difference is a jump."""
    keras.utils.set_random_seed(23)


@pytest.fixture
def batch():
    """`batch(seed, masks)` draws `([query, value, key], [query_mask, value_mask])`."""

    def draw(seed, masks="random", key_depth=KEY_DEPTH):
        rng = np.random.default_rng(seed)
        query = rng.normal(size=(BATCH, QUERIES, QUERY_DEPTH)).astype("float32")
        value = rng.normal(size=(BATCH, KEYS, VALUE_DEPTH)).astype("float32")
        key = rng.normal(size=(BATCH, KEYS, key_depth)).astype("float32")
        if masks == "none":
            return [query, value, key], [None, None]
        if masks == "random":
            query_mask, value_mask = rng.random((BATCH, QUERIES)) < 0.6, rng.random((BATCH, KEYS)) < 0.6
            value_mask[0] = False
        else:
            query_mask = np.arange(QUERIES) < rng.integers(1, QUERIES + 1, size=(BATCH, 1))
            value_mask = np.arange(KEYS) < rng.integers(1, KEYS + 1, size=(BATCH, 1))
            if masks == "suffix":
                query_mask, value_mask = query_mask[:, ::-1], value_mask[:, ::-1]
        return [query, value, key], [query_mask, value_mask]

    return draw


@pytest.fixture
def gradients():
    """`gradients(loss, layer)`: the gradient of `loss()` by each weight, by the backend's own means."""
    return {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}[keras.backend.backend()]


@pytest.fixture
def compiled():
    """`compiled(f)` is `f` of tensors, compiled by the backend's own compiler."""

    def compile_(f):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return tf.function(f, jit_compile=True)
        if keras.backend.backend() == "torch":
            import torch

            return torch.compile(f, backend="aot_eager")
        import jax

        return jax.jit(f)

    return compile_


def _tensorflow(loss, layer):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        result = loss()
    return [g.numpy() for g in tape.gradient(result, [w.value for w in layer.weights])]


def _torch(loss, layer):
    layer.zero_grad()
    loss().backward()
    return [w.value.grad.numpy() for w in layer.weights]


def _jax(loss, layer):
    import jax

    def of_weights(values):
        with keras.StatelessScope(state_mapping=zip(layer.weights, values, strict=True)):
            return loss()

    return [np.asarray(g) for g in jax.grad(of_weights)([w.value for w in layer.weights])]
