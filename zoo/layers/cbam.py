"""The convolutional block attention module, Woo, Park, Lee and Kweon 2018: what, then where."""

import keras
from keras import ops

from zoo.layers.arguments import divisor, feature_map, positive_integer
from zoo.layers.weights import add_weight


@keras.saving.register_keras_serializable(package="attention_zoo")
class ChannelAttention(keras.layers.Layer):
    """Scales every channel of a feature map F by a gate read off the channels' means and maxima.

        M_c(F) = sigmoid(MLP(mean F) + MLP(max F)),  MLP(z) = W_1 relu(W_0 z)     (equation 2; no biases)
        F'     = M_c(F) · F, channel by channel                                   (equation 1)

    CBAM: Convolutional Block Attention Module, https://arxiv.org/abs/1807.06521. Mean and maximum run over
    rows and columns.

    Call: `layer(F, return_attention_scores=False)` with F `(batch, rows, columns, channels)`. Returns F', of
    F's shape; with `return_attention_scores` also M_c, `(batch, 1, channels)`: one query, whose keys are the
    channels. Gates are between 0 and 1 each, they do not sum to 1. No masks.

    Args:
        ratio: r, how many times smaller than `channels` the hidden layer is; it divides them.
        kernel_initializer: of W_0 `(channels, channels / ratio)` and W_1 `(channels / ratio, channels)`.

    Raises:
        ValueError: a ratio below 1 or that does not divide the channels; an input that is not of rank 4.

    >>> _, gates = ChannelAttention(ratio=2)(ops.ones((2, 5, 7, 6)), return_attention_scores=True)
    >>> tuple(gates.shape)
    (2, 1, 6)
    """

    def __init__(self, ratio: int = 16, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.ratio = positive_integer("ChannelAttention", "ratio", ratio)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @property
    def normalised(self) -> bool:
        """Whether the gates sum to 1: no."""
        return False

    def attention_axes(self, input_shape) -> tuple[dict, dict]:
        """What the axes of the scores are: one step, and the channels."""
        return {"kind": "step"}, {"kind": "channel"}

    def build(self, input_shape):
        """Create W_0 and W_1 for a feature map of this shape."""
        channels = feature_map("ChannelAttention", input_shape)[-1]
        hidden = channels // divisor("ChannelAttention", "ratio", self.ratio, "channels", channels)
        self.W_0 = add_weight(self, "W_0", (channels, hidden))
        self.W_1 = add_weight(self, "W_1", (hidden, channels))

    def call(self, inputs, return_attention_scores=False):
        """Return the scaled feature map, and the gates if asked for."""
        feature_map("ChannelAttention", inputs.shape)
        M = ops.sigmoid(self._mlp(ops.mean(inputs, axis=(1, 2))) + self._mlp(ops.max(inputs, axis=(1, 2))))
        scaled = M[:, None, None] * inputs
        return (scaled, M[:, None]) if return_attention_scores else scaled

    def _mlp(self, z):
        return ops.matmul(ops.relu(ops.matmul(z, self.W_0)), self.W_1)

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "ratio": self.ratio,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="attention_zoo")
class SpatialAttention(keras.layers.Layer):
    """Scales every position of a feature map F by a gate read off the means and maxima around it.

        M_s(F) = sigmoid(conv([mean F; max F]))     (equation 3; no bias)
        F''    = M_s(F) · F, position by position   (equation 1)

    CBAM: Convolutional Block Attention Module, https://arxiv.org/abs/1807.06521. Mean and maximum run over
    the channels; conv has one filter of `kernel_size` × `kernel_size` and pads with zeros.

    Call: `layer(F, return_attention_scores=False)` with F `(batch, rows, columns, channels)`. Returns F'', of
    F's shape; with `return_attention_scores` also M_s, `(batch, 1, rows · columns)`: one query, whose keys
    are the positions, row by row. Gates are between 0 and 1 each, they do not sum to 1. No masks.

    Args:
        kernel_size: 7 in the paper.
        kernel_initializer: of the filter `(kernel_size, kernel_size, 2, 1)`.

    Raises:
        ValueError: a kernel size below 1; an input that is not of rank 4.

    >>> _, gates = SpatialAttention()(ops.ones((2, 5, 7, 3)), return_attention_scores=True)
    >>> tuple(gates.shape)
    (2, 1, 35)
    """

    def __init__(self, kernel_size: int = 7, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = positive_integer("SpatialAttention", "kernel_size", kernel_size)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @property
    def normalised(self) -> bool:
        """Whether the gates sum to 1: no."""
        return False

    def attention_axes(self, input_shape) -> tuple[dict, dict]:
        """What the axes of the scores are: one step, and the feature map's positions."""
        return {"kind": "step"}, {"kind": "patch", "grid": tuple(input_shape[1:3])}

    def build(self, input_shape):
        """Create the filter."""
        feature_map("SpatialAttention", input_shape)
        self.kernel = add_weight(self, "kernel", (self.kernel_size, self.kernel_size, 2, 1))

    def call(self, inputs, return_attention_scores=False):
        """Return the scaled feature map, and the gates if asked for."""
        feature_map("SpatialAttention", inputs.shape)
        over_channels = ops.mean(inputs, axis=-1, keepdims=True), ops.max(inputs, axis=-1, keepdims=True)
        around = ops.concatenate(over_channels, axis=-1)
        M = ops.sigmoid(ops.conv(around, self.kernel, padding="same", data_format="channels_last"))
        scaled = M * inputs
        batch, rows, columns = ops.shape(inputs)[:3]
        return (scaled, ops.reshape(M, (batch, 1, rows * columns))) if return_attention_scores else scaled

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="attention_zoo")
class CBAM(keras.layers.Layer):
    """`ChannelAttention`, then `SpatialAttention`: what to look for, then where.

        F'  = M_c(F) · F,  F'' = M_s(F') · F'     (equation 1)

    CBAM: Convolutional Block Attention Module, https://arxiv.org/abs/1807.06521.

    Call: `layer(F)` with F `(batch, rows, columns, channels)`; returns F'', of F's shape. Its two maps are
    those of its parts, `layer.channel` and `layer.spatial`, each of which returns its gates when called with
    `return_attention_scores=True`. No masks.

    Args:
        ratio: of the channel attention; it divides the channels.
        kernel_size: of the spatial attention.
        kernel_initializer: of both.

    Raises:
        ValueError: what the parts raise.

    >>> tuple(CBAM(ratio=2)(ops.ones((2, 5, 7, 6))).shape)
    (2, 5, 7, 6)
    """

    def __init__(self, ratio: int = 16, kernel_size: int = 7, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        part = {"kernel_initializer": self.kernel_initializer, "dtype": self.dtype_policy}
        self.channel = ChannelAttention(ratio, name="channel", **part)
        self.spatial = SpatialAttention(kernel_size, name="spatial", **part)

    def build(self, input_shape):
        """Build the parts for a feature map of this shape."""
        feature_map("CBAM", input_shape)
        self.channel.build(input_shape)
        self.spatial.build(input_shape)

    def call(self, inputs):
        """Return the scaled feature map."""
        feature_map("CBAM", inputs.shape)
        return self.spatial(self.channel(inputs))

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "ratio": self.channel.ratio,
            "kernel_size": self.spatial.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
