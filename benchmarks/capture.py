"""Rows of capture beside the same model without it."""

from measure import Row

# length, depth, heads, layers; None is one attention layer and nothing else
ENCODER, LONG, LONGEST = (128, 128, 4, 6), (2048, 64, 4, 2), (8192, 64, 1, None)
MODEL = "the same model without capture"
UNFUSED = {"time": "the model made to return these maps by Keras' own path"}
IN_BLOCKS = "the model with softmax(q kᵀ) v and the sums of its pooled map, in blocks of queries"
ROWS = (
    Row(
        "capture of all layers, full maps, 6-layer Transformer",
        MODEL,
        (8, ENCODER, {}, "model", "scores"),
        "1.08",
        bound=UNFUSED,
        repeats=31,
    ),
    Row(
        "capture of all layers with `exact=True`",
        MODEL,
        (8, ENCODER, {"exact": True}, "model", "scores"),
        "1.7",
        bound=UNFUSED,
        repeats=31,
    ),
    Row(
        "capture of one layer of the 6",
        MODEL,
        (8, ENCODER, {"layers": ["attention_3"]}, "model", "scores"),
        "1.05",
        bound=UNFUSED,
        repeats=31,
    ),
    Row(
        "capture at 64 × 64, length 2048, 2 layers",
        MODEL,
        (2, LONG, {"resolution": 64}, "model", "blocks"),
        "1.2",
        "1/2",
        {"time": IN_BLOCKS},
    ),
    Row(
        "capture at 128 × 128, length 8192, 1 layer",
        "`return_attention_scores=True`",
        (1, LONGEST, {"resolution": 128}, "scores", "blocks"),
        memory="1/50",
        bound={"memory": IN_BLOCKS},
    ),
)


def ready(which, batch, size, options, peer, bound):
    """A call of one row's graph, traced but never run."""
    variant = {"ours": "capture", "peer": peer}.get(which, bound)
    length, *rest = size
    traced(variant, 1, (length // 16, *rest), options)()  # loads TensorFlow's own code and threads
    return traced(variant, batch, size, options)


def traced(variant, batch, size, options):
    """The function without arguments that runs a "model", its "capture", or one that is a bound."""
    import keras
    import numpy as np
    import tensorflow as tf

    import zoo

    keras.utils.set_random_seed(23)
    model = encoder(*size, variant, options)
    x = tf.constant(np.random.default_rng(23).normal(size=(batch, *size[:2])).astype("float32"))

    def capture(x):
        with zoo.capture(model, **options) as seen:
            return model(x, training=False), list(seen.weights.values())

    call = capture if variant == "capture" else lambda x: model(x, training=False)
    graph = tf.function(call).get_concrete_function(x)
    return lambda: graph(x)


def encoder(length, depth, heads, layers, variant, options):
    """A Transformer encoder; "scores" and "blocks" also return the maps that the options ask for."""
    import keras

    returned = options.get("layers")
    layer = in_blocks(options["resolution"]) if variant == "blocks" else keras.layers.MultiHeadAttention
    x = y = keras.Input((length, depth))
    maps = []
    for i in range(layers or 1):
        attention = layer(heads, depth // heads, name=f"attention_{i}")
        if variant in ("scores", "blocks") and (returned is None or attention.name in returned):
            context, scores = attention(y, y, return_attention_scores=True)
            maps.append(scores)
        else:
            context = attention(y, y)
        if layers is None:
            y = context
        else:
            y = keras.layers.LayerNormalization()(y + context)
            hidden = keras.layers.Dense(4 * depth, "gelu")(y)
            y = keras.layers.LayerNormalization()(y + keras.layers.Dense(depth)(hidden))
    return keras.Model(x, [y, *maps])


def in_blocks(bins, rows=64):
    """Keras' layer, attending to some queries at a time; its scores are pooled to bins × bins."""
    import keras
    import tensorflow as tf

    class InBlocks(keras.layers.MultiHeadAttention):
        def _compute_attention(self, query, key, value, *args, **kwargs):
            q, k, v = (tf.transpose(x, (0, 2, 1, 3)) for x in (query, key, value))
            batch, (heads, length, depth) = tf.shape(q)[0], q.shape[1:]

            def block(q):
                a = tf.nn.softmax(tf.matmul(q, k, transpose_b=True))
                low = tf.reduce_sum(tf.reshape(a, (batch, heads, rows, bins, length // bins)), -1)
                low = tf.reshape(low, (batch, heads, rows * bins // length, length // bins, bins))
                return tf.matmul(a, v), tf.reduce_mean(low, 3)

            blocks = tf.reshape(q * depth**-0.5, (batch, heads, length // rows, rows, depth))
            c, low = tf.map_fn(
                block,
                tf.transpose(blocks, (2, 0, 1, 3, 4)),
                fn_output_signature=(q.dtype, q.dtype),
                parallel_iterations=1,
            )
            c = tf.transpose(c, (1, 0, 3, 2, 4))  # (batch, blocks, rows, heads, depth)
            low = tf.transpose(low, (1, 2, 0, 3, 4))
            return tf.reshape(c, tf.shape(query)), tf.reshape(low, (batch, heads, bins, bins))

    return InBlocks
