"""Multiplicative attention, global and local, Luong, Pham and Manning 2015."""

import keras
from keras import ops

from zoo.layers.additive_score import additive_score
from zoo.layers.arguments import check_shapes, one_of, positive_integer, query_value_key
from zoo.layers.masked_softmax import masked_softmax
from zoo.layers.weights import add_weight

SCORES = ("dot", "general", "concat")
ALIGNMENTS = ("global", "local_monotonic", "local_predictive")


@keras.saving.register_keras_serializable(package="attention_zoo")
class LuongAttention(keras.layers.Layer):
    """Attention of a decoder's state h_t over the encoder's states, everywhere or in a window around p_t.

        score(h_t, k_s) = h_tᵀ k_s                      "dot"        (equation 8)
                          h_tᵀ W_a k_s                  "general"
                          v_aᵀ tanh(W_a [h_t; k_s])     "concat"
        a_t(s) = softmax over s of score(h_t, k_s)                   (equation 7)
        c_t    = Σ_s a_t(s) v_s
        h̃_t    = tanh(W_c [c_t; h_t])                                (equation 5)

    The softmax runs over all keys ("global"), or over those with |s - p_t| ≤ D (section 3.2), where D is
    `window` and

        p_t = t                                     "local_monotonic"
        p_t = S · sigmoid(v_pᵀ tanh(W_p h_t))       "local_predictive"    (equation 9)

    and the last one then multiplies a_t(s) by exp(-(s - p_t)² / 2σ²), σ = D/2 (equation 10), so that its
    weights sum to less than 1 and the layer's `normalised` is False. No biases. Effective Approaches to
    Attention-based Neural Machine Translation, https://arxiv.org/abs/1508.04025.

    Positions count valid keys: s is a key's rank among them, from 0, and S their number, so that the side on
    which a batch is padded makes no difference. t is the query's index in the call plus `position`.

    Call: `layer([query, value], mask=None, return_attention_scores=False, position=0)`, or `[query, value,
    key]`, with query h `(batch, queries, query_depth)`, value `(batch, keys, value_depth)`, key `(batch,
    keys, key_depth)`; without a key the value is the key. A decoder that calls the layer a step at a time
    passes `position`, an integer or a scalar tensor, and `projected_keys=layer.project_keys(key)`, computed
    once. Returns h̃ `(batch, queries, units)`; with `return_attention_scores` also a, `(batch, queries,
    keys)`.

    Masks: `mask=[query_mask, value_mask]`, booleans `(batch, queries)` and `(batch, keys)`, True where valid;
    either may be None, and masks that the inputs carry are used where `mask` is not given. A key that is
    masked or outside the window gets a weight of exactly 0. A query that sees no key (all masked, or p_t
    further than D from the last) has zero weights and c_t = 0; a masked query has zero weights and h̃_t = 0.
    The output carries the query's mask.

    Args:
        units: size of h̃, and of the hidden layers of "concat" and "local_predictive".
        score: "dot" (query and key of one depth), "general" or "concat".
        alignment: "global", "local_monotonic" or "local_predictive".
        window: D, keys to each side of p_t; for the local alignments only.
        kernel_initializer: of W_a `(query_depth, key_depth)` or, for "concat", `(query_depth + key_depth,
            units)`; v_a `(units,)`; W_p `(query_depth, units)`; v_p `(units,)`; W_c `(value_depth +
            query_depth, units)`.

    Raises:
        ValueError: units or window below 1; a window missing or without use; an unknown score or alignment;
            inputs that are not [query, value] or [query, value, key] of rank 3; batch sizes or lengths that
            differ; "dot" with two depths; a mask that does not fit; a position that is not a scalar.

    >>> layer = LuongAttention(7, score="concat", alignment="local_monotonic", window=1)
    >>> _, a = layer([ops.zeros((1, 2, 3)), ops.zeros((1, 5, 3))], return_attention_scores=True, position=2)
    >>> print(ops.convert_to_numpy(a).round(2))
    [[[0.   0.33 0.33 0.33 0.  ]
      [0.   0.   0.33 0.33 0.33]]]
    """

    def __init__(
        self,
        units: int,
        score: str = "general",
        alignment: str = "global",
        window: int | None = None,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = positive_integer("LuongAttention", "units", units)
        self.score = one_of("LuongAttention", "score", score, SCORES)
        self.alignment = one_of("LuongAttention", "alignment", alignment, ALIGNMENTS)
        if alignment == "global" and window is not None:
            raise ValueError(
                f"LuongAttention got window={window!r} with alignment='global', which looks at every key; "
                "leave the window out, or pass alignment='local_monotonic' or 'local_predictive'."
            )
        self.window = None if alignment == "global" else positive_integer("LuongAttention", "window", window)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True

    @property
    def normalised(self) -> bool:
        """Whether the weights of a query that sees a key sum to 1: not after equation 10."""
        return self.alignment != "local_predictive"

    def build(self, input_shape):
        """Create the weights that this score and this alignment use, for inputs of these shapes."""
        query, value, key = (shape[-1] for shape in check_shapes("LuongAttention", input_shape))
        if self.score == "dot" and query != key:
            raise ValueError(
                f"LuongAttention got queries of depth {query} and keys of depth {key}, and score='dot' wants "
                "one depth for both; pass score='general' or 'concat'."
            )
        if self.score == "general":
            self.W_a = add_weight(self, "W_a", (query, key))
        if self.score == "concat":
            self.W_a = add_weight(self, "W_a", (query + key, self.units))
            self.v_a = add_weight(self, "v_a", (self.units,))
        if self.alignment == "local_predictive":
            self.W_p = add_weight(self, "W_p", (query, self.units))
            self.v_p = add_weight(self, "v_p", (self.units,))
        self.W_c = add_weight(self, "W_c", (value + query, self.units))

    def project_keys(self, key):
        """What the scores of all queries have in common: W_a's half of k_s for "concat", else k_s itself."""
        key = ops.cast(key, self.compute_dtype)
        if self.score == "concat":
            return ops.matmul(key, ops.cast(self.W_a, self.compute_dtype)[-key.shape[-1] :])
        return key

    def call(
        self,
        inputs,
        mask=None,
        return_attention_scores=False,
        training=None,
        position=0,
        projected_keys=None,
    ):
        """Return h̃, and the weights if asked for."""
        h, value, key, query_valid, key_valid = query_value_key("LuongAttention", inputs, mask)
        allowed = query_valid[:, :, None] & key_valid[:, None]
        key = self.project_keys(key) if projected_keys is None else projected_keys
        if self.alignment == "global":
            a = masked_softmax(self._score(h, key), allowed)
        else:
            distance = self._distance(h, key_valid, position)
            a = masked_softmax(self._score(h, key), allowed & (ops.abs(distance) <= self.window))
        if self.alignment == "local_predictive":
            sigma = self.window / 2
            a = a * ops.exp(-ops.square(distance) / (2 * sigma**2))
        a = ops.cast(a, self.compute_dtype)
        c = ops.matmul(a, value)
        attended = ops.tanh(ops.matmul(ops.concatenate([c, h], axis=-1), self.W_c))
        attended = ops.where(query_valid[:, :, None], attended, ops.zeros_like(attended))
        return (attended, a) if return_attention_scores else attended

    def _score(self, h, key):
        """score(h_t, k_s) for keys that `project_keys` returned."""
        if self.score == "dot":
            return ops.matmul(h, ops.swapaxes(key, 1, 2))
        if self.score == "general":
            return ops.matmul(ops.matmul(h, self.W_a), ops.swapaxes(key, 1, 2))
        # W_a [h; k] is the sum of its two halves: no (queries, keys) pairs are concatenated.
        Wh = ops.matmul(h, self.W_a[: h.shape[-1]])
        return additive_score(Wh, key, self.v_a)

    def _distance(self, h, key_valid, position):
        """s - p_t, `(batch, queries, keys)`, in float32 or better: bfloat16 cannot count beyond 256."""
        dtype = keras.backend.result_type(h.dtype, "float32")
        valid = ops.cast(key_valid, dtype)
        s = ops.cumsum(valid, axis=1) - 1
        if self.alignment == "local_monotonic":
            position = ops.cast(position, dtype)
            if len(position.shape) != 0:
                raise ValueError(
                    f"LuongAttention got a position of shape {tuple(position.shape)}; pass one integer."
                )
            t = ops.cumsum(ops.ones_like(h[:, :, 0], dtype=dtype), axis=1) - 1
            p = t + position
        else:
            S = ops.sum(valid, axis=1, keepdims=True)
            Wh = ops.cast(ops.tanh(ops.matmul(h, self.W_p)), dtype)
            p = S * ops.sigmoid(ops.matmul(Wh, ops.cast(self.v_p, dtype)))
        return s[:, None] - p[:, :, None]

    def compute_mask(self, inputs, mask=None):
        """Return the query's mask."""
        return mask[0] if mask is not None else None

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "units": self.units,
            "score": self.score,
            "alignment": self.alignment,
            "window": self.window,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
