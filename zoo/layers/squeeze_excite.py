"""Squeeze-and-excitation, Hu, Shen and Sun 2018: a gate for every channel."""

import keras
from keras import ops

from zoo.layers.arguments import divisor, feature_map, positive_integer
from zoo.layers.weights import add_weight


@keras.saving.register_keras_serializable(package="attention_zoo")
class SqueezeExcite(keras.layers.Layer):
    """Scales every channel of a feature map by a gate that it reads off all channels' means.

        z = mean of x over rows and columns       (equation 2)
        s = sigmoid(W_2 relu(W_1 z))              (equation 3; no biases)
        x̃ = s · x, channel by channel             (equation 4)

    Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507.

    Call: `layer(x, return_attention_scores=False)` with x `(batch, rows, columns, channels)`. Returns x̃, of
    x's shape; with `return_attention_scores` also s, `(batch, 1, channels)`: one query, whose keys are the
    channels. Gates are between 0 and 1 each, they do not sum to 1. No masks.

    Args:
        ratio: how many times smaller than `channels` the hidden layer is; it divides them.
        kernel_initializer: of W_1 `(channels, channels / ratio)` and W_2 `(channels / ratio, channels)`.

    Raises:
        ValueError: a ratio below 1 or that does not divide the channels; an input that is not of rank 4.

    >>> x, s = SqueezeExcite(ratio=2)(ops.ones((2, 5, 7, 6)), return_attention_scores=True)
    >>> tuple(x.shape), tuple(s.shape)
    ((2, 5, 7, 6), (2, 1, 6))
    """

    def __init__(self, ratio: int = 16, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.ratio = positive_integer("SqueezeExcite", "ratio", ratio)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @property
    def normalised(self) -> bool:
        """Whether the gates sum to 1: no."""
        return False

    def attention_axes(self, input_shape) -> tuple[dict, dict]:
        """What the axes of the scores are: one step, and the channels."""
        return {"kind": "step"}, {"kind": "channel"}

    def build(self, input_shape):
        """Create W_1 and W_2 for a feature map of this shape."""
        channels = feature_map("SqueezeExcite", input_shape)[-1]
        hidden = channels // divisor("SqueezeExcite", "ratio", self.ratio, "channels", channels)
        self.W_1 = add_weight(self, "W_1", (channels, hidden))
        self.W_2 = add_weight(self, "W_2", (hidden, channels))

    def call(self, inputs, return_attention_scores=False):
        """Return the scaled feature map, and the gates if asked for."""
        feature_map("SqueezeExcite", inputs.shape)
        z = ops.mean(inputs, axis=(1, 2))
        s = ops.sigmoid(ops.matmul(ops.relu(ops.matmul(z, self.W_1)), self.W_2))
        scaled = s[:, None, None] * inputs
        return (scaled, s[:, None]) if return_attention_scores else scaled

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "ratio": self.ratio,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
