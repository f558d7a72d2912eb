"""Rows of a Bahdanau decoder of 64 steps over 256 keys: `AttentionDecoder` beside the same unrolled by hand.

Both are compiled by `tf.function`. A step is one training step: forward, backward, and Adam. Tracing and
compiling is the first step of a new graph.
"""

import itertools

from measure import Row

BATCH, STEPS, KEYS, FEATURES, UNITS = 32, 64, 256, 16, 64
PEER = "unrolled by hand, compiled"
BOUND = {"time": "the same equations in a plain `tf.scan`"}
ROWS = (
    Row(
        "Bahdanau decoder, 64 steps over 256 keys, training step",
        PEER,
        (False,),
        "1.1",
        bound=BOUND,
        repeats=15,
    ),
    Row("Bahdanau decoder, trace and compile", PEER, (True,), "1/5", bound=BOUND, repeats=3),
)


def ready(which, compiles):
    """A training step of a graph that is there, or of a new one at every call."""
    model = decoder() if which == "ours" else by_hand(unrolled=which == "peer")
    if which != "ours":
        check_that_both_compute_the_same(decoder(), model)
    new_graph = training(model)
    return (lambda: new_graph()()) if compiles else new_graph()


def decoder():
    """Ours: a loop of the graph."""
    import keras

    from zoo.layers import AttentionDecoder, AttentionDecoderCell, BahdanauAttention

    x, memory = keras.Input((STEPS, FEATURES)), keras.Input((KEYS, UNITS))
    cell = AttentionDecoderCell(keras.layers.LSTMCell(UNITS), BahdanauAttention(UNITS))
    return keras.Model([x, memory], AttentionDecoder(cell)(x, memory))


def by_hand(unrolled):
    """The same equations, U k computed once: step after step in Python (the peer), or in a plain loop."""
    import keras
    import tensorflow as tf

    class ByHand(keras.layers.Layer):
        def build(self, x_shape, memory_shape):
            self.cell = keras.layers.LSTMCell(UNITS)
            self.cell.build((x_shape[0], FEATURES + UNITS))
            self.W = self.add_weight(shape=(UNITS, UNITS))
            self.U = self.add_weight(shape=(UNITS, UNITS))
            self.v = self.add_weight(shape=(UNITS,))

        def call(self, x, memory):
            Uk = tf.matmul(memory, self.U)

            def step(state, x_t):
                s, c, _ = state
                e = tf.tensordot(tf.tanh(tf.matmul(s, self.W)[:, None] + Uk), self.v, 1)
                context = tf.einsum("bk,bkd->bd", tf.nn.softmax(e), memory)
                s, (_, c) = self.cell(tf.concat([x_t, context], axis=-1), [s, c])
                return s, c, tf.concat([s, context], axis=-1)

            zeros = tf.zeros((tf.shape(x)[0], UNITS))
            start = zeros, zeros, tf.concat([zeros, zeros], axis=-1)
            if not unrolled:
                return tf.transpose(tf.scan(step, tf.transpose(x, (1, 0, 2)), start)[2], (1, 0, 2))
            states = itertools.accumulate(tf.unstack(x, STEPS, axis=1), step, initial=start)
            return tf.stack([output for *_, output in states][1:], axis=1)

    x, memory = keras.Input((STEPS, FEATURES)), keras.Input((KEYS, UNITS))
    return keras.Model([x, memory], ByHand()(x, memory))


def training(model):
    """A function that returns a new graph of one training step, with its inputs."""
    import keras
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x, memory = (tf.constant(rng.normal(size=(BATCH, *i.shape[1:])), "float32") for i in model.inputs)
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    weights = [w.value for w in model.trainable_variables]

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model([x, memory]) ** 2)
        optimizer.apply(tape.gradient(loss, weights), model.trainable_variables)
        return loss

    return lambda: tf.function(step)


def check_that_both_compute_the_same(ours, theirs):
    """With the same weights both models return the same."""
    import numpy as np

    weights = ours.get_weights()
    theirs.set_weights(weights[3:] + weights[:3])  # a layer's own weights come before its cell's
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(2, *i.shape[1:])).astype("float32") for i in ours.inputs]
    np.testing.assert_allclose(ours(inputs), theirs(inputs), atol=1e-5)
