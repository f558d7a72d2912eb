"""What `zoo.AttentionLogger` at its default interval adds to the time of a training."""

import json
import sys
import tempfile
import time

import numpy as np


def ready(which):
    """A compiled model, its data and a sample of four, of the scripts' forecaster or of a transformer."""
    import keras

    import zoo

    rng = np.random.default_rng(0)
    if which == "forecaster":
        model = zoo.models.lstm_forecaster(60, 3, 5)
        x, y = rng.normal(size=(3500, 60, 3)), rng.normal(size=(3500, 5))
    else:
        model = transformer(keras)
        x, y = rng.integers(0, 1000, (1024, 128)), rng.integers(0, 2, 1024)
    model.compile("adam", "mse" if which == "forecaster" else "sparse_categorical_crossentropy")
    return model, x, y


def transformer(keras, length=128, width=128, heads=4, layers=4):
    """An encoder with a class on top."""
    tokens = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(1000, width)(tokens)
    for _ in range(layers):
        x = keras.layers.LayerNormalization()(
            x + keras.layers.MultiHeadAttention(heads, width // heads)(x, x)
        )
        dense = keras.layers.Dense(width)(keras.layers.Dense(4 * width, "gelu")(x))
        x = keras.layers.LayerNormalization()(x + dense)
    pooled = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, keras.layers.Dense(2, "softmax")(pooled))


def cost(which, epochs=4):
    """Seconds of a compiled training without what the logger took in it, and what it took."""
    import zoo

    class Timed(zoo.AttentionLogger):
        seconds = 0

        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if name not in ("on_train_begin", "on_epoch_end", "on_train_batch_end", "on_train_end"):
                return found

            def timed(*arguments, **named):
                began = time.perf_counter()
                found(*arguments, **named)
                self.seconds += time.perf_counter() - began

            return timed

    model, x, y = ready(which)
    model.fit(x, y, batch_size=64, epochs=1, verbose=0)  # compiles
    with tempfile.TemporaryDirectory() as logs:
        warm = zoo.AttentionLogger(logs, x[:4], name="warm")
        model.fit(x, y, batch_size=64, epochs=1, verbose=0, callbacks=[warm])
        logger = Timed(logs, x[:4])
        began = time.perf_counter()
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=0, callbacks=[logger])
        return time.perf_counter() - began - logger.seconds, logger.seconds


if __name__ == "__main__":
    print(json.dumps(cost(sys.argv[1])))
