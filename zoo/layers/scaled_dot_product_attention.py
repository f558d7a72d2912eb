"""Scaled dot-product attention without weights, as in the package keras-self-attention."""

import keras
from keras import ops

from zoo.layers.arguments import query_value_key
from zoo.layers.masked_softmax import masked_softmax
from zoo.layers.positions import steps
from zoo.layers.query_blocks import in_query_blocks


@keras.saving.register_keras_serializable(package="attention_zoo")
class ScaledDotProductAttention(keras.layers.Layer):
    """Attention by the dot product of query and key.

        Attention(Q, K, V) = softmax(Q Kᵀ / √d) V        (equation 1), d the depth of query and key

    Attention Is All You Need, https://arxiv.org/abs/1706.03762, section 3.2.1. No weights. Arguments, order
    of inputs and numbers are those of `ScaledDotProductAttention` in the package keras-self-attention 0.51.

    Call: `layer(x, mask=None, return_attention_scores=False)` with one x `(batch, length, depth)` for all
    three, or `layer([query, key, value], …)`, with query `(batch, queries, d)`, key `(batch, keys, d)` and
    value `(batch, keys, value_depth)`. Returns `(batch, queries, value_depth)`; with
    `return_attention_scores`, or with `return_attention` in the constructor, also the weights, `(batch,
    queries, keys)`. Long inputs are computed some queries at a time, in 32 MB at most.

    Masks: booleans `(batch, length)`, True where valid, one or a list as the inputs; any may be None. A
    masked key has a weight of exactly 0; a query that is masked or sees no key has weights and output of
    zeros. The output carries the query's mask. With `legacy_masking` the package's numbers come back: only
    the key's mask counts, and its penalties of 10000 leave a row that is hidden everywhere as if nothing
    were.

    Args:
        return_attention: return the weights with every call.
        history_only: query i sees the keys 0 … i.
        legacy_masking: mask as the package does.

    Raises:
        ValueError: inputs that are neither one nor three of rank 3; depths of query and key, batch sizes or
            lengths that differ; a mask that does not fit.

    >>> layer = ScaledDotProductAttention(history_only=True)
    >>> _, a = layer(ops.ones((1, 3, 5)), return_attention_scores=True)
    >>> print(ops.convert_to_numpy(a).round(2))
    [[[1.   0.   0.  ]
      [0.5  0.5  0.  ]
      [0.33 0.33 0.33]]]
    """

    def __init__(
        self,
        return_attention: bool = False,
        history_only: bool = False,
        legacy_masking: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.return_attention = return_attention
        self.history_only = history_only
        self.legacy_masking = legacy_masking
        self.supports_masking = True

    @property
    def normalised(self) -> bool:
        """Whether the weights of a query sum to 1: always, but for one that is masked or sees no key."""
        return True

    def build(self, input_shape):
        """Check the shapes; there are no weights."""
        several = isinstance(input_shape[0], (list, tuple))
        _check(list(input_shape) if several else [input_shape])

    def call(self, inputs, mask=None, return_attention_scores=False, training=None):
        """Return the output, and the weights if asked for."""
        several = isinstance(inputs, (list, tuple))
        _check([x.shape for x in inputs] if several else [inputs.shape])
        query, key, value = inputs if several else [inputs] * 3
        if not several:
            mask = [mask] * 3
        elif mask is not None:
            if not isinstance(mask, (list, tuple)) or len(mask) != 3:
                raise ValueError(
                    "ScaledDotProductAttention got three inputs and a mask that is not a list of three; pass "
                    "mask=[query_mask, key_mask, value_mask], each of which may be None."
                )
            mask = [mask[0], mask[2], mask[1]]
        query, value, key, query_valid, key_valid = query_value_key(
            "ScaledDotProductAttention", [query, value, key], mask
        )
        if self.legacy_masking:
            query_valid = None
            key_valid = None if mask is None or mask[2] is None else ops.cast(mask[2], "bool")
        returned = self.return_attention or return_attention_scores

        def attend(q, q_valid, i, k, v, k_valid, j):
            e = ops.matmul(q, ops.swapaxes(k, 1, 2)) / q.shape[-1] ** 0.5
            a = ops.cast(self._align(e, i, j, q_valid, k_valid), self.compute_dtype)
            output = ops.matmul(a, v)
            return (output, a) if returned else output

        i, j = (steps(query), steps(key)) if self.history_only else (None, None)
        queries, keys = [query, query_valid, i], [key, value, key_valid, j]
        result = in_query_blocks(attend, queries, keys, [], 4 * ops.shape(key)[1])
        return list(result) if self.return_attention else result

    def _align(self, e, i, j, q_valid, k_valid):
        """The weights of the scores, in float32 or better; positions and masks are None where all is seen."""
        e = ops.cast(e, keras.backend.result_type(e.dtype, "float32"))
        past = None if i is None else j[:, None] <= i[:, :, None]
        if self.legacy_masking:
            if past is not None:
                e = e - 10000.0 * ops.cast(~past, e.dtype)
            if k_valid is not None:
                e = e - 10000.0 * ops.cast(~k_valid[:, None], e.dtype)
            return ops.softmax(e)
        allowed = q_valid[:, :, None] & k_valid[:, None]
        return masked_softmax(e, allowed if past is None else allowed & past)

    def compute_mask(self, inputs, mask=None):
        """Return the query's mask."""
        query_mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        return [query_mask, None] if self.return_attention else query_mask

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "return_attention": self.return_attention,
            "history_only": self.history_only,
            "legacy_masking": self.legacy_masking,
        }


def _check(shapes):
    shapes = [tuple(shape) for shape in shapes]
    if len(shapes) not in (1, 3) or any(len(shape) != 3 for shape in shapes):
        got = ", ".join(map(str, shapes))
        raise ValueError(
            f"ScaledDotProductAttention got inputs of shapes {got}; pass one tensor or [query, key, value], "
            "each of shape (batch, length, depth)."
        )
    query, key = shapes[0][-1], shapes[len(shapes) // 2][-1]
    if query is None or query != key:
        raise ValueError(
            f"ScaledDotProductAttention got queries of depth {query} and keys of depth {key}; pass one "
            "depth, known before the call, for both."
        )
