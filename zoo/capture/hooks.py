"""The patches: Keras' backend functions show what passes through them, while somebody records.

They are put in by the first recorder and taken out with the last. A thread that records nothing calls Keras'
own functions through them, and a function that Keras compiles meanwhile for the user stays as it is.
"""

import functools
import importlib
import sys
import threading
from contextlib import contextmanager

import keras

from zoo.capture import calls, contraction, follow, fused, loops, ours
from zoo.capture.recorder import current

# Names are those of Keras' backend modules.
WATCHED = {
    "nn.dot_product_attention": fused.dot_product_attention,
    "nn.softmax": contraction.softmax,
    "numpy.einsum": contraction.einsum,
    "numpy.matmul": contraction.matmul,
    "numpy.sum": contraction.sum_,
    "core.cast": follow.kept,
    "numpy.where": follow.kept,
    "numpy.divide": follow.kept,
    "numpy.true_divide": follow.kept,
    "numpy.add": follow.added,
    "numpy.subtract": follow.added,
    "numpy.multiply": follow.multiplied,
    "numpy.reshape": follow.reshape,
    "numpy.transpose": follow.transpose,
    "numpy.swapaxes": follow.swapaxes,
    "numpy.moveaxis": follow.moveaxis,
    "numpy.expand_dims": follow.expand_dims,
    "numpy.squeeze": follow.squeeze,
    "numpy.repeat": follow.repeated,
    "numpy.tile": follow.repeated,
    "numpy.broadcast_to": follow.repeated,
    "random.dropout": follow.dropout,
    "numpy.dot": contraction.dot,
    "numpy.tensordot": contraction.dot,
    "nn.conv": contraction.dot,
    "math.top_k": follow.logits,
    "core.stop_gradient": follow.logits,
    "numpy.clip": follow.logits,
    "numpy.maximum": follow.added,
    "numpy.minimum": follow.added,
    "numpy.tanh": follow.logits,
    "nn.tanh": follow.logits,
    "nn.relu": follow.logits,
    "nn.gelu": follow.logits,
    "nn.silu": follow.logits,
    "nn.leaky_relu": follow.logits,
    "nn.sigmoid": follow.logits,
}
OPERATORS = {
    "__matmul__": contraction.matmul,
    "__rmatmul__": contraction.rmatmul,
    "__mul__": follow.multiplied,
    "__rmul__": follow.multiplied,
    "__truediv__": follow.kept,
    "__add__": follow.added,
    "__radd__": follow.added,
    "__sub__": follow.added,
    "__getitem__": follow.getitem,
}
# Names are those of the modules that use the functions.
OURS = {
    "seq_self_attention.in_query_blocks": ours.in_query_blocks,
    "seq_self_attention.window_pays": ours.window_pays,
    "seq_self_attention.band_to_full": ours.band_to_full,
    "seq_self_attention.pairs_from_blocks": ours.pairs_from_blocks,
    "scaled_dot_product_attention.in_query_blocks": ours.in_query_blocks,
    "multi_head_attention.window_pays": ours.window_pays,
    "heads.pairs_from_blocks": ours.pairs_from_blocks,
}
LOOPS = ("while_loop", "fori_loop", "scan", "associative_scan", "cond", "switch", "map", "vectorized_map")

_lock = threading.Lock()
_open = 0
_patched = []


@contextmanager
def recording(recorder):
    """Inside, `recorder` is the one of this thread."""
    _enter()
    token = current.set(recorder)
    try:
        yield recorder
    finally:
        current.reset(token)
        _leave()


def _enter():
    global _open
    with _lock:
        if _open == 0:
            try:
                _install()
            except BaseException:
                _restore()
                raise
        _open += 1


def _leave():
    global _open
    with _lock:
        _open -= 1
        if _open == 0:
            _restore()


def _install():
    from keras.src import backend

    for name, hook in WATCHED.items():
        module, function = name.split(".")
        _patch_everywhere(getattr(backend, module), function, functools.partial(_watched, function, hook))
    for cls in _tensor_classes():
        for name, hook in OPERATORS.items():
            _patch(cls, name, _watched(name, hook, getattr(cls, name)))
    _patch_everywhere(backend, "rnn", functools.partial(_recorded, loops.rnn))
    # It calls the cells of a stack once before the loop does.
    rnn = keras.layers.RNN
    hook = _recorded(loops.shapes, rnn._maybe_config_dropout_masks)
    _patch(rnn, "_maybe_config_dropout_masks", hook)
    for name in LOOPS:
        _patch_everywhere(backend.core, name, functools.partial(_recorded, loops.closed))
    _patch_everywhere(backend.core, "compute_output_spec", functools.partial(_recorded, loops.shapes))
    for name, hook in OURS.items():
        module, function = name.split(".")
        module = importlib.import_module(f"zoo.layers.{module}")
        _patch(module, function, _asked(hook, getattr(module, function)))
    _patch(keras.layers.Layer, "__call__", _recorded(calls.called, keras.layers.Layer.__call__))


def _watched(name, hook, original):
    """`original`, that `hook(recorder, original, *args)` looks at; what it calls in turn is its affair."""

    @functools.wraps(original)
    def watched(*args, **kwargs):
        recorder = current.get()
        if recorder is not None and recorder.passage is not None:
            return recorder.passage.passes(name, original, *args, **kwargs)
        if recorder is None or recorder.idle or recorder.silent:
            return original(*args, **kwargs)
        if recorder.listens():
            with recorder.quiet():
                return hook(recorder, original, *args, **kwargs)
        if hook in (fused.dot_product_attention, contraction.softmax):
            recorder.miss(loops.INSIDE, recorder.owner()[0])
        return original(*args, **kwargs)

    return watched


def _recorded(hook, original):
    """`original`, in whose place `hook(recorder, original, *args)` stands while somebody records."""

    @functools.wraps(original)
    def recorded(*args, **kwargs):
        recorder = current.get()
        if recorder is None or recorder.silent or (recorder.idle and hook is not calls.called):
            return original(*args, **kwargs)
        return hook(recorder, original, *args, **kwargs)

    return recorded


def _asked(hook, original):
    """`original`, in whose place `hook(recorder, original, *args)` stands, also where a layer is asked."""

    @functools.wraps(original)
    def asked(*args, **kwargs):
        recorder = current.get()
        if recorder is None or recorder.idle:
            return original(*args, **kwargs)
        return hook(recorder, original, *args, **kwargs)

    return asked


def _patch_everywhere(module, name, wrap):
    """Also where another module of Keras holds the function by its name."""
    original = getattr(module, name, None)
    if original is None:
        return
    wrapped = wrap(original)
    for other_name, other in list(sys.modules.items()):
        if other_name.startswith("keras.src") and getattr(other, "__dict__", {}).get(name) is original:
            _patch(other, name, wrapped)


def _patch(holder, name, wrapped):
    own = vars(holder)
    _patched.append((holder, name, own.get(name), name in own))
    setattr(holder, name, wrapped)


def _restore():
    while _patched:
        holder, name, original, own = _patched.pop()
        if own:
            setattr(holder, name, original)
        else:
            delattr(holder, name)


def _tensor_classes():
    """The classes whose operators the tensors use, inside compiled functions and out."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from keras.src.utils.module_utils import tensorflow as tf

        return [tf.Tensor]
    if backend == "jax":
        from keras.src.utils.module_utils import jax

        return [jax.core.Tracer, type(keras.ops.zeros(()))]
    return [type(keras.ops.zeros(()))] if backend == "torch" else []
