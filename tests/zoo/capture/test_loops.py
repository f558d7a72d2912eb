"""Attention inside RNN and TimeDistributed. Judge: the same cell, stepped by hand, and the layer, asked."""

import threading

import keras
import numpy as np
import pytest
from keras import ops

import zoo
from zoo.layers import AttentionDecoder, AttentionDecoderCell, BahdanauAttention

BATCH, STEPS, KEYS, DEPTH, UNITS = 3, 7, 11, 5, 13


class AttendingCell(keras.layers.Layer):
    """A cell that attends over a memory of its own weights with `kind`."""

    def __init__(self, how="softmax", **kwargs):
        super().__init__(**kwargs)
        self.state_size = self.output_size = UNITS
        self.how = how
        self.step = keras.layers.Dense(UNITS, activation="tanh")
        self.attention = keras.layers.MultiHeadAttention(2, 3, name="mh")

    def build(self, shape):
        self.memory = self.add_weight(name="memory", shape=(KEYS, UNITS))
        self.step.build((shape[0], shape[-1] + UNITS))
        self.attention.build((shape[0], 1, UNITS), (shape[0], KEYS, UNITS))

    def call(self, x, states):
        (h,) = states
        memory = ops.broadcast_to(ops.convert_to_tensor(self.memory), (ops.shape(x)[0], KEYS, UNITS))
        if self.how == "mh":
            context = self.attention(h[:, None], memory)[:, 0]
        else:
            w = ops.softmax(ops.einsum("bd,bkd->bk", h, memory))
            context = ops.einsum("bk,bkd->bd", w, memory)
        h = self.step(ops.concatenate([x, context], axis=-1))
        return h, [h]

    def weights_by_hand(self, x, mask, numpy):
        """The weights of every step, `(batch, 1, steps, keys)`, by NumPy."""
        h, memory, found = np.zeros((len(x), UNITS)), numpy(self.memory.value), []
        for t in range(x.shape[1]):
            e = h @ memory.T
            w = np.exp(e - e.max(-1, keepdims=True))
            w /= w.sum(-1, keepdims=True)
            valid = mask[:, t, None]
            found.append(np.where(valid, w, 0))
            inputs = np.concatenate([x[:, t], w @ memory], -1)
            new = np.tanh(inputs @ numpy(self.step.kernel) + numpy(self.step.bias))
            h = np.where(valid, new, h)
        return np.stack(found, 1)[:, None]


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_weights_of_every_step_leave_the_loop(x, numpy, unroll, masked, sequences):
    """They are those of the cell stepped by hand, zero at masked steps; the outputs stay the model's."""
    inputs, mask = keras.Input((STEPS, DEPTH)), keras.Input((STEPS,), dtype="bool")
    cell = AttendingCell(name="cell")
    layer = keras.layers.RNN(cell, return_sequences=sequences, unroll=unroll, name="rnn")
    model = keras.Model([inputs, mask], [layer(inputs, mask=mask if masked else None), ops.any(mask)])
    valid = np.ones((BATCH, STEPS), bool)
    valid[0, 4:] = valid[1, :2] = False
    outputs, maps = zoo.attend(model, [x, valid])
    expected = cell.weights_by_hand(x, valid if masked else np.ones_like(valid), numpy)
    np.testing.assert_allclose(expected, maps["rnn/cell"].weights, atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch([x, valid])[0], outputs[0], atol=1e-6)
    with zoo.capture(model) as seen:
        y, _ = model([x, valid])
    np.testing.assert_allclose(expected, seen.maps["rnn/cell"].weights, atol=1e-6)
    np.testing.assert_allclose(outputs[0], numpy(y), atol=1e-6)


def test_a_layer_in_a_cell(x):
    """Two heads, fused, in every step; replaced in every step."""
    inputs = keras.Input((STEPS, DEPTH))
    model = keras.Model(inputs, keras.layers.RNN(AttendingCell("mh", name="cell"), name="rnn")(inputs))
    outputs, maps = zoo.attend(model, x)
    assert (BATCH, 2, STEPS, KEYS) == maps["rnn/cell/mh"].weights.shape
    np.testing.assert_allclose(1.0, maps["rnn/cell/mh"].weights.sum(-1), atol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(x), outputs, atol=1e-6)
    with zoo.capture(model, replace={"rnn/cell/mh": ops.zeros_like}) as seen:
        model(x)
    assert 0 == seen.maps["rnn/cell/mh"].weights.max()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_other_weights_at_every_step(x, numpy, gradients_by_weights, masked, backwards):
    """A map of all steps takes their place, each in its step; gradients are those of such maps."""
    inputs, mask = keras.Input((STEPS, DEPTH)), keras.Input((STEPS,), dtype="bool")
    cell = AttendingCell(name="cell")
    layer = keras.layers.RNN(cell, return_sequences=True, go_backwards=backwards, name="rnn")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask if masked else None) + 0 * ops.any(mask))
    valid = np.ones((BATCH, STEPS), bool)
    valid[0, 4:] = valid[1, :2] = False
    rng = np.random.default_rng(3)
    other, r = rng.random((BATCH, 1, STEPS, KEYS)).astype("float32"), rng.normal(size=(BATCH, STEPS, UNITS))

    def by_hand(a):
        h, memory, found = np.zeros((BATCH, UNITS)), numpy(cell.memory.value), []
        for i in range(STEPS):
            t = STEPS - 1 - i if backwards else i
            new = np.tanh(
                np.concatenate([x[:, t], a[:, 0, i] @ memory], -1) @ numpy(cell.step.kernel)
                + numpy(cell.step.bias)
            )
            h = np.where(valid[:, t, None], new, h) if masked else new
            found.append(h)
        return np.stack(found, axis=1)

    with zoo.capture(model, replace={"rnn/cell": lambda a: ops.convert_to_tensor(other)}) as seen:
        y = model([x, valid])
    np.testing.assert_allclose(other, seen.maps["rnn/cell"].weights, atol=1e-6)
    np.testing.assert_allclose(by_hand(other), numpy(y), atol=1e-5)

    weighted = ops.convert_to_tensor(r.astype("float32"))
    gradient = gradients_by_weights(lambda y: ops.sum(y * weighted), model, [x, valid], "rnn/cell")
    a = zoo.attend(model, [x, valid])[1]["rnn/cell"].weights.astype("float64")
    for index in ((0, 0, 1, 3), (1, 0, 5, 7), (2, 0, 6, 10)):
        step = np.zeros_like(a)
        step[index] = 1e-5
        expected = ((by_hand(a + step) - by_hand(a - step)) * r).sum() / 2e-5
        np.testing.assert_allclose(expected, gradient[index], atol=1e-3)


def test_recurrent_layers_without_attention_are_left_alone(x):
    """An LSTM before the attention."""
    inputs = keras.Input((STEPS, DEPTH))
    y = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))(inputs)
    model = keras.Model(inputs, keras.layers.MultiHeadAttention(2, 3, name="mh")(y, y))
    outputs, maps = zoo.attend(model, x)
    assert ["mh"] == list(maps)
    np.testing.assert_allclose(model.predict_on_batch(x), outputs, atol=1e-6)


@pytest.mark.parametrize(
    "kind", [keras.layers.Attention, zoo.layers.BahdanauAttention], ids=["keras", "ours"]
)
def test_time_distributed(rng, numpy, kind):
    """One map a step, numbered; each is what the layer returns for that step."""

    class Block(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.attention = kind(*([7] if kind is not keras.layers.Attention else []), name="a")

        def build(self, shape):
            self.attention.build([shape, shape])

        def call(self, x):
            return self.attention([x, x])

        def compute_output_shape(self, shape):
            return shape

    x = rng.normal(size=(BATCH, 2, STEPS, DEPTH)).astype("float32")
    inputs = keras.Input((2, STEPS, DEPTH))
    block = Block(name="block")
    model = keras.Model(inputs, keras.layers.TimeDistributed(block, name="td")(inputs))
    _, maps = zoo.attend(model, x)
    assert ["td/block/a", "td/block/a#2"] == list(maps)
    for t, one in enumerate(maps.values()):
        _, scores = block.attention([x[:, t], x[:, t]], return_attention_scores=True)
        np.testing.assert_allclose(numpy(scores)[:, None], one.weights, atol=1e-6)
    assert "call" not in vars(block)


def test_time_distributed_over_unknown_steps(rng):
    """The steps of the data count, not those of the model."""
    x = rng.normal(size=(BATCH, 2, STEPS, DEPTH)).astype("float32")
    inner = keras.Input((STEPS, DEPTH))
    inner = keras.Model(inner, keras.layers.MultiHeadAttention(2, 3, name="mh")(inner, inner), name="inner")
    inputs = keras.Input((None, STEPS, DEPTH))
    model = keras.Model(inputs, keras.layers.TimeDistributed(inner, name="td")(inputs))
    outputs, maps = zoo.attend(model, x)
    assert ["td/inner/mh", "td/inner/mh#2"] == list(maps)
    np.testing.assert_allclose(model.predict(x, verbose=0), outputs, atol=1e-6)


def test_the_attention_of_a_mapped_function_is_missing_by_name(x):
    """Other loops of the graph keep their weights: the result says so, and says why."""

    class Mapped(keras.layers.Layer):
        def call(self, x):
            return ops.map(lambda one: ops.matmul(ops.softmax(one @ ops.transpose(one)), one), x)

    inputs = keras.Input((STEPS, DEPTH))
    y = keras.layers.MultiHeadAttention(2, 3, name="mh")(inputs, inputs)
    _, maps = zoo.attend(keras.Model(inputs, Mapped(name="mapped")(y)), x)
    assert ["mh"] == list(maps)
    assert "loop" in maps.missing["mapped"]


@pytest.fixture
def decoder():
    """A model whose attention is inside a loop: 7 steps over 11 keys."""
    steps, memory = keras.Input((STEPS, DEPTH)), keras.Input((11, DEPTH))
    cell = AttentionDecoderCell(keras.layers.LSTMCell(3), BahdanauAttention(5))
    return keras.Model([steps, memory], AttentionDecoder(cell, name="decoder")(steps, memory))


def test_a_choice_and_a_resolution_inside_a_loop(rng, decoder):
    """Samples are chosen, and rows pooled, when the loop is over."""
    inputs = [rng.normal(size=(BATCH, length, DEPTH)).astype("float32") for length in (STEPS, 11)]
    (_, full), (_, chosen) = zoo.attend(decoder, inputs), zoo.attend(decoder, inputs, samples=[2, 0])
    np.testing.assert_allclose(full["decoder"].weights[[2, 0]], chosen["decoder"].weights, atol=1e-6)
    _, low = zoo.attend(decoder, inputs, resolution=3)
    np.testing.assert_allclose(full["decoder"].pooled(3, 3).weights, low["decoder"].weights, atol=1e-6)
    assert (STEPS, 11) == low["decoder"].full


def test_cells_of_a_stack(rng):
    """A stack's cells are called once before the loop; that call has no map."""

    class Attending(keras.layers.Layer):
        state_size = output_size = 4

        def build(self, shape):
            self.W = self.add_weight(shape=(5, 4))

        def call(self, x, states):
            memory = ops.stack([x, states[0] @ ops.ones((4, 5)), 2 * x], axis=1)
            w = ops.softmax(ops.einsum("bd,bkd->bk", x, memory))
            s = ops.tanh(ops.einsum("bk,bkd->bd", w, memory) @ self.W)
            return s, [s]

    inputs = keras.Input((STEPS, DEPTH))
    cells = [keras.layers.GRUCell(5), Attending(name="attending")]
    model = keras.Model(inputs, keras.layers.RNN(cells, return_sequences=True, name="rnn")(inputs))
    _, maps = zoo.attend(model, rng.normal(size=(BATCH, STEPS, DEPTH)).astype("float32"))
    assert [(BATCH, 1, STEPS, 3)] == [one.weights.shape for one in maps.values()]


def test_another_thread_calls_the_model_meanwhile(rng):
    """Its calls are its own, also of layers inside TimeDistributed."""
    inner = keras.Input((STEPS, DEPTH))
    inner = keras.Model(inner, keras.layers.MultiHeadAttention(2, 3, name="mh")(inner, inner))
    inputs = keras.Input((2, STEPS, DEPTH))
    model = keras.Model(inputs, keras.layers.TimeDistributed(inner)(inputs))
    x = rng.normal(size=(BATCH, 2, STEPS, DEPTH)).astype("float32")
    expected, errors, done = ops.convert_to_numpy(model(x)), [], threading.Event()

    def call():
        while not done.is_set():
            try:
                np.testing.assert_allclose(expected, ops.convert_to_numpy(model(x)), atol=1e-6)
            except Exception as error:
                errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    for _ in range(20):
        with zoo.capture(model) as seen:
            model(x)
        assert 2 == len(seen.maps)
    done.set()
    thread.join()
    assert [] == errors
