"""What the tests of all of `zoo` share."""

import keras
import pytest


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
