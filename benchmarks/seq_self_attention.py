"""Rows of SeqSelfAttention beside that of keras-self-attention."""

from measure import Row

PEER = "keras-self-attention"
# Numbers held at a time; the best of 2^17, 2^18, …, 2^22 for either figure.
BLOCK = {"least time": 2**21, "least memory": 2**18}
WINDOW = {"attention_width": 16}
MULTIPLICATIVE = {"attention_type": "multiplicative"}
ADDITIVE = {"time": "softmax(tanh(q + k) W) x in blocks of queries"}
ROWS = (
    Row(
        "`SeqSelfAttention` additive, batch 32, length 512",
        PEER,
        (32, 512, {}),
        "1",
        "1/10",
        ADDITIVE,
    ),
    Row(
        "`SeqSelfAttention` additive, batch 1, length 2048",
        PEER,
        (1, 2048, {}),
        "0.65",
        "1/40",
        ADDITIVE,
    ),
    Row(
        "`SeqSelfAttention` additive, training step, batch 4, length 1024",
        PEER,
        (4, 1024, {}, True),
        "1.5",
        "1/5",
    ),
    Row(
        "`SeqSelfAttention`, width 16, additive, batch 8, length 512",
        PEER,
        (8, 512, WINDOW),
        "1/15",
        "1/20",
        dict.fromkeys(("time", "memory"), "softmax(tanh(q + k) W) of the window's pairs, no sum of x"),
        cpu=True,
    ),
    Row(
        "`SeqSelfAttention`, width 16, additive, batch 1, length 2048",
        PEER,
        (1, 2048, WINDOW),
        "1/40",
        "1/20",
        cpu=True,
    ),
    Row(
        "`SeqSelfAttention`, width 16, multiplicative, batch 1, length 8192",
        PEER,
        (1, 8192, WINDOW | MULTIPLICATIVE),
        "1/30",
        "1/60",
        cpu=True,
    ),
    Row(
        "`SeqSelfAttention` multiplicative, batch 1, length 8192, no window",
        PEER,
        (1, 8192, MULTIPLICATIVE),
        "1/3",
        "1/50",
        dict.fromkeys(("time", "memory"), "softmax(x W xᵀ) x in blocks of queries"),
    ),
)
DEPTH = UNITS = 32


def ready(which, batch, length, arguments, train=False):
    """A call of one row's graph, traced but never run."""
    import keras
    import keras_self_attention
    import numpy as np
    import tensorflow as tf

    from zoo.layers import SeqSelfAttention

    keras.utils.set_random_seed(23)
    layer = (keras_self_attention.SeqSelfAttention if which == "peer" else SeqSelfAttention)(
        units=UNITS, **arguments
    )
    layer.build((batch, length, DEPTH))
    x = tf.constant(np.random.default_rng(23).normal(size=(batch, length, DEPTH)).astype("float32"))

    def forward(x):
        if which not in BLOCK:
            return layer(x)
        return (in_window if layer.attention_width else in_blocks)(x, layer, BLOCK[which])

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer(x) ** 2)
        return tape.gradient(loss, [w.value for w in layer.trainable_weights])

    call = step if train else forward
    # These load TensorFlow's own code and threads: of windows, which less than 128 steps skip, and of loops.
    # Not more of x: memory that a longer run has freed is there for the call, and its figure too small.
    tf.function(call)(x[:1, : max(128, length // 16)])
    tf.function(lambda x: tf.map_fn(tf.tanh, x, parallel_iterations=1))(x[0])
    graph = tf.function(call).get_concrete_function(x)
    return lambda: graph(x)


def in_blocks(x, layer, size):
    """softmax(e) x with nothing kept but a block of queries; b_a would not change the softmax."""
    import tensorflow as tf

    batch, length, depth = x.shape
    additive = layer.attention_type == "additive"
    q, k = (x @ layer.Wt + layer.bh, x @ layer.Wx) if additive else (x @ layer.Wa, x)
    rows = min(length, size // (length * (UNITS if additive else 1)))
    q = tf.reshape(q, (-1, rows, depth))

    def block(i):
        values, keys = x[i * rows // length], k[i * rows // length]
        if additive:
            h = tf.tanh(tf.transpose(q[i])[:, :, None] + tf.transpose(keys)[:, None])
            e = tf.reshape(tf.matmul(layer.Wa, tf.reshape(h, (UNITS, -1)), transpose_a=True), (rows, length))
        else:
            e = tf.matmul(q[i], keys, transpose_b=True)
        return tf.matmul(tf.nn.softmax(e), values)

    blocks = tf.range(batch * length // rows)
    return tf.reshape(tf.map_fn(block, blocks, fn_output_signature=x.dtype, parallel_iterations=1), x.shape)


def in_window(x, layer, size):
    """softmax(e) of the keys around each query, some samples at a time; those beyond the ends are zeros."""
    import tensorflow as tf

    batch, length, width = *x.shape[:2], layer.attention_width
    samples = min(batch, size // (length * width * UNITS))
    i_and_o = tf.range(length)[:, None] + tf.range(width)

    def block(x):
        q, k = x @ layer.Wt + layer.bh, tf.pad(x @ layer.Wx, ((0, 0), (width // 2, width // 2), (0, 0)))
        h = tf.tanh(q[:, :, None] + tf.gather(k, i_and_o, axis=1))
        return tf.nn.softmax(tf.tensordot(h, layer.Wa[:, 0], 1))

    return tf.map_fn(block, tf.reshape(x, (-1, samples, length, DEPTH)), parallel_iterations=1)
