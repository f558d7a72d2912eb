"""What a call of a model leaves behind: the weights of its attention, by the path of their layers."""

from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import keras
from keras import ops

from zoo.capture.changes import raised, trainable_zero
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
        # {name: how many factors weights have had when they have met values of their own shape}
        self.summed = {}
        self.tried = set()  # shapes of inputs that the model was called on to learn such names
        self.forgotten = []  # losses of calls that are undone, kept because their ids are
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
        # In a call of a layer that only returns its weights, and in a step of a loop: see `changes`, `loops`.
        self.passage, self.unchanged, self.entered, self.lows = None, False, {}, {}

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
            self.lows = {}

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
    def passing(self, passage):
        """Operations called inside pass through `passage`; `asks` has silenced the hooks."""
        self.passage = passage
        try:
            yield passage
        finally:
            self.passage = None

    @contextmanager
    def left_unchanged(self):
        """Weights stay as they are inside."""
        unchanged, self.unchanged = self.unchanged, True
        try:
            yield
        finally:
            self.unchanged = unchanged

    @contextmanager
    def entering(self, entered):
        """Inside, the weights of a name are those in this dictionary."""
        before, self.entered = self.entered, entered
        try:
            yield
        finally:
            self.entered = before

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
        for mark, weights in self.pending.values():
            path, layer = mark.owner
            if self.meets(mark.root):
                self.summed[self.next_name(path)] = mark.factors
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
        return self.wants(self.next_name(path))

    def wants(self, name):
        """Whether the map of this name was asked for."""
        return self.layers is None or name in self.layers

    def changes(self, name):
        """Whether the weights of this name leave and come back, changed or not."""
        return not self.unchanged and (name in self.replace or (self.differentiable and self.wants(name)))

    def replaces(self, path, root=None):
        """Whether the next weights of this path do so, or if they have met values, whether they did."""
        if id(root) in self.met:
            return id(root) in self.stand_ins
        return self.changes(self.next_name(path))

    def whole(self, path):
        """Whether all the weights of this path are needed at once."""
        return self.passage is not None or (self.listens() and self.replaces(path))

    def replaced(self, a, path, root=None):
        """The weights `(batch, heads, queries, keys)` that take the place of `a`, wherever it goes."""
        if id(root) in self.stand_ins:
            return self.stand_ins[id(root)]
        name = self.next_name(path)
        a = ops.cast(a, keras.backend.result_type(a.dtype, "float32"))
        result = ops.cast(self.entered[name], a.dtype) if name in self.entered else self.changed(a, name)
        if root is not None:
            self.stand_ins[id(root)] = result
        return result

    def changed(self, a, name):
        """What the user's function makes of weights; as gradients need it, if there are to be any."""
        if name in self.replace:
            result = ops.cast(ops.convert_to_tensor(self.replace[name](a)), a.dtype)
            if tuple(result.shape) != tuple(a.shape):
                self.problems.append(
                    f"What replaces the weights of {name} has the shape {tuple(result.shape)}; return one of "
                    f"shape {tuple(a.shape)}: (batch, heads, queries, keys)."
                )
                return a
            a = result
        if not (self.differentiable and self.wants(name) and self.fits(a.shape[1], name)):
            return a
        a = a + ops.cast(trainable_zero(), a.dtype)
        low = self.low(a)
        if low is a:
            return a
        # `a` itself, made to depend on what is handed out. Where both depend on a parameter, the difference
        # does not: its gradient is that of `a` alone.
        handed_out = low + 0
        result = a + raised(handed_out - low, a, self.resolution, self.heads, self.samples_of(a))
        self.lows[id(result)] = result, handed_out
        return result

    def samples_of(self, weights):
        """The rows of the chosen samples; windows may be folded into the batch."""
        if self.samples is None:
            return None
        fold = 1
        if self.batch and isinstance(weights.shape[0], int):
            fold = max(1, weights.shape[0] // self.batch)
        return [row * fold + i for row in self.samples for i in range(fold)]

    def select(self, weights):
        """The chosen samples and heads."""
        if self.samples is not None:
            weights = ops.take(weights, self.samples_of(weights), axis=0)
        if self.heads is not None:
            weights = ops.take(weights, self.heads, axis=1)
        return weights

    def low(self, weights):
        """The chosen samples and heads, at the resolution that is wanted."""
        if id(weights) in self.lows:
            return self.lows[id(weights)][1]
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
        # A loop is asked for whatever is to be changed in it.
        if weights is not None and (self.wanted(path) or (self.raw and about["path"] in self.replace)):
            entry.full = full or tuple(ops.shape(weights)[2:])
            about["half"] = keras.backend.standardize_dtype(weights.dtype) in ("float16", "bfloat16")
            if not ready and not self.fits(weights.shape[1], about["path"]):
                return
            entry.weights = weights if ready or self.raw else self.low(weights)
        self.calls[path] += 1
        self.entries.append(entry)

    def fits(self, heads, name):
        """Whether the chosen heads and samples exist."""
        for what, chosen, size in (
            ("head", self.heads, heads),
            ("sample", self.samples, self.batch),
        ):
            if chosen and isinstance(size, int) and max(chosen) >= size:
                self.problems.append(
                    f"{what.capitalize()} {max(chosen)} was asked for, and {name} has {size} "
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
