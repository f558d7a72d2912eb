"""The tap: a model's outputs, and the attention of its layers beside them."""

import weakref
from contextlib import contextmanager

import keras
from keras import ops

from zoo.capture.context import check_model, checked
from zoo.capture.findings import missing
from zoo.capture.hooks import recording
from zoo.capture.maps import Maps, to_map
from zoo.capture.recorder import Recorder

# {model: {options: what runs it}}; a model that is gone takes its own along.
_RUNS = weakref.WeakKeyDictionary()


def attend(model, inputs, *, layers=None, heads=None, samples=None, resolution=None, exact=False):
    """Run `model` on `inputs` (inference mode) and return `(outputs, {layer path: AttentionMap})`.

    Any attention is found: a softmax that is summed against values, Keras' fused attention, and layers that
    return their weights (`return_attention_scores`); see `zoo.capture.register` for others. A layer called
    more than once is numbered (`name`, `name#2`). The maps' `missing` says which layers have no map, and why.
    The model is left as it was. The run is compiled once for inputs of one shape. Rows of a recurrent layer
    come in the order of its steps: backwards in the backward half of a `Bidirectional`.

    Args:
        model: a built `keras.Model`.
        inputs: what `model` takes: arrays `(batch, ...)`.
        layers: a path or paths to read, as the result names them; all by default.
        heads, samples: which to keep, by number; all by default.
        resolution: at most so many queries and keys, a number or a pair. Larger maps are pooled while
            they are computed, and of fused attention never exist in full; their `full` says what they were.
        exact: outputs to the last bit as without capture; else a fused kernel is computed in steps, and they
            agree to 1e-6.

    Raises:
        ValueError: a model that is not built or has no attention; an unknown path; heads, samples or a
            resolution that do not fit.

    >>> import keras, numpy as np, zoo
    >>> x = keras.Input((5, 3))
    >>> model = keras.Model(x, keras.layers.MultiHeadAttention(2, 7, name="mh")(x, x))
    >>> outputs, maps = zoo.attend(model, np.ones((1, 5, 3), "float32"))
    >>> maps["mh"]
    AttentionMap(layer='mh', samples=1, heads=2, queries=5 step, keys=5 step)
    """
    check_model(model)
    options = checked(layers, heads, samples, resolution, exact)
    runs = _RUNS.setdefault(model, {})
    # A model that got other variables (LoRA, quantisation) is another model.
    key = (tuple(options.items()), tuple(map(id, model.variables)))
    if key not in runs:
        runs[key] = _Run(model, options)
    outputs, found, missing_ = runs[key](model, inputs)
    return outputs, Maps({about["path"]: to_map(*tensors, about) for *tensors, about in found}, missing_)


class _Run:
    """A model and its weights in one function, compiled as the backend does it."""

    def __init__(self, model, options):
        self.model, self.options, self.backend = weakref.ref(model), options, keras.backend.backend()
        self.traces = []  # of each trace: what is known of its maps, and why others are missing
        self.compiled = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[self.backend](self._call)

    def __call__(self, model, inputs):
        """Outputs as arrays, `(weights, full, about)` of every map, and `{path: reason}`."""
        if self.backend == "torch":  # which traces nothing, and calls anew every time
            self.traces.clear()
        inputs = keras.tree.map_structure(ops.convert_to_tensor, inputs)
        values = [variable.value for variable in model.variables] if self.backend == "jax" else []
        outputs, tensors, trace = self.compiled(values, inputs)
        abouts, reasons = self.traces[int(trace)]
        found = [(*pair, about) for pair, about in zip(tensors, abouts, strict=True)]
        return keras.tree.map_structure(ops.convert_to_numpy, outputs), found, reasons

    def _call(self, values, inputs):
        model = self.model()
        state = list(zip(model.variables, values, strict=True)) if values else None
        recorder = Recorder(model, **self.options)
        # What the call does to seeds and statistics is forgotten with the scope.
        scope = keras.StatelessScope(state_mapping=state, collect_losses=True)
        with _losses_kept(recorder), scope, recording(recorder):
            outputs = model(inputs, training=False)
        entries = [entry for entry in recorder.entries if entry.weights is not None]
        self.traces.append(([entry.about for entry in entries], missing(recorder)))
        tensors = [(ops.cast(one.weights, "float32"), ops.convert_to_tensor(one.full)) for one in entries]
        return outputs, tensors, len(self.traces) - 1


@contextmanager
def _losses_kept(recorder):
    """A call clears the losses of the call before it."""
    layers = [recorder.model, *(layer for _, layer in recorder.tree)]
    kept = [(layer, list(layer._losses), set(layer._loss_ids)) for layer in layers]
    try:
        yield
    finally:
        for layer, losses, ids in kept:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(ids)


def _tensorflow(call):
    from keras.src.utils.module_utils import tensorflow as tf

    # Traced for every shape, so that all of them are known: loops over blocks and steps are planned by them.
    function = tf.function(call, reduce_retracing=False, autograph=False)
    # Asked for by its shapes: called, TensorFlow warns of every new model as if it were a mistake.
    return lambda values, inputs: function.get_concrete_function(values, inputs)(values, inputs)


def _jax(call):
    from keras.src.utils.module_utils import jax

    return jax.jit(call)


def _torch(call):
    from keras.src.backend.torch.core import torch

    return torch.no_grad()(call)
