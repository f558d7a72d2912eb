"""Loops of the graph: weights leave a recurrent one as outputs of its steps, and others not at all."""

import math
from contextlib import contextmanager

import keras
from keras import ops
from keras.src import backend

from zoo.capture.recorder import Entry

INSIDE = "it ran inside a loop, a branch or a compiled function, which its weights cannot leave"


def closed(recorder, original, *args, **kwargs):
    """A loop or branch whose tensors cannot be kept."""
    with recorder.collected() as inside:
        result = original(*args, **kwargs)
    for entry in inside:
        recorder.miss(INSIDE, entry.about["owner"])
    return result


def shapes(recorder, original, *args, **kwargs):
    """A call for the sake of its shapes."""
    with recorder.quiet():
        return original(*args, **kwargs)


def rnn(recorder, original, step_function, inputs, initial_states, go_backwards=False, mask=None, **kwargs):
    """`backend.rnn` whose steps also return the weights of their attention, `(batch, heads, steps, keys)`."""
    loop = (original, step_function, inputs, initial_states)
    kwargs |= {"go_backwards": go_backwards, "mask": mask}
    plain = recorder.listens() and not keras.tree.is_nested(inputs) and len(inputs.shape) == 3
    if not plain:
        return closed(recorder, *loop, **kwargs)
    first = inputs[0] if kwargs.get("time_major") else inputs[:, 0]
    # One step alone tells whether there is any attention in it.
    with recorder.collected(raw=True) as found, _undone():
        output, _ = step_function(first, (*initial_states, *(kwargs.get("constants") or ())))
    if keras.tree.is_nested(output) or len(output.shape) != 2:
        return closed(recorder, *loop, **kwargs)
    if not any(entry.weights is not None for entry in found):
        recorder.keep(found)
        with recorder.collected():
            return original(*loop[1:], **kwargs)
    return _Loop(recorder, original, step_function, output, found, kwargs).run(inputs, initial_states)


class _Loop:
    """A recurrent loop with weights among its outputs. Masks are applied in the step, not by the loop."""

    def __init__(self, recorder, original, step, output, found, options):
        self.recorder, self.original, self.step, self.options = recorder, original, step, options
        self.units, self.dtype = output.shape[-1], output.dtype
        self.shapes = [None if one.weights is None else tuple(one.weights.shape[1:]) for one in found]
        self.found = found

    def run(self, inputs, initial_states):
        """What `backend.rnn` returns."""
        options = dict(self.options)
        mask = options.pop("mask")
        states = list(initial_states)
        masked = mask is not None
        if masked:
            states.append(self._before(initial_states, inputs, options))
            valid = ops.cast(mask if len(mask.shape) == 3 else mask[..., None], inputs.dtype)
            inputs = ops.concatenate([inputs, valid], axis=-1)
        wants_all = options.pop("return_all_outputs", True)
        _, outputs, states = self.original(
            self._step(masked, options.get("zero_output_for_mask", False), len(initial_states)),
            inputs,
            states if isinstance(initial_states, list) else tuple(states),
            mask=None,
            return_all_outputs=True,
            **options,
        )
        time_major = options.get("time_major", False)
        columns = ops.swapaxes(outputs, 0, 1) if time_major else outputs
        self._record(columns[..., self.units :])
        outputs = ops.cast(columns[..., : self.units], self.dtype)
        last = outputs[:, -1]
        if not wants_all:
            outputs = outputs[:, -1:]
        states = list(states)[: len(initial_states)]
        return last, ops.swapaxes(outputs, 0, 1) if time_major else outputs, states

    def _step(self, masked, zero_output, count):
        def step(x, states):
            previous = None
            if masked:
                x, valid = x[:, :-1], x[:, -1:] > 0.5
                previous, states = states[count], (*states[:count], *states[count + 1 :])
            with self.recorder.collected(anywhere=True, raw=True) as found:
                output, after = self.step(x, states)
            weights = [one.weights for one in found if one.weights is not None]
            weights = [ops.reshape(one, (-1, math.prod(one.shape[1:]))) for one in weights]
            if masked:
                output = ops.where(valid, output, ops.zeros_like(output) if zero_output else previous)
                after = keras.tree.map_structure(
                    lambda new, old: ops.where(valid, new, old), list(after), list(states[:count])
                )
                weights = [ops.where(valid, one, 0.0) for one in weights]
                after = [*after, output]
            self.found = found
            precise = keras.backend.result_type(self.dtype, "float32")
            columns = [ops.cast(one, precise) for one in (output, *weights)]
            return ops.concatenate(columns, axis=-1), list(after)

        return step

    def _before(self, initial_states, inputs, options):
        """The output that a masked first step repeats."""
        if keras.backend.backend() == "jax" and not options.get("unroll"):
            first = initial_states[0]
            return initial_states[-1][0] if keras.tree.is_nested(first) else first
        return ops.zeros((ops.shape(inputs)[int(bool(options.get("time_major")))], self.units), self.dtype)

    def _record(self, columns):
        """Split what the steps returned: `(batch, steps, heads · queries · keys)` for every map."""
        start = 0
        for entry, shape in zip(self.found, self.shapes, strict=True):
            if shape is not None:
                heads, queries, keys = shape
                size, steps = math.prod(shape), ops.shape(columns)[1]
                a = ops.reshape(columns[..., start : start + size], (-1, steps, *shape))
                a = ops.reshape(ops.transpose(a, (0, 2, 1, 3, 4)), (-1, heads, steps * queries, keys))
                start += size
                if self.recorder.differentiable:
                    self.recorder.problems.append(
                        f"No gradient passes through the weights of {entry.about['path']}, which leave a "
                        "loop step by step; leave it out, or unroll its steps yourself."
                    )
                full = (steps * entry.full[0], entry.full[1])
                entry = Entry(entry.about, self.recorder.low(a), full)
            self.recorder.keep([entry])


@contextmanager
def _undone():
    """Updates of variables made inside are forgotten."""
    if not backend.in_stateless_scope():
        with keras.StatelessScope(collect_losses=True):
            yield
        return
    scope = backend.get_stateless_scope()
    values, losses = dict(scope.state_mapping), list(scope.losses or [])
    try:
        yield
    finally:
        scope.state_mapping.clear()
        scope.state_mapping.update(values)
        if scope.losses is not None:
            scope.losses[:] = losses
