"""What a call of a model leaves behind: the weights of its attention, by the path of their layers."""

from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import keras
from keras import ops

from zoo.capture.paths import layer_paths, owner
from zoo.capture.pooling import pooled

# The recorder of this thread; without one every hook is Keras' own function.
current = ContextVar("recorder", default=None)


UNMET = (
    "its softmax is no classifier's, but where the result meets its values was not seen: let the layer "
    "return its weights (return_attention_scores), or name them with zoo.capture.register"
)


@dataclass
class Entry:
    """The attention of one call of one layer. `weights` is None where nobody asked for it."""

    about: dict
    weights: object = None
    full: tuple = ()


class Recorder:
    """Keeps what the hooks find while `model` is called.

    Args:
        model: the model.
        layers, heads, samples, resolution, exact, differentiable, replace: as in `zoo.capture.Capture`.
    """

    def __init__(
        self,
        model,
        layers=None,
        heads=None,
        samples=None,
        resolution=None,
        exact=False,
        differentiable=False,
        replace=None,
    ):
        self.model, self.layers, self.heads, self.samples = model, layers, heads, samples
        self.resolution, self.exact, self.differentiable = resolution, exact, differentiable
        self.replace = replace or {}
        self.home, self.idle, self.called = place(), True, False
        self.asked = set()  # layers that have to be asked for their scores
        self._begin(None)

    def _begin(self, batch):
        self.tree, self.batch = layer_paths(self.model), batch
        self.paths = {id(layer): path for path, layer in self.tree}
        self.stack, self.entries, self.reasons, self.calls = [], [], {}, Counter()
        self.marks, self.logits, self.matrices, self.seen, self.problems = {}, {}, {}, set(), []
        # Of every softmax: its mark, whether it met values, what took its place there, what may be values.
        self.softmaxes, self.met, self.stand_ins, self.pending = [], {}, {}, {}
        self.silent, self.place, self.speaker = False, self.home, None
        self.asking, self.pooled_from, self.raw = None, None, False

    @contextmanager
    def one_call(self, batch):
        """The model is being called on so many samples."""
        self._begin(batch)
        self.idle, self.called = False, False
        try:
            yield
            self.called = True
        finally:
            self.idle = True
            self.marks, self.logits, self.matrices, self.stack = {}, {}, {}, []
            self.softmaxes, self.met, self.stand_ins, self.pending = [], {}, {}, {}

    # --- Where we are ---

    def at_home(self):
        """Whether this is the graph, or the eager mode, in which the recorder was opened."""
        return self.home == place()

    def listens(self):
        """Whether tensors made here may be kept."""
        return not self.idle and not self.silent and self.place == place()

    @contextmanager
    def quiet(self):
        """What is called inside is not looked at."""
        silent, self.silent = self.silent, True
        try:
            yield
        finally:
            self.silent = silent

    @contextmanager
    def inside(self, layer):
        """The layer is being called."""
        self.stack.append(layer)
        self.seen.add(self.paths.get(id(layer)))
        try:
            yield
        finally:
            self.stack.pop()

    @contextmanager
    def speaking(self, path, layer):
        """Whatever attends inside does so for this layer, unless it does for another around it."""
        speaker, self.speaker = self.speaker, self.speaker or (path, layer)
        try:
            yield
        finally:
            self.speaker = speaker

    @contextmanager
    def collected(self, anywhere=False, raw=False):
        """Entries recorded inside go to the list yielded, uncounted; from any graph, or whole, if said so."""
        kept = self.entries, self.calls, self.place, self.pending, self.raw
        self.entries, self.calls, self.pending = [], Counter(self.calls), {}
        self.place, self.raw = place() if anywhere else self.place, raw or self.raw
        try:
            yield self.entries
            self._settle()
        finally:
            self.entries, self.calls, self.place, self.pending, self.raw = kept

    def keep(self, entries):
        """Record entries that were collected."""
        for entry in entries:
            self.entries.append(entry)
            self.calls[entry.about["owner"]] += 1

    # --- One softmax, one map ---

    def meets(self, root):
        """Whether this result of a softmax meets values for the first time."""
        new = id(root) not in self.met
        self.met[id(root)] = root
        return new

    def conclude(self):
        """The model has been called: what is known of every softmax now stays."""
        self._settle()
        for mark in self.softmaxes:
            path, layer = mark.owner
            if not mark.gate and id(mark.root) not in self.met and not _is_of_keras(layer):
                self.miss(UNMET, path)

    def _settle(self):
        """What was summed, and met no other values, was summed with values of its own shape."""
        for root, weights, path, layer in self.pending.values():
            if self.meets(root):
                if self.replaces(path):
                    self.problems.append(
                        f"The weights of {path} are multiplied by values of their own shape, where nothing "
                        "can take their place; leave it out."
                    )
                self.add(weights, path, layer)
        self.pending = {}

    # --- What is wanted ---

    def owner(self):
        """Path and layer that attend here."""
        return self.speaker or owner(self.stack, self.paths)

    def next_name(self, path):
        """What the next map of this path is called."""
        number = self.calls[path] + 1
        return path if number == 1 else f"{path}#{number}"

    def wanted(self, path):
        """Whether the next map of this path was asked for."""
        return self.layers is None or self.next_name(path) in self.layers

    def replaces(self, path, root=None):
        """Whether the next weights of this path leave and come back, changed or not, or these did before."""
        if id(root) in self.met:
            return id(root) in self.stand_ins
        return self.next_name(path) in self.replace or (self.differentiable and self.wanted(path))

    def replaced(self, a, path, root=None):
        """The weights `(batch, heads, queries, keys)` that take the place of `a`, wherever it goes."""
        if id(root) in self.stand_ins:
            return self.stand_ins[id(root)]
        result = self._replaced(a, path)
        if root is not None:
            self.stand_ins[id(root)] = result
        return result

    def _replaced(self, a, path):
        f = self.replace.get(self.next_name(path))
        if f is None:
            return ops.cast(a, keras.backend.result_type(a.dtype, "float32"))
        result = ops.cast(ops.convert_to_tensor(f(a)), a.dtype)
        if tuple(result.shape) != tuple(a.shape):
            self.problems.append(
                f"What replaces the weights of {self.next_name(path)} has the shape {tuple(result.shape)}; "
                f"return one of shape {tuple(a.shape)}: (batch, heads, queries, keys)."
            )
            return a
        return result

    def select(self, weights):
        """The chosen samples and heads."""
        if self.samples is not None:
            fold = 1
            if self.batch and isinstance(weights.shape[0], int):  # windows may be folded into the batch
                fold = max(1, weights.shape[0] // self.batch)
            rows = [row * fold + i for row in self.samples for i in range(fold)]
            weights = ops.take(weights, rows, axis=0)
        if self.heads is not None:
            weights = ops.take(weights, self.heads, axis=1)
        return weights

    def low(self, weights):
        """The chosen samples and heads, at the resolution that is wanted."""
        return pooled(self.select(weights), self.resolution)

    @contextmanager
    def asks(self, batch):
        """A layer is called on so many samples for its weights, and may pool them: see `zoo.capture.ours`."""
        self.asking, self.pooled_from = batch, None
        try:
            with self.quiet():
                yield
        finally:
            self.asking = None

    def pools(self, batch, queries, keys):
        """Whether a layer that is asked for a map this large is to pool it itself."""
        if self.raw or self.asking is None or self.asking != batch or self.resolution is None:
            return False
        lengths = zip((queries, keys), self.resolution, strict=True)
        known = isinstance(queries, int) and isinstance(keys, int)
        return known and any(length > most for length, most in lengths)

    # --- What is recorded ---

    def add(self, weights, path, layer=None, *, full=None, ready=False, axes=None):
        """Record weights `(batch, heads, queries, keys)`, which were `full`, and may be ready to be kept."""
        about = {"path": self.next_name(path), "owner": path, "axes": axes, "half": False}
        about["normalised"] = getattr(layer, "normalised", None)
        entry = Entry(about)
        if weights is not None and self.wanted(path):
            entry.full = full or tuple(ops.shape(weights)[2:])
            about["half"] = keras.backend.standardize_dtype(weights.dtype) in ("float16", "bfloat16")
            if not ready and not self.fits(weights.shape[1], path):
                return
            entry.weights = weights if ready or self.raw else self.low(weights)
        self.calls[path] += 1
        self.entries.append(entry)

    def fits(self, heads, path):
        """Whether the chosen heads and samples exist."""
        for what, chosen, size in (
            ("head", self.heads, heads),
            ("sample", self.samples, self.batch),
        ):
            if chosen and isinstance(size, int) and max(chosen) >= size:
                self.problems.append(
                    f"{what.capitalize()} {max(chosen)} was asked for, and {self.next_name(path)} has {size} "
                    f"{what}s; pass {what}s from 0 to {size - 1}."
                )
                return False
        return True

    def miss(self, reason, path):
        """Say why a layer has no map; a map counts more."""
        self.reasons.setdefault(path, reason)


def _is_of_keras(layer):
    return type(layer).__module__.split(".")[0] in ("keras", "keras_hub")


def is_traced(tensor):
    """Whether a tensor stands for numbers that are not there yet."""
    if keras.backend.backend() == "jax":
        from keras.src.utils.module_utils import jax

        return isinstance(tensor, jax.core.Tracer)
    return keras.backend.backend() == "tensorflow" and not hasattr(tensor, "numpy")


def place():
    """The graph that is being traced, None where tensors are numbers: a tensor must not leave its graph."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from keras.src.utils.module_utils import tensorflow as tf

        return tf.compat.v1.get_default_graph() if tf.inside_function() else None
    if backend == "jax":
        from keras.src.utils.module_utils import jax

        return jax._src.core.get_opaque_trace_state(convention="flax")
    return None
