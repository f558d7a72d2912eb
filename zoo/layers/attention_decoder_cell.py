"""Recurrent decoders that attend at every step: the cell, and the layer that runs it over a sequence."""

import inspect
from contextlib import contextmanager

import keras
from keras import ops

from zoo.layers.arguments import check_mask, fit, one_of
from zoo.layers.show_attend_tell import doubly_stochastic_penalty

ATTEND = ("before", "after")


@keras.saving.register_keras_serializable(package="attention_zoo")
class AttentionDecoderCell(keras.layers.Layer):
    """A recurrent cell that attends over a memory at every step; `keras.layers.RNN` runs it.

        c_t = attention(s_(t-1), memory)        "before" (Bahdanau 2014, section 3.1, appendix A.2.2)
        s_t = cell([x_t; c_t], s_(t-1))

        s_t = cell([x_t; c_(t-1)], s_(t-1))     "after" (Luong 2015, section 3.3, input feeding; c_0 = 0)
        c_t = attention(s_t, memory)

        y_t = [s_t; c_t]

    https://arxiv.org/abs/1409.0473, https://arxiv.org/abs/1508.04025. c_t is what the attention returns: with
    `LuongAttention` it is h̃_t.

    Call: `output, states = cell(x_t, states)` with x_t `(batch, features)`; the output is y_t `(batch, units
    + context_depth)`, and states are [y, the recurrent cell's own …, the step's number], so that the first is
    the output, as `keras.layers.RNN` wants. The memory `(batch, keys, depth)` comes from outside:

        with cell.attending(memory):
            output, states = cell(x_t, states)

    Its projection, U k_j of additive attention, is computed once, on entering. Inside a layer of your own
    write `with self.cell.attending(memory): return self.rnn(x)`; `AttentionDecoder` is that layer.

    Args:
        cell: a recurrent cell, such as `keras.layers.LSTMCell(7)`, or `keras.layers.StackedRNNCells`, whose
            topmost attends.
        attention: a layer called as `attention([query, memory], mask=[None, memory_mask],
            return_attention_scores=True)`, such as `BahdanauAttention(7)`.
        attend: "before" the cell's step, with the state before it, or "after".
        input_feeding: whether the cell reads the context beside its input.

    Raises:
        ValueError: not a cell, or not an attention; an unknown `attend`; a step, or `attending`, before the
            cell is built; a step outside of `attending`.

    >>> cell = AttentionDecoderCell(keras.layers.GRUCell(7), keras.layers.Attention())
    >>> cell.build((2, 3), (2, 11, 7))
    >>> with cell.attending(ops.ones((2, 11, 7))):
    ...     output, states = cell(ops.ones((2, 3)), cell.get_initial_state(2))
    >>> tuple(output.shape), [tuple(state.shape) for state in states]
    ((2, 14), [(2, 14), (2, 7), (2, 2)])
    """

    def __init__(self, cell, attention, attend: str = "before", input_feeding: bool = True, **kwargs):
        super().__init__(**kwargs)
        if isinstance(cell, keras.layers.RNN) or not (callable(cell) and hasattr(cell, "state_size")):
            raise ValueError(
                f"AttentionDecoderCell got cell={cell!r}; pass a recurrent cell, such as "
                "keras.layers.LSTMCell(7)."
            )
        if not _takes_pairs(attention):
            raise ValueError(
                f"AttentionDecoderCell got attention={attention!r}; pass a layer that is called as "
                "attention([query, memory], mask=..., return_attention_scores=True), such as "
                "BahdanauAttention(7)."
            )
        self.cell, self.attention = cell, attention
        self.attend = one_of("AttentionDecoderCell", "attend", attend, ATTEND)
        self.input_feeding = bool(input_feeding)
        self.output_size = self._memory = None

    @property
    def normalised(self) -> bool:
        """Whether the weights of a step sum to 1."""
        return getattr(self.attention, "normalised", True)

    def build(self, input_shape, memory_shape=None):
        """Build the parts for a step's input `(batch, features)` and a memory `(batch, keys, depth)`."""
        if memory_shape is None:
            raise ValueError(
                "AttentionDecoderCell got no memory to build for; type cell.build(input_shape, memory_shape) "
                "first, or use AttentionDecoder(cell)."
            )
        if not self.attention.built:
            self.attention.build([(input_shape[0], 1, self.units), tuple(memory_shape)])
        one = [(1, 1, self.units), (1, *(2 for _ in memory_shape[1:-1]), memory_shape[-1])]
        context = self.attention([ops.zeros(shape, self.compute_dtype) for shape in one])
        self.output_size = self.units + context.shape[-1]
        self.input_depth = input_shape[-1] + (context.shape[-1] if self.input_feeding else 0)
        if not self.cell.built:
            self.cell.build((input_shape[0], self.input_depth))

    @property
    def units(self) -> int:
        """The size of s_t."""
        return _output_size(self.cell)

    @property
    def state_size(self) -> list:
        """The sizes of the output (None until built), of the cell's own states, and of the step's number."""
        inner = self.cell.state_size
        return [self.output_size, *([inner] if isinstance(inner, int) else inner), 2]

    def get_initial_state(self, batch_size=None):
        """Zeros."""
        return [self._zeros(batch_size, size) for size in self.state_size]

    @contextmanager
    def attending(self, memory, mask=None, return_attention_scores=False):
        """Inside, the cell attends over `memory` where the mask `(batch, keys)` is True.

        With `return_attention_scores` the cell's output is [y_t; a_t], a_t `(batch, keys)`.
        """
        if not self.built:
            raise ValueError("AttentionDecoderCell is not built; type cell.build(input_shape, memory_shape).")
        memory = ops.cast(memory, self.compute_dtype)
        self._memory, self._mask, self._scores = memory, mask, return_attention_scores
        self._constants = {}
        if hasattr(self.attention, "project_keys"):
            self._constants["projected_keys"] = self.attention.project_keys(memory)
        dropping = [(cell, depth) for cell, depth in self._cells() if hasattr(cell, "reset_dropout_mask")]
        try:
            for cell, depth in dropping:
                # One mask for all steps, drawn outside of their loop.
                cell.get_dropout_mask(self._zeros(ops.shape(memory)[0], depth))
                cell.get_recurrent_dropout_mask(self._zeros(ops.shape(memory)[0], cell.units))
            yield
        finally:
            self._memory = self._mask = self._constants = None
            for cell, _ in dropping:
                cell.reset_dropout_mask()
                cell.reset_recurrent_dropout_mask()

    def call(self, inputs, states, training=None):
        """Return y_t, and the states after the step."""
        if self._memory is None:
            raise ValueError(
                "AttentionDecoderCell got a step without a memory; write `with cell.attending(memory):` "
                "around it, or use AttentionDecoder(cell)."
            )
        y, *inner, t = states
        c = y[:, self.units :]
        if self.attend == "before":
            c, a = self._context(self._hidden(inner), t, training)
        x = ops.concatenate([inputs, c], axis=-1) if self.input_feeding else inputs
        s, after = self.cell(x, inner)
        if self.attend == "after":
            c, a = self._context(s, t, training)
        y = ops.concatenate([s, c], axis=-1)
        inner = keras.tree.pack_sequence_as(inner, keras.tree.flatten(after))
        return (ops.concatenate([y, a], axis=-1) if self._scores else y), [y, *inner, _next(t)]

    def _context(self, query, t, training):
        """c_t and a_t of one query `(batch, units)`."""
        arguments = dict(self._constants)
        if getattr(self.attention, "alignment", None) == "local_monotonic":
            arguments["position"] = ops.max(_number(t))
        c, a = self.attention(
            [query[:, None], self._memory],
            mask=[None, self._mask],
            return_attention_scores=True,
            training=training,
            **arguments,
        )
        return c[:, 0], a[:, 0]

    def _hidden(self, inner):
        """s_(t-1) among the cell's states: the first, of the topmost cell where several are stacked."""
        top = inner[-1] if isinstance(self.cell, keras.layers.StackedRNNCells) else inner
        return top[0] if isinstance(top, (list, tuple)) else top

    def _cells(self):
        """The cells, each with the depth of its input."""
        cells = getattr(self.cell, "cells", [self.cell])
        depths = [self.input_depth, *map(_output_size, cells[:-1])]
        return list(zip(cells, depths, strict=True))

    def _zeros(self, batch_size, size):
        if isinstance(size, int):
            return ops.zeros((batch_size, size), dtype=self.compute_dtype)
        return [self._zeros(batch_size, one) for one in size]

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "cell": keras.saving.serialize_keras_object(self.cell),
            "attention": keras.saving.serialize_keras_object(self.attention),
            "attend": self.attend,
            "input_feeding": self.input_feeding,
        }

    @classmethod
    def from_config(cls, config):
        """Make the layer of `get_config`."""
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("cell", "attention")}
        return cls(**config | parts)


@keras.saving.register_keras_serializable(package="attention_zoo")
class AttentionDecoder(keras.layers.Layer):
    """Runs an `AttentionDecoderCell` over a sequence: `keras.layers.RNN` with a memory.

    Call: `decoder(sequences, memory, initial_state=None, sequences_mask=None, memory_mask=None,
    return_attention_scores=False)` with sequences `(batch, steps, features)` and memory `(batch, keys,
    depth)`, or a feature map for `ShowAttendTell`. `initial_state` is the recurrent cell's, such as the
    encoder's final [h, c], or all that `return_state` returned; zeros if not given. Returns y `(batch, steps,
    units + context_depth)`; with `return_attention_scores` also a, `(batch, steps, keys)`; with
    `return_state` also the list of final states, with which a later call goes on.

    Masks: booleans `(batch, steps)` and `(batch, keys)`, True where valid; masks that the inputs carry are
    used where none is given. A masked step leaves the state as it is, its output and weights are zeros; pad
    on the right, since "local_monotonic" counts the steps of the longest sequence. A masked key gets a weight
    of exactly 0.

    Args:
        cell: an `AttentionDecoderCell`.
        return_state: whether to return the final states.
        unroll: whether to write out the steps instead of looping over them: `keras.layers.RNN`'s.

    Raises:
        ValueError: a cell that is not an `AttentionDecoderCell`; inputs of other ranks or of two batch
            sizes; a mask or an initial state that does not fit.

    >>> decoder = AttentionDecoder(AttentionDecoderCell(keras.layers.LSTMCell(7), keras.layers.Attention()))
    >>> y, a = decoder(ops.ones((2, 5, 3)), ops.ones((2, 11, 7)), return_attention_scores=True)
    >>> tuple(y.shape), tuple(a.shape)
    ((2, 5, 14), (2, 5, 11))
    """

    def __init__(self, cell, return_state: bool = False, unroll: bool = False, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(cell, AttentionDecoderCell):
            raise ValueError(
                f"AttentionDecoder got cell={cell!r}; pass AttentionDecoderCell(cell, attention)."
            )
        self.cell, self.return_state, self.unroll = cell, bool(return_state), bool(unroll)
        self.supports_masking = True

    @property
    def normalised(self) -> bool:
        """Whether the weights of a step sum to 1."""
        return self.cell.normalised

    def attention_axes(self, sequences_shape, memory_shape) -> tuple[dict, dict]:
        """What the axes of the scores are: steps, and what the attention says of the memory."""
        keys = {"kind": "step"}
        if hasattr(self.cell.attention, "attention_axes"):
            keys = self.cell.attention.attention_axes([sequences_shape, memory_shape])[1]
        return {"kind": "step"}, keys

    def build(self, sequences_shape, memory_shape, initial_state_shape=None):
        """Build the cell, and the loop around it, for inputs of these shapes."""
        self._check(tuple(sequences_shape), tuple(memory_shape))
        if not self.cell.built:
            self.cell.build((sequences_shape[0], sequences_shape[-1]), memory_shape)
        self.rnn = keras.layers.RNN(
            self.cell,
            return_sequences=True,
            return_state=True,
            zero_output_for_mask=True,
            unroll=self.unroll,
            dtype=self.dtype_policy,
        )

    def call(
        self,
        sequences,
        memory,
        initial_state=None,
        sequences_mask=None,
        memory_mask=None,
        return_attention_scores=False,
        training=None,
    ):
        """Return y, then the weights and the final states if asked for."""
        penalty = getattr(self.cell.attention, "doubly_stochastic", 0) if training else 0
        self._check(tuple(sequences.shape), tuple(memory.shape))
        check_mask("AttentionDecoder", "sequences_mask", sequences_mask, "sequences", sequences.shape)
        check_mask("AttentionDecoder", "memory_mask", memory_mask, "a memory", memory.shape)
        state = self.cell.get_initial_state(ops.shape(sequences)[0])
        if initial_state is not None:
            given = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
            whole = len(given) == len(state)
            _check_state(given, state if whole else state[1:-1], state[1:-1])
            state = given if whole else [state[0], *given, state[-1]]
        # In a loop of JAX a draw would be the same at every step.
        draws = keras.backend.backend() == "jax" and hasattr(self.cell.attention, "seed_generator")
        self.rnn.unroll = self.unroll or (draws and isinstance(sequences.shape[1], int))
        with self.cell.attending(memory, memory_mask, return_attention_scores or bool(penalty)):
            y, *state = self.rnn(sequences, initial_state=state, mask=sequences_mask, training=training)
        y, a = y[..., : self.cell.output_size], y[..., self.cell.output_size :]
        if penalty:
            self.add_loss(penalty * doubly_stochastic_penalty(a))
        results = [y]
        if return_attention_scores:
            results.append(a)
        if self.return_state:
            results.append(state)
        return results[0] if len(results) == 1 else tuple(results)

    def _check(self, sequences, memory):
        # An attention whose keys are not steps says so; one such may take a feature map.
        ranks = (3, 4) if hasattr(self.cell.attention, "attention_axes") else (3,)
        if len(sequences) != 3 or len(memory) not in ranks or not fit(sequences[:1], memory[:1]):
            raise ValueError(
                f"AttentionDecoder got sequences of shape {sequences} and a memory of shape {memory}; pass "
                "(batch, steps, features) and (batch, keys, depth)."
            )

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "cell": keras.saving.serialize_keras_object(self.cell),
            "return_state": self.return_state,
            "unroll": self.unroll,
        }

    @classmethod
    def from_config(cls, config):
        """Make the layer of `get_config`."""
        return cls(**config | {"cell": keras.saving.deserialize_keras_object(config["cell"])})


def _takes_pairs(attention):
    """Whether a layer is called as the cell calls it."""
    call = getattr(attention, "call", None)
    taken = inspect.signature(call).parameters if callable(call) else {}
    whatever = any(one.kind is one.VAR_KEYWORD for one in taken.values())
    return bool(taken) and (whatever or {"mask", "return_attention_scores"} <= set(taken))


def _check_state(given, wanted, inner):
    if not _alike(_shapes(given), _shapes(wanted)):
        raise ValueError(
            f"AttentionDecoder got an initial_state of shapes {_shapes(given)}; pass the recurrent cell's, "
            f"{_shapes(inner)}, or all that return_state returned."
        )


def _shapes(states):
    """The shapes of nested states, in lists as they are."""
    if isinstance(states, (list, tuple)):
        return [_shapes(state) for state in states]
    return tuple(getattr(states, "shape", ()))


def _alike(given, wanted):
    if type(given) is not type(wanted) or len(given) != len(wanted):
        return False
    return fit(given, wanted) if isinstance(wanted, tuple) else all(map(_alike, given, wanted))


def _output_size(cell):
    size = getattr(cell, "output_size", None) or cell.state_size
    return size if isinstance(size, int) else size[0]


# The step's number has two digits to the base 128: bfloat16 counts exactly only to 256.


def _number(t):
    t = ops.cast(t, "int32")
    return 128 * t[:, 0] + t[:, 1]


def _next(t):
    low = t[:, 1:] + 1
    carry = ops.floor(low / 128)
    return ops.concatenate([t[:, :1] + carry, low - 128 * carry], axis=-1)
