"""What the tests of all of `zoo` share."""

import keras
import numpy as np
import pytest

import zoo


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


@pytest.fixture
def gradients_by_weights():
    """`(loss, model, inputs, path, **options)`: d loss / d weights of a path, by the backend's own means."""
    return {"tensorflow": _by_tensorflow, "torch": _by_torch, "jax": _by_jax}[keras.backend.backend()]


def _by_tensorflow(loss, model, inputs, path, **options):
    import tensorflow as tf

    with tf.GradientTape() as tape, zoo.capture(model, differentiable=True, **options) as seen:
        result = loss(model(inputs))
    return tape.gradient(result, seen.weights[path]).numpy()


def _by_torch(loss, model, inputs, path, **options):
    import torch

    with zoo.capture(model, differentiable=True, **options) as seen:
        result = loss(model(inputs))
    return torch.autograd.grad(result, seen.weights[path])[0].numpy()


def _by_jax(loss, model, inputs, path):
    """JAX has gradients by arguments alone: the weights are one."""
    import jax

    def of_weights(a):
        with zoo.capture(model, replace={path: lambda _: a}):
            return loss(model(inputs))

    return np.asarray(jax.grad(of_weights)(zoo.attend(model, inputs)[1][path].weights))
