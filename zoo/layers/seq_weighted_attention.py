"""A series summed up in one vector, as in the package keras-self-attention."""

import keras
from keras import ops

from zoo.layers.arguments import series, series_mask
from zoo.layers.masked_softmax import masked_softmax


@keras.saving.register_keras_serializable(package="attention_zoo")
class SeqWeightedAttention(keras.layers.Layer):
    """One score a step, whatever the other steps are, and the mean of the steps by it.

        e_j = x_j W + b
        a_j = exp(e_j) / Σ_k exp(e_k)
        v   = Σ_j a_j x_j

    DeepMoji, https://arxiv.org/abs/1708.00524, section 3.3. Arguments, weights and numbers are those of
    `SeqWeightedAttention` in the package keras-self-attention 0.51.

    Call: `layer(x, mask=None, return_attention_scores=False)` with x `(batch, length, depth)`. Returns v
    `(batch, depth)`; with `return_attention_scores`, or with `return_attention` in the constructor, also a,
    `(batch, length)`.

    Masks: booleans `(batch, length)`, True where valid. A masked step has a weight of exactly 0; a series
    without any valid step has weights and v of zeros. The output carries no mask. With `legacy_masking` a
    masked step's score is lowered by 10000, as in the package: the weights of a series without any valid
    step are then as if all were.

    Args:
        use_bias: have b.
        return_attention: return a with every call.
        legacy_masking: mask as the package does.

    Raises:
        ValueError: an input that is not of rank 3; a mask that does not fit.

    >>> layer = SeqWeightedAttention(return_attention=True)
    >>> v, a = layer(ops.ones((2, 3, 5)))
    >>> tuple(v.shape), tuple(a.shape)
    ((2, 5), (2, 3))
    """

    def __init__(
        self,
        use_bias: bool = True,
        return_attention: bool = False,
        legacy_masking: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.use_bias = use_bias
        self.return_attention = return_attention
        self.legacy_masking = legacy_masking
        self.supports_masking = True

    @property
    def normalised(self) -> bool:
        """Whether the weights of a series sum to 1: always, but for one without any valid step."""
        return True

    def build(self, input_shape):
        """Create W and b for a series of this shape."""
        depth = series("SeqWeightedAttention", input_shape)[-1]
        self.W = self.add_weight(name=f"{self.name}_W", shape=(depth, 1), initializer="uniform")
        self.b = None
        if self.use_bias:
            self.b = self.add_weight(name=f"{self.name}_b", shape=(1,), initializer="zeros")

    def call(self, inputs, mask=None, return_attention_scores=False, training=None):
        """Return v, and the weights if asked for."""
        valid = series_mask("SeqWeightedAttention", inputs, mask)
        e = ops.matmul(inputs, self.W)[:, :, 0]
        e = e if self.b is None else e + self.b
        e = ops.cast(e, keras.backend.result_type(e.dtype, "float32"))
        if valid is None:
            a = ops.softmax(e)
        elif self.legacy_masking:
            a = ops.softmax(e - 10000.0 * ops.cast(~valid, e.dtype))
        else:
            a = masked_softmax(e, valid)
        a = ops.cast(a, self.compute_dtype)
        v = ops.matmul(a[:, None], inputs)[:, 0]
        if self.return_attention:
            return [v, a]
        return (v, a) if return_attention_scores else v

    def compute_mask(self, inputs, mask=None):
        """Return no mask: the steps are gone."""
        return [None, None] if self.return_attention else None

    @staticmethod
    def get_custom_objects() -> dict:
        """Return this layer by its name, for `keras.saving.load_model`'s `custom_objects`."""
        return {"SeqWeightedAttention": SeqWeightedAttention}

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "use_bias": self.use_bias,
            "return_attention": self.return_attention,
            "legacy_masking": self.legacy_masking,
        }
