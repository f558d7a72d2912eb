import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

import zoo


class Counted(keras.layers.Layer):
    """Self-attention that counts how often it is traced."""

    def __init__(self):
        super().__init__(name="counted")
        self.traces = 0

    def call(self, x):
        self.traces += 1
        return ops.matmul(ops.softmax(ops.matmul(x, ops.swapaxes(x, 1, 2))), x)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch's calls are not traced")
def test_the_same_shapes_are_not_traced_again(x):
    """Judge: the layer's own count. A second call of `attend` costs no second trace; other options do."""
    layer = Counted()
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    zoo.attend(model, x)
    traced = layer.traces
    zoo.attend(model, x + 1)
    assert traced == layer.traces
    zoo.attend(model, x, samples=[0])
    assert traced < layer.traces


def test_a_model_that_is_gone_takes_its_compiled_run_along(x, self_attention):
    """What `attend` keeps of a model does not keep the model."""
    model, layer = self_attention()
    zoo.attend(model, x)
    gone = weakref.ref(model)
    del model, layer
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("exact", [False, True])
def test_inside_a_compiled_function(x, numpy, self_attention, compiled, exact):
    """Judge: the same weights without a compiler. The context is opened where the function is traced."""
    model, _ = self_attention()
    expected, maps = zoo.attend(model, x, exact=exact)

    def call(x):
        with zoo.capture(model, exact=exact) as seen:
            y = model(x, training=False)
        return y, seen.weights["mh"]

    y, weights = compiled(call)(ops.convert_to_tensor(x))
    np.testing.assert_allclose(expected, numpy(y), atol=1e-5)
    np.testing.assert_allclose(maps["mh"].weights, numpy(weights), atol=1e-5)


def test_an_unbuilt_model_is_one_sentence(x):
    """A subclassed model that was never called has no layers yet."""

    class Model(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="is not built, so its layers do not exist yet: call it once"):
        zoo.attend(Model(), x)


def test_the_numbers_are_not_ready_inside_a_compiled_function(x, self_attention, compiled):
    """Maps are asked for where only symbols are: the sentence names what to return instead."""
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch has numbers everywhere")
    model, _ = self_attention()

    def call(x):
        with zoo.capture(model) as seen:
            model(x)
            return seen.maps["mh"].weights

    with pytest.raises(ValueError, match="return `seen.weights`"):
        compiled(call)(ops.convert_to_tensor(x))
