"""Rows of multi-head attention beside Keras' own layer: a training step, and a sliding window."""

from measure import Row

PEER = "`keras.layers.MultiHeadAttention`"
CASES = (
    ("plain", {}, False, {}),
    ("padding", {}, True, {}),
    ("causal", {}, False, {"use_causal_mask": True}),
    ("dropout 0.1", {"dropout": 0.1}, False, {}),
)
SIZES = ((32, 128, 64, 4), (8, 512, 128, 8))  # batch, length, depth, heads
ROWS = (
    *(
        Row(
            f"`MultiHeadAttention` training step, {name}, batch {size[0]}, length {size[1]}",
            PEER,
            (size, *case, True),
            "1.05",
            repeats=31,
        )
        for size in SIZES
        for name, *case in CASES
    ),
    # The window's projections cost what they cost Keras: few features let the attention itself be seen.
    Row(
        "`MultiHeadAttention`, sliding window 16, batch 1, length 2048",
        "its `sliding_window=16`",
        ((1, 2048, 128, 8), {"sliding_window": 16}, False, {}, False),
        "1/5",
        "1/20",
        {"memory": "the four projections"},
        repeats=31,
    ),
)


def ready(which, size, arguments, padded, options, train):
    """A call of one row's graph; where nothing is trained, traced but never run."""
    import keras
    import tensorflow as tf

    from zoo.layers import MultiHeadAttention

    batch, length, depth, heads = size
    keras.utils.set_random_seed(23)
    classes = {"ours": MultiHeadAttention, "peer": keras.layers.MultiHeadAttention}
    layer = classes.get(which, without_attention())(heads, depth // heads, **arguments)
    layer.build((batch, length, depth), (batch, length, depth))
    x = keras.random.normal((batch, length, depth), seed=1)
    if padded:
        options = {"value_mask": tf.sequence_mask(tf.linspace(length // 2, length, batch), length)}
    if train:
        return step(layer, x, options)

    def forward(x):
        return layer(x, x)

    tf.function(forward)(x[:1, : length // 16])  # loads TensorFlow's own code and threads
    graph = tf.function(forward).get_concrete_function(x)
    return lambda: graph(x)


def step(layer, x, options):
    """A compiled training step as a function without arguments: forward, backward, and an update."""
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.SGD(1e-3)
    optimizer.build(layer.trainable_variables)

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer(x, x, training=True, **options) ** 2)
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
        return loss

    return train


def without_attention():
    """Keras' layer with its four projections, and a sum in place of the attention."""
    import keras

    class WithoutAttention(keras.layers.MultiHeadAttention):
        def _compute_attention(self, query, key, value, *args, **kwargs):
            return query + key + value, None

    return WithoutAttention
