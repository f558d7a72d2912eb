"""Loops of the graph: weights leave a recurrent one as outputs of its steps, and others not at all.

Where weights are to be changed, the recurrent loop runs twice: the weights of all its steps leave the first
run, and what they become enters the second among its inputs.
"""

import math

import keras
from keras import ops

from zoo.capture.changes import undone
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
    with recorder.collected(raw=True) as found, recorder.left_unchanged(), undone(recorder):
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
        self.units, self.dtype, self.found = output.shape[-1], output.dtype, found
        self.time_major = options.get("time_major", False)
        # (heads, queries, keys) of the weights of one step, by name.
        self.shapes = {
            one.about["path"]: tuple(one.weights.shape[1:]) for one in found if one.weights is not None
        }

    def run(self, inputs, initial_states):
        """What `backend.rnn` returns, the weights of its steps recorded."""
        recorder, changed = self.recorder, {}
        if any(map(recorder.changes, self.shapes)):
            with recorder.left_unchanged(), undone(recorder):
                _, maps = self._run(inputs, initial_states, {})
            for name in filter(recorder.changes, maps):
                changed[name] = recorder.changed(maps[name], name)
        results, maps = self._run(inputs, initial_states, changed)
        for entry in self.found:
            name, a, full = entry.about["path"], None, ()
            if name in maps:
                a = changed.get(name, maps[name])
                a, full = recorder.low(a) if recorder.wants(name) else None, tuple(ops.shape(a)[2:])
            recorder.keep([Entry(entry.about, a, full)])
        return results

    def _run(self, inputs, initial_states, changed):
        """What `backend.rnn` returns, and the maps of all steps; those that have `changed` enter them."""
        options = dict(self.options)
        mask = options.pop("mask")
        states, parts = list(initial_states), [inputs]
        if mask is not None:
            states.append(self._before(initial_states, inputs, options))
            parts.append(mask if len(mask.shape) == 3 else mask[..., None])
        parts += [self._columns(changed[name], self.shapes[name]) for name in changed]
        wants_all = options.pop("return_all_outputs", True)
        _, outputs, states = self.original(
            self._step([part.shape[-1] for part in parts], mask is not None, len(initial_states), [*changed]),
            ops.concatenate([ops.cast(part, inputs.dtype) for part in parts], axis=-1),
            states if isinstance(initial_states, list) else tuple(states),
            mask=None,
            return_all_outputs=True,
            **options,
        )
        columns = ops.swapaxes(outputs, 0, 1) if self.time_major else outputs
        maps = self._maps(columns[..., self.units :])
        outputs = ops.cast(columns[..., : self.units], self.dtype)
        last = outputs[:, -1]
        if not wants_all:
            outputs = outputs[:, -1:]
        states = list(states)[: len(initial_states)]
        return (last, ops.swapaxes(outputs, 0, 1) if self.time_major else outputs, states), maps

    def _step(self, sizes, masked, count, changed):
        recorder, zero_output = self.recorder, self.options.get("zero_output_for_mask", False)

        def step(x, states):
            starts = [sum(sizes[:i]) for i in range(len(sizes))]
            x, *parts = (x[:, start : start + size] for start, size in zip(starts, sizes, strict=True))
            if masked:
                valid, previous = parts.pop(0) > 0.5, states[count]
                states = (*states[:count], *states[count + 1 :])
            entered = {
                name: ops.reshape(part, (-1, *self.shapes[name]))
                for name, part in zip(changed, parts, strict=True)
            }
            with recorder.collected(anywhere=True, raw=True) as found, recorder.entering(entered):
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
        return ops.zeros((ops.shape(inputs)[int(self.time_major)], self.units), self.dtype)

    def _maps(self, columns):
        """What the steps returned, `(batch, steps, heads · queries · keys)` for every map, as these maps."""
        maps, start = {}, 0
        for name, (heads, queries, keys) in self.shapes.items():
            size, steps = heads * queries * keys, ops.shape(columns)[1]
            a = ops.reshape(columns[..., start : start + size], (-1, steps, heads, queries, keys))
            maps[name] = ops.reshape(ops.transpose(a, (0, 2, 1, 3, 4)), (-1, heads, steps * queries, keys))
            start += size
        return maps

    def _columns(self, a, shape):
        """A map in the order in which the loop reads its inputs."""
        heads, queries, keys = shape
        steps = ops.shape(a)[2] // queries
        a = ops.transpose(ops.reshape(a, (-1, heads, steps, queries, keys)), (0, 2, 1, 3, 4))
        a = ops.reshape(a, (-1, steps, heads * queries * keys))
        if self.options.get("go_backwards"):  # the loop turns them round again
            a = ops.flip(a, axis=1)
        return ops.swapaxes(a, 0, 1) if self.time_major else a
