"""Hard attention, Xu et al. 2015: look at one position only."""

import keras
from keras import ops

from zoo.layers.bahdanau import BahdanauAttention
from zoo.layers.masked_softmax import masked_softmax


@keras.saving.register_keras_serializable(package="attention_zoo")
class HardAttention(BahdanauAttention):
    """Additive attention that reads one key: drawn in training, the most likely one in inference.

        e_ij = vᵀ tanh(W q_i + U k_j),  α_ij = exp(e_ij) / Σ_k exp(e_ik)     (equations 4 and 5)
        s_i  ~ Multinoulli(α_i)                                              (equation 8)
        c_i  = Σ_j s_ij v_j                                                  (equation 9)

    Show, Attend and Tell, section 4.1, https://arxiv.org/abs/1502.03044. s_i is one-hot. The paper estimates
    the gradient by REINFORCE; here it is straight-through (Bengio 2013, https://arxiv.org/abs/1308.3432): the
    gradient with respect to s_i is passed on to α_i. In inference s_i is 1 where α_i is greatest.

    Call, masks and errors are `BahdanauAttention`'s; the weights that `return_attention_scores` returns are
    s, exactly 0 or 1. A masked key is never drawn.

    Args:
        units: size of the scoring network's hidden layer.
        kernel_initializer: of W, U and v.
        seed: of the draws; two layers of one seed and equal weights draw the same.

    >>> layer = HardAttention(7, seed=3)
    >>> _, s = layer([ops.ones((1, 2, 5)), ops.ones((1, 3, 5))], return_attention_scores=True)
    >>> print(ops.convert_to_numpy(s))
    [[[1. 0. 0.]
      [1. 0. 0.]]]
    """

    def __init__(self, units: int, kernel_initializer="glorot_uniform", seed: int | None = None, **kwargs):
        super().__init__(units, kernel_initializer, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def align(self, score, allowed, training=None):
        """s of the scores e."""
        alpha = masked_softmax(score, allowed)
        if not training:
            return ops.where(allowed, ops.cast(_greatest(alpha), alpha.dtype), 0.0)
        # The greatest of the scores plus Gumbel noise is a draw from their softmax.
        u = keras.random.uniform(ops.shape(alpha), 1e-30, 1.0, dtype=alpha.dtype, seed=self.seed_generator)
        noisy = ops.cast(score, alpha.dtype) - ops.log(-ops.log(u))
        s = ops.cast(_greatest(ops.where(allowed, noisy, -1e30)), alpha.dtype)
        return ops.where(allowed, ops.stop_gradient(s) + (alpha - ops.stop_gradient(alpha)), 0.0)

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {"seed": self.seed}


def _greatest(x):
    """True at the first of the greatest numbers along the last axis."""
    # Not argmax: what Keras makes of it has no form in ONNX.
    greatest = x == ops.max(x, axis=-1, keepdims=True)
    return greatest & (ops.cumsum(ops.cast(greatest, "int32"), axis=-1) == 1)
