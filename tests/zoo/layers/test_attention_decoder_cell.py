"""Judge: the equations of Bahdanau 2014 and Luong 2015, unrolled in NumPy, and Keras' own LSTM."""

import keras
import numpy as np
import pytest

from zoo.layers import (
    AttentionDecoder,
    AttentionDecoderCell,
    BahdanauAttention,
    HardAttention,
    LuongAttention,
)

BATCH, STEPS, KEYS, FEATURES, DEPTH, UNITS = 3, 5, 7, 11, 13, 17


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def arrays(seed=0, steps=STEPS):
    """A sequence, a memory, and masks of both."""
    rng = np.random.default_rng(seed)
    x, memory = rng.normal(size=(BATCH, steps, FEATURES)), rng.normal(size=(BATCH, KEYS, DEPTH))
    masks = np.arange(steps) < rng.integers(1, steps + 1, size=(BATCH, 1)), rng.random((BATCH, KEYS)) < 0.6
    masks[1][0] = False
    return x.astype("float32"), memory.astype("float32"), *masks


def softmax(e):
    return np.exp(e) / np.exp(e).sum()


def additive(s, memory, W, U, v):
    """Bahdanau's context and weights."""
    a = softmax(np.array([v @ np.tanh(s @ W + m @ U) for m in memory]))
    return a @ memory, a


def general(s, memory, W_a, W_c):
    """Luong's h̃ and weights."""
    a = softmax(np.array([s @ W_a @ m for m in memory]))
    return np.tanh(np.concatenate([a @ memory, s]) @ W_c), a


def reference(x, memory, x_mask, memory_mask, weights, attend, feeding, attention):
    """One sample and one step at a time, with s_t = tanh([x_t; c] K + s_(t-1) R + b)."""
    K, R, b, *scoring = weights
    outputs, scores = [], np.zeros((len(x), x.shape[1], memory.shape[1]))
    for n in range(len(x)):
        outputs.append([])
        where = np.flatnonzero(memory_mask[n])
        s = np.zeros(len(R))
        c = np.zeros_like(attention(s, memory[n], *scoring)[0])

        def look(s, n=n, where=where):
            if not len(where) and attention is additive:
                return np.zeros(memory.shape[2]), 0
            if not len(where):
                return np.tanh(np.concatenate([np.zeros(memory.shape[2]), s]) @ scoring[1]), 0
            return attention(s, memory[n][where], *scoring)

        for t in range(x.shape[1]):
            if not x_mask[n, t]:
                outputs[n].append(np.zeros(len(s) + len(c)))
                continue
            if attend == "before":
                c, scores[n, t, where] = look(s)
            s = np.tanh(np.concatenate([x[n, t], c] if feeding else [x[n, t]]) @ K + s @ R + b)
            if attend == "after":
                c, scores[n, t, where] = look(s)
            outputs[n].append(np.concatenate([s, c]))
    return np.array(outputs), scores


@pytest.mark.parametrize("feeding", [True, False])
@pytest.mark.parametrize("attend", ["before", "after"])
@pytest.mark.parametrize("attention", [additive, general])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_reference(attention, attend, feeding, masked):
    """Outputs and weights are those of the papers' loops, whatever is masked."""
    x, memory, x_mask, memory_mask = arrays()
    layer = BahdanauAttention(19) if attention is additive else LuongAttention(19)
    cell = AttentionDecoderCell(keras.layers.SimpleRNNCell(UNITS), layer, attend, feeding)
    decoder = AttentionDecoder(cell)
    masks = {"sequences_mask": x_mask, "memory_mask": memory_mask} if masked else {}
    y, a = decoder(x, memory, return_attention_scores=True, **masks)
    if not masked:
        x_mask, memory_mask = np.ones_like(x_mask), np.ones_like(memory_mask)
    weights = [numpy(w.value) for w in decoder.weights]
    expected = reference(x, memory, x_mask, memory_mask, weights, attend, feeding, attention)
    np.testing.assert_allclose(expected[0], numpy(y), atol=1e-5)
    np.testing.assert_allclose(expected[1], numpy(a), atol=1e-5)


def stacked():
    return keras.layers.StackedRNNCells([keras.layers.LSTMCell(19), keras.layers.LSTMCell(UNITS)])


def stacked_grus():
    return keras.layers.StackedRNNCells([keras.layers.GRUCell(19), keras.layers.GRUCell(UNITS)])


CELLS = [
    lambda: keras.layers.LSTMCell(UNITS),
    lambda: keras.layers.GRUCell(UNITS),
    lambda: keras.layers.SimpleRNNCell(UNITS),
    stacked,
    stacked_grus,
]


@pytest.mark.parametrize("make", CELLS)
@pytest.mark.parametrize("attend", ["before", "after"])
def test_step_by_step_is_the_whole_sequence(make, attend):
    """Calling the cell a step at a time, as a sampler does, gives what the loop gives, with any cell."""
    x, memory, _, memory_mask = arrays(1)
    cell = AttentionDecoderCell(make(), BahdanauAttention(19), attend)
    expected = numpy(AttentionDecoder(cell)(x, memory, memory_mask=memory_mask))
    states = cell.get_initial_state(BATCH)
    with cell.attending(memory, memory_mask):
        for t in range(STEPS):
            y, states = cell(x[:, t], states)
            np.testing.assert_allclose(expected[:, t], numpy(y), atol=1e-5)


@pytest.mark.parametrize("attention", [keras.layers.Attention, keras.layers.AdditiveAttention])
def test_keras_attention_layers_do(attention):
    """A cell attends with Keras' own layers, whose context is that of one query at a time."""
    x, memory, _, memory_mask = arrays(1)
    memory = memory[:, :, :UNITS]
    layer = attention()
    decoder = AttentionDecoder(AttentionDecoderCell(keras.layers.GRUCell(13), layer, "after"))
    y, a = decoder(x, memory[..., :13], memory_mask=memory_mask | True, return_attention_scores=True)
    s, c = numpy(y)[..., :13], numpy(y)[..., 13:]
    expected_c, expected_a = layer([s, memory[..., :13]], return_attention_scores=True)
    np.testing.assert_allclose(numpy(expected_c), c, atol=1e-5)
    np.testing.assert_allclose(numpy(expected_a), numpy(a), atol=1e-5)


@pytest.mark.parametrize(
    "alignment, window", [("local_monotonic", 1), ("local_predictive", 3), ("global", None)]
)
def test_without_feeding_it_is_an_lstm_and_then_attention(alignment, window):
    """Where nothing is fed back, attention to all states at once is the same; "local_monotonic" counts on."""
    x, memory, _, memory_mask = arrays(2)
    lstm = keras.layers.LSTM(UNITS, return_sequences=True)
    attention = LuongAttention(19, alignment=alignment, window=window)
    h = lstm(x)
    expected, expected_a = attention([h, memory], mask=[None, memory_mask], return_attention_scores=True)
    decoder = AttentionDecoder(AttentionDecoderCell(lstm.cell, attention, "after", input_feeding=False))
    y, a = decoder(x, memory, memory_mask=memory_mask, return_attention_scores=True)
    np.testing.assert_allclose(numpy(h), numpy(y)[..., :UNITS], atol=1e-5)
    np.testing.assert_allclose(numpy(expected), numpy(y)[..., UNITS:], atol=1e-5)
    np.testing.assert_allclose(numpy(expected_a), numpy(a), atol=1e-5)


def test_steps_are_counted_in_half_precision():
    """Step 300 looks at key 300 in bfloat16, which counts exactly only to 256."""
    attention = LuongAttention(2, "general", "local_monotonic", 1, dtype="bfloat16")
    cell = keras.layers.SimpleRNNCell(2, recurrent_initializer="glorot_uniform", dtype="bfloat16")
    decoder = AttentionDecoder(
        AttentionDecoderCell(cell, attention, "after", dtype="bfloat16"), dtype="bfloat16"
    )
    x, memory = np.zeros((1, 303, 1), "float32"), np.zeros((1, 303, 1), "float32")
    _, a = decoder(x, memory, return_attention_scores=True)
    a = numpy(keras.ops.cast(a, "float32"))
    np.testing.assert_array_equal([299, 300, 301], np.flatnonzero(a[0, 300]))


@pytest.mark.parametrize("attend", ["before", "after"])
def test_a_call_goes_on_where_the_last_stopped(attend):
    """With the states that one call returned the next gives the rest of the whole call."""
    x, memory, *_ = arrays(3)
    attention = LuongAttention(19, alignment="local_monotonic", window=1)
    decoder = AttentionDecoder(
        AttentionDecoderCell(keras.layers.LSTMCell(UNITS), attention, attend), return_state=True
    )
    whole, final = decoder(x, memory)
    first, states = decoder(x[:, :2], memory)
    rest, last = decoder(x[:, 2:], memory, initial_state=states)
    np.testing.assert_allclose(numpy(whole), np.concatenate([numpy(first), numpy(rest)], axis=1), atol=1e-5)
    for one, other in zip(final, last, strict=True):
        np.testing.assert_allclose(numpy(one), numpy(other), atol=1e-5)


def test_it_starts_from_the_encoders_state():
    """`initial_state=[h, c]` is that of the recurrent cell; the first context of "before" is read with it."""
    x, memory, *_ = arrays(4)
    rng = np.random.default_rng(0)
    h, c = (rng.normal(size=(BATCH, UNITS)).astype("float32") for _ in range(2))
    cell = AttentionDecoderCell(keras.layers.LSTMCell(UNITS), BahdanauAttention(19))
    y, a = AttentionDecoder(cell)(x, memory, initial_state=[h, c], return_attention_scores=True)
    context, expected_a = cell.attention([h[:, None], memory], return_attention_scores=True)
    np.testing.assert_allclose(numpy(expected_a)[:, 0], numpy(a)[:, 0], atol=1e-5)
    s, _ = cell.cell(np.concatenate([x[:, 0], numpy(context)[:, 0]], axis=1), [h, c])
    np.testing.assert_allclose(numpy(s), numpy(y)[:, 0, :UNITS], atol=1e-5)


@keras.saving.register_keras_serializable(package="test_attention_decoder_cell")
class Translator(keras.layers.Layer):
    """A user's own layer around `keras.layers.RNN` and the cell."""

    def build(self, x_shape, memory_shape):
        cell = AttentionDecoderCell(keras.layers.GRUCell(UNITS), BahdanauAttention(19))
        cell.build((x_shape[0], x_shape[-1]), memory_shape)
        self.rnn = keras.layers.RNN(cell)

    def call(self, x, memory, x_mask=None):
        with self.rnn.cell.attending(memory):
            return self.rnn(x, mask=x_mask)


def test_kerass_rnn_runs_the_cell(tmp_path):
    """In a layer of the user's own it trains, is saved and comes back; masked steps repeat the output."""
    x, memory, x_mask, _ = arrays(5)
    inputs = [keras.Input((None, FEATURES)), keras.Input((None, DEPTH))]
    model = keras.Model(inputs, Translator()(keras.layers.Masking()(inputs[0]), inputs[1]))
    model.compile("adam", "mse")
    target = np.ones((BATCH, UNITS + DEPTH), "float32")
    x = x * x_mask[:, :, None]
    losses = model.fit([x, memory], target, epochs=3, verbose=0).history["loss"]
    assert losses[0] > losses[-1]
    model.save(tmp_path / "model.keras")
    expected = model.predict([x, memory], verbose=0)
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(expected, again.predict([x, memory], verbose=0))
    n = int(x_mask[1].sum())
    shorter = model.predict([x[1:2, :n], memory[1:2]], verbose=0)
    np.testing.assert_allclose(shorter, expected[1:2], atol=1e-5)


def test_the_keys_are_projected_once(monkeypatch):
    """However many steps there are, U k is computed before the first."""
    x, memory, *_ = arrays()
    cell = AttentionDecoderCell(keras.layers.GRUCell(UNITS), BahdanauAttention(19))
    decoder = AttentionDecoder(cell, unroll=True)
    decoder(x, memory)
    calls, project = [], cell.attention.project_keys
    object.__setattr__(cell.attention, "project_keys", lambda key: calls.append(1) or project(key))
    decoder(x, memory)
    assert [1] == calls


def test_dropout_drops_the_same_at_every_step():
    """The recurrent cell's dropout has one mask for a sequence, drawn anew for the next."""
    x, memory = np.ones((1, STEPS, FEATURES), "float32"), np.ones((1, KEYS, DEPTH), "float32")
    inner = keras.layers.SimpleRNNCell(UNITS, dropout=0.5, recurrent_dropout=0.5, seed=3)
    decoder = AttentionDecoder(AttentionDecoderCell(inner, BahdanauAttention(19), input_feeding=False))
    decoder(x, memory)
    # Without recurrence every step computes the same of the same input, unless its mask differs.
    inner.recurrent_kernel.assign(np.zeros((UNITS, UNITS)))
    first, second = (numpy(decoder(x, memory, training=True))[0, :, :UNITS] for _ in range(2))
    np.testing.assert_allclose(first[:1].repeat(STEPS, axis=0), first, atol=1e-6)
    assert np.abs(first - second).max() > 1e-3
    assert np.abs(first - numpy(decoder(x, memory))[0, :, :UNITS]).max() > 1e-3


@pytest.mark.parametrize("make", CELLS)
def test_any_cell_with_dropout_trains(make):
    """A compiled model of it fits: no mask leaks out of the loop."""
    x, memory, *_ = arrays()
    cell = make()
    for one in getattr(cell, "cells", [cell]):
        one.dropout = one.recurrent_dropout = 0.3
    inputs = [keras.Input((STEPS, FEATURES)), keras.Input((KEYS, DEPTH))]
    decoder = AttentionDecoder(AttentionDecoderCell(cell, BahdanauAttention(19)))
    model = keras.Model(inputs, decoder(*inputs))
    model.compile("adam", "mse")
    target = np.zeros((BATCH, STEPS, UNITS + DEPTH))
    losses = model.fit([x, memory], target, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()


def test_hard_attention_draws_anew_at_every_step():
    """In training the decoder's draws differ from step to step and from call to call."""
    steps = 40
    x, memory = np.zeros((1, steps, 2), "float32"), np.ones((1, KEYS, DEPTH), "float32")
    cell = AttentionDecoderCell(keras.layers.GRUCell(UNITS), HardAttention(19, seed=3))
    decoder = AttentionDecoder(cell)
    decoder(x, memory)
    first, second = (
        numpy(decoder(x, memory, training=True, return_attention_scores=True)[1])[0] for _ in range(2)
    )
    np.testing.assert_array_equal(1, first.sum(axis=1))
    assert len(set(first.argmax(axis=1))) > 3
    assert (first != second).any()


def test_a_step_wants_a_memory():
    """The sentence says what to write around it."""
    cell = AttentionDecoderCell(keras.layers.GRUCell(UNITS), BahdanauAttention(19))
    with (
        pytest.raises(ValueError, match=r"^AttentionDecoderCell is not built; type cell\.build\(input_shape"),
        cell.attending(np.zeros((1, KEYS, DEPTH))),
    ):
        pass
    with pytest.raises(
        ValueError, match=r"^AttentionDecoderCell got no memory to build for; type cell\.build"
    ):
        cell.build((1, FEATURES))
    cell.build((1, FEATURES), (1, KEYS, DEPTH))
    with pytest.raises(
        ValueError, match=r"got a step without a memory; write `with cell\.attending\(memory\):`"
    ):
        cell(np.zeros((1, FEATURES)), cell.get_initial_state(1))


def decoder(cell=None, attention=None, **arguments):
    cell = cell or keras.layers.LSTMCell(7)
    return AttentionDecoder(AttentionDecoderCell(cell, attention or BahdanauAttention(7), **arguments))


PAIRS = (
    "pass a layer that is called as attention([query, memory], mask=..., return_attention_scores=True), such "
    "as BahdanauAttention(7)."
)
RANKS = "pass (batch, steps, features) and (batch, keys, depth)."


@pytest.mark.parametrize(
    "sentence, call",
    [
        (
            "AttentionDecoder got cell=<LSTMCell name=cell, built=False>; pass AttentionDecoderCell(cell, at",
            lambda x, m: AttentionDecoder(keras.layers.LSTMCell(7, name="cell")),
        ),
        (
            "AttentionDecoderCell got attend='never'; pass one of 'before', 'after'.",
            lambda x, m: decoder(attend="never"),
        ),
        (
            "AttentionDecoderCell got cell=3; pass a recurrent cell, such as keras.layers.LSTMCell(7).",
            lambda x, m: decoder(3),
        ),
        (
            "AttentionDecoderCell got cell=<LSTM name=rnn, built=False>; pass a recurrent cell, such as",
            lambda x, m: decoder(keras.layers.LSTM(7, name="rnn")),
        ),
        (
            f"AttentionDecoderCell got attention=<Dense name=dense, built=False>; {PAIRS}",
            lambda x, m: decoder(attention=keras.layers.Dense(7, name="dense")),
        ),
        (
            f"AttentionDecoderCell got attention=<MultiHeadAttention name=mh, built=False>; {PAIRS}",
            lambda x, m: decoder(attention=keras.layers.MultiHeadAttention(2, 3, name="mh")),
        ),
        (
            f"AttentionDecoder got sequences of shape (2, 3, 5) and a memory of shape (7, 11, 13); {RANKS}",
            lambda x, m: decoder()(x, np.zeros((7, 11, 13), "float32")),
        ),
        (
            f"got sequences of shape (2, 3, 5) and a memory of shape (2, 1, 11, 13); {RANKS}",
            lambda x, m: decoder()(x, m[:, None]),
        ),
        (
            "a sequences_mask of shape (2, 5) for sequences of shape (2, 3, 5); pass one of shape (2, 3).",
            lambda x, m: decoder()(x, m, sequences_mask=np.ones((2, 5), bool)),
        ),
        (
            "a memory_mask of shape (2, 5) for a memory of shape (2, 11, 13); pass one of shape (2, 11).",
            lambda x, m: decoder()(x, m, memory_mask=np.ones((2, 5), bool)),
        ),
    ],
)
def test_one_sentence(sentence, call):
    """One sentence says what came, what is wanted and what to type."""
    with pytest.raises(ValueError) as error:
        call(np.zeros((2, 3, 5), "float32"), np.zeros((2, 11, 13), "float32"))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "wanted, found, cell",
    [
        *(
            ("[(2, 7), (2, 7)]", found, keras.layers.LSTMCell(7))
            for found in ([(2, 7)], [(2, 7)] * 3, [(2, 7), (2, 5)], [(3, 7)] * 2, [(7,), (7,)])
        ),
        (
            "[[(2, 7), (2, 7)], (2, 5)]",
            [(2, 7), (2, 7), (2, 5)],
            keras.layers.StackedRNNCells([keras.layers.LSTMCell(7), keras.layers.GRUCell(5)]),
        ),
    ],
)
def test_an_initial_state_is_the_cells(wanted, found, cell):
    """The sentence has the shapes that came and those that are wanted, nested as the cells are."""
    sentence = (
        f"AttentionDecoder got an initial_state of shapes {found}; pass the recurrent cell's, {wanted}, or "
        "all that return_state returned."
    )
    state = [np.zeros(shape, "float32") for shape in found]
    with pytest.raises(ValueError) as error:
        decoder(cell)(np.zeros((2, 3, 5)), np.zeros((2, 11, 13)), initial_state=state)
    assert sentence in str(error.value)
