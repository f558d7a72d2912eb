"""Additive attention, Bahdanau, Cho and Bengio 2014."""

import keras
from keras import ops

from zoo.layers.additive_score import additive_score
from zoo.layers.arguments import check_shapes, positive_integer, query_value_key
from zoo.layers.masked_softmax import masked_softmax
from zoo.layers.weights import add_weight


@keras.saving.register_keras_serializable(package="attention_zoo")
class BahdanauAttention(keras.layers.Layer):
    """Additive attention: a small network scores every query against every key.

        e_ij = vᵀ tanh(W q_i + U k_j)           (appendix A.1.2, the alignment model; no bias)
        a_ij = exp(e_ij) / Σ_k exp(e_ik)        (equation 6)
        c_i  = Σ_j a_ij v_j                     (equation 5)

    Neural Machine Translation by Jointly Learning to Align and Translate, https://arxiv.org/abs/1409.0473.
    There the query is the decoder's previous state s_(i-1), and key and value are the encoder's states h_j.

    Call: `layer([query, value], mask=None, return_attention_scores=False)`, or `[query, value, key]`, with
    query `(batch, queries, query_depth)`, value `(batch, keys, value_depth)`, key `(batch, keys, key_depth)`;
    without a key the value is the key. A decoder that attends a step at a time over the same keys passes
    `projected_keys=layer.project_keys(key)`, computed once. Returns the context `(batch, queries,
    value_depth)`; with `return_attention_scores` also a, `(batch, queries, keys)`. Memory grows with batch ·
    queries · keys; the network's hidden layer, units times as large, is computed in 32 MB at most.

    Masks: `mask=[query_mask, value_mask]`, booleans `(batch, queries)` and `(batch, keys)`, True where valid;
    either may be None, and masks that the inputs carry are used where `mask` is not given. A masked key gets
    a weight of exactly 0. Weights and context of a masked query, or of a query all of whose keys are masked,
    are zeros. The output carries the query's mask.

    Args:
        units: size of the scoring network's hidden layer.
        kernel_initializer: of W `(query_depth, units)`, U `(key_depth, units)` and v `(units,)`.

    Raises:
        ValueError: units below 1; inputs that are not [query, value] or [query, value, key] of rank 3; batch
            sizes or lengths that differ; a mask that does not fit.

    >>> layer = BahdanauAttention(7)
    >>> context, a = layer([ops.ones((2, 3, 5)), ops.ones((2, 11, 13))], return_attention_scores=True)
    >>> tuple(context.shape), tuple(a.shape)
    ((2, 3, 13), (2, 3, 11))
    """

    def __init__(self, units: int, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = positive_integer(type(self).__name__, "units", units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True

    @property
    def normalised(self) -> bool:
        """Whether the weights of a query sum to 1: always, but for a query that sees no key."""
        return True

    def build(self, input_shape):
        """Create W, U and v for inputs of these shapes."""
        query, _, key = check_shapes(type(self).__name__, input_shape)
        self.W = add_weight(self, "W", (query[-1], self.units))
        self.U = add_weight(self, "U", (key[-1], self.units))
        self.v = add_weight(self, "v", (self.units,))

    def project_keys(self, key):
        """U k_j `(batch, keys, units)`: all that a decoder's steps have in common, for `projected_keys`."""
        return ops.matmul(ops.cast(key, self.compute_dtype), ops.cast(self.U, self.compute_dtype))

    def call(self, inputs, mask=None, return_attention_scores=False, training=None, projected_keys=None):
        """Return the context, and the weights if asked for."""
        query, value, key, query_valid, key_valid = query_value_key(type(self).__name__, inputs, mask)
        Wq = ops.matmul(query, self.W)
        Uk = self.project_keys(key) if projected_keys is None else projected_keys
        if query.shape[1] == 1:  # a decoder's step: an axis of one query would cost its gradient a sum
            e = ops.matmul(ops.tanh(Wq + Uk), self.v)[:, None]
        else:
            e = additive_score(Wq, Uk, self.v)
        a = self.align(e, query_valid[:, :, None] & key_valid[:, None], training)
        a = ops.cast(a, self.compute_dtype)
        c = ops.matmul(a, value)
        return (c, a) if return_attention_scores else c

    def align(self, score, allowed, training=None):
        """The weights a of the scores e (equation 6)."""
        return masked_softmax(score, allowed)

    def compute_mask(self, inputs, mask=None):
        """Return the query's mask."""
        return mask[0] if mask is not None else None

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
