"""Other weights in the place of a layer's: what the user's functions make of them, and what gradients need.

Most weights are changed where they pass by. Those that a layer only returns are changed inside it, by
calling it twice: first every operation that passes by is noted, and the one that made the returned weights is
looked up; then that operation's result is another.
"""

import functools
import math
from contextlib import contextmanager, nullcontext

import keras
from keras import ops
from keras.src import backend

from zoo.capture.pooling import bin_of

# How an operation on axes or types is undone, from its result, its input and its other arguments.
UNDONE = dict.fromkeys(
    ("reshape", "expand_dims", "squeeze", "__getitem__"),
    lambda y, x, *_, **__: ops.reshape(y, ops.shape(x)),
) | {
    "cast": lambda y, x, *_, **__: ops.cast(y, x.dtype),
    "swapaxes": lambda y, x, axis1, axis2: ops.swapaxes(y, axis1, axis2),
    "moveaxis": lambda y, x, source, destination: ops.moveaxis(y, destination, source),
    "transpose": lambda y, x, axes=None: ops.transpose(y, _inverse(axes)),
}


class Passage:
    """What passes by inside one call of a layer.

    Args:
        number: of the operation whose result `change` is to change; None to note what there is.
        change: a function of that result.
    """

    def __init__(self, number=None, change=None):
        self.number, self.change, self.count, self.noted = number, change, 0, []

    def passes(self, name, original, *args, **kwargs):
        """The result of an operation, noted or changed."""
        result = original(*args, **kwargs)
        number, self.count = self.count, self.count + 1
        if self.number is None:
            self.noted.append((result, name, original, args, kwargs))
        return self.change(result) if number == self.number else result

    def origin(self, weights):
        """The number of the operation that made `weights`, and functions from its result to them and back.

        Axes that were moved, and casts, are gone back through. None where no operation made the weights.
        """
        there, back = [], []
        number = self._made(weights)
        while number is not None:
            result, name, original, args, kwargs = self.noted[number]
            if name not in UNDONE or _size(args[0]) != _size(result):
                return number, _one_by_one(there[::-1]), _one_by_one(back)
            there.append(functools.partial(_again, original, args[1:], kwargs))
            back.append(functools.partial(_again, UNDONE[name], args, kwargs))
            number = self._made(args[0])
        return None

    def _made(self, tensor):
        return next((i for i, (result, *_) in enumerate(self.noted) if result is tensor), None)


def _again(f, args, kwargs, x):
    return f(x, *args, **kwargs)


def _size(x):
    """How many numbers there are; the second half counts the axes of unknown length."""
    known = [size for size in x.shape if size is not None]
    return math.prod(known), len(x.shape) - len(known)


def _inverse(axes):
    return None if axes is None else [list(axes).index(i) for i in range(len(axes))]


def _one_by_one(functions):
    def all_of_them(x):
        for f in functions:
            x = f(x)
        return x

    return all_of_them


def raised(change, like, resolution, heads, samples):
    """A change of a chosen and pooled map as one of the whole map: the same for all queries of a row, and
    shared evenly among the keys of a column.
    """
    batch, count, queries, keys = ops.shape(like)
    rows, columns = ops.shape(change)[2:]
    if resolution is not None:
        to = bin_of(ops.arange(keys), keys, columns)
        shares = 1 / ops.segment_sum(ops.ones((keys,), change.dtype), to, columns)
        change = ops.take(change * shares, to, axis=3)
        change = ops.take(change, bin_of(ops.arange(queries), queries, rows), axis=2)
    for axis, chosen, size in ((1, heads, count), (0, samples, batch)):
        if chosen is not None:
            places = ops.cast(ops.arange(size)[:, None] == ops.convert_to_tensor(chosen), change.dtype)
            change = ops.moveaxis(ops.tensordot(places, change, (1, axis)), 0, axis)
    return change


@functools.cache
def trainable_zero():
    """Added to weights, it lets gradients by them exist also where nothing trainable is behind them."""
    if backend.backend() == "tensorflow":
        from keras.src.utils.module_utils import tensorflow as tf

        with tf.init_scope():  # out of whatever function is being compiled
            return tf.Variable(0.0)
    if backend.backend() == "torch":
        from keras.src.backend.torch.core import torch

        return torch.zeros((), requires_grad=True)
    return 0.0


@contextmanager
def undone(recorder):
    """Updates of variables made inside are forgotten, and so are draws of random numbers."""
    if not backend.in_stateless_scope():
        with _seeds_kept(), keras.StatelessScope(collect_losses=True) as scope:
            yield
        recorder.forgotten += scope.losses
        return
    scope = backend.get_stateless_scope()
    values, losses = dict(scope.state_mapping), list(scope.losses or [])
    try:
        with _seeds_kept():
            yield
    finally:
        scope.state_mapping.clear()
        scope.state_mapping.update(values)
        if scope.losses is not None:
            recorder.forgotten += scope.losses
            scope.losses[:] = losses


def _seeds_kept():
    """Keras' seeds are variables, but PyTorch's dropout draws from a state of its own."""
    if backend.backend() == "torch":
        from keras.src.backend.torch.core import torch

        return torch.random.fork_rng()
    return nullcontext()
