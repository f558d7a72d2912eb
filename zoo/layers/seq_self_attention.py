"""Self-attention of a series, additive or multiplicative, as in the package keras-self-attention."""

import keras
from keras import ops

from zoo.layers.arguments import non_negative, one_of, positive_integer, series, series_mask
from zoo.layers.band import band_allowed, band_context, band_scores, band_to_full
from zoo.layers.masked_softmax import masked_softmax
from zoo.layers.positions import steps
from zoo.layers.query_blocks import in_query_blocks
from zoo.layers.window_blocks import (
    block_count,
    block_size,
    fold,
    from_query_blocks,
    pairs_from_blocks,
    to_key_blocks,
    to_query_blocks,
    unfold,
    window_pays,
)

# A window of so many keys is gathered around each query; a wider one is cut into blocks with fewer copies.
BAND = 64


@keras.saving.register_keras_serializable(package="attention_zoo")
class SeqSelfAttention(keras.layers.Layer):
    """Every step of a series attends to all steps, or to those in a window around it.

        e_ij = tanh(x_i W_t + x_j W_x + b_h) W_a + b_a      "additive"
               x_i W_a x_jᵀ + b_a                           "multiplicative"
        a_i  = softmax over j of activation(e_ij)
        v_i  = Σ_j a_ij x_j

    OpenTag, https://arxiv.org/abs/1806.01264, section 3.3 (additive). Arguments, weights and their order are
    those of `SeqSelfAttention` in the package keras-self-attention 0.51, so that its weights fit
    (`convert_keras_self_attention_weights`) and its numbers come out.

    With `attention_width` w, query i sees the keys i - w//2 ≤ j < i - w//2 + w; an even w reaches further
    into the past. With `history_only`, i - w < j ≤ i, and all of the past without a width. Such windows cost
    length · w; without, the scores are computed some queries at a time, in 32 MB at most.

    Call: `layer(x, mask=None, return_attention_scores=False)` with x `(batch, length, depth)`. Returns v of
    the shape of x; with `return_attention_scores`, or with `return_attention` in the constructor, also a,
    `(batch, length, length)`.

    Masks: booleans `(batch, length)`, True where valid. A key that is masked or outside the window has a
    weight of exactly 0; a masked step has weights and output of zeros. The output carries the mask. With
    `legacy_masking` the package's numbers come back wherever it puts weight on padding: its penalties of
    10000 hide padding from padding only, add up where a key is outside the window as well, and leave a row
    that is hidden everywhere as if nothing were; and every window then costs length².

    Args:
        units: size of the additive score's hidden layer.
        attention_width: w, in steps; None for all.
        attention_type: "additive" or "multiplicative".
        return_attention: return a with every call.
        history_only: see no later step.
        kernel_initializer, kernel_regularizer, kernel_constraint: of W_t and W_x `(depth, units)` and W_a
            `(units, 1)`; multiplicative, of W_a `(depth, depth)`.
        bias_initializer, bias_regularizer, bias_constraint: of b_h `(units,)` and b_a `(1,)`.
        use_additive_bias: have b_h.
        use_attention_bias: have b_a.
        attention_activation: of the scores, before masks and softmax.
        attention_regularizer_weight: adds this times Σ (a aᵀ - I)² / batch to the loss, where I is 1 for
            steps that are not masked; it needs the whole of a, windowed or not.
        legacy_masking: mask as the package does.

    Raises:
        ValueError: units or attention_width below 1; an attention_regularizer_weight below 0; an unknown
            attention_type; an input that is not of rank 3; a mask that does not fit.

    >>> layer = SeqSelfAttention(attention_width=3, kernel_initializer="zeros")
    >>> v, a = layer(ops.ones((1, 4, 5)), return_attention_scores=True)
    >>> print(ops.convert_to_numpy(a).round(2))
    [[[0.5  0.5  0.   0.  ]
      [0.33 0.33 0.33 0.  ]
      [0.   0.33 0.33 0.33]
      [0.   0.   0.5  0.5 ]]]
    """

    ATTENTION_TYPE_ADD = "additive"
    ATTENTION_TYPE_MUL = "multiplicative"

    def __init__(
        self,
        units: int = 32,
        attention_width: int | None = None,
        attention_type: str = ATTENTION_TYPE_ADD,
        return_attention: bool = False,
        history_only: bool = False,
        kernel_initializer="glorot_normal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        use_additive_bias: bool = True,
        use_attention_bias: bool = True,
        attention_activation=None,
        attention_regularizer_weight: float = 0.0,
        legacy_masking: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = positive_integer("SeqSelfAttention", "units", units)
        if attention_width is not None:
            attention_width = positive_integer("SeqSelfAttention", "attention_width", attention_width)
        self.attention_width = attention_width
        types = (self.ATTENTION_TYPE_ADD, self.ATTENTION_TYPE_MUL)
        self.attention_type = one_of("SeqSelfAttention", "attention_type", attention_type, types)
        self.return_attention = return_attention
        self.history_only = history_only
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.use_additive_bias = use_additive_bias
        self.use_attention_bias = use_attention_bias
        self.attention_activation = keras.activations.get(attention_activation)
        self.attention_regularizer_weight = non_negative(
            "SeqSelfAttention", "attention_regularizer_weight", attention_regularizer_weight
        )
        self.legacy_masking = legacy_masking
        self.supports_masking = True

    @property
    def normalised(self) -> bool:
        """Whether the weights of a step sum to 1: always, but for one that is masked or sees no key."""
        return True

    def build(self, input_shape):
        """Create the weights for a series of this shape, in the package's order."""
        depth = series("SeqSelfAttention", input_shape)[-1]
        if self.attention_type == self.ATTENTION_TYPE_ADD:
            self.Wt = self._kernel("Add_Wt", (depth, self.units))
            self.Wx = self._kernel("Add_Wx", (depth, self.units))
            self.bh = self._bias("Add_bh", (self.units,)) if self.use_additive_bias else None
            self.Wa = self._kernel("Add_Wa", (self.units, 1))
            self.ba = self._bias("Add_ba", (1,)) if self.use_attention_bias else None
        else:
            self.Wa = self._kernel("Mul_Wa", (depth, depth))
            self.ba = self._bias("Mul_ba", (1,)) if self.use_attention_bias else None

    def _kernel(self, name, shape):
        # A clone: without a seed, one initializer would draw the same numbers for W_t and W_x.
        initializer = self.kernel_initializer
        if isinstance(initializer, keras.initializers.Initializer):
            initializer = initializer.clone()
        return self.add_weight(
            name=f"{self.name}_{name}",
            shape=shape,
            initializer=initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def _bias(self, name, shape):
        return self.add_weight(
            name=f"{self.name}_{name}",
            shape=shape,
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def call(self, inputs, mask=None, return_attention_scores=False, training=None):
        """Return v, and the weights if asked for."""
        valid = series_mask("SeqSelfAttention", inputs, mask)
        returned = self.return_attention or return_attention_scores
        regularised = self.attention_regularizer_weight > 0
        v, a = self._way(inputs.shape[1])(inputs, valid, returned or regularised)
        if regularised:
            self.add_loss(self.attention_regularizer_weight * self._overlap(a, valid))
        if not returned:
            return v
        return [v, a] if self.return_attention else (v, a)

    def _window(self):
        """How many steps before and after its own a query sees."""
        if self.attention_width is None:
            return 10**9, 0 if self.history_only else 10**9
        before = self.attention_width - 1 if self.history_only else self.attention_width // 2
        return before, self.attention_width - 1 - before

    def _way(self, length):
        """The cheapest way to attend in a series of this length, None if unknown."""
        before, after = self._window()
        if self.legacy_masking or not window_pays(before, after, length):
            return self._over_all
        narrow = before + 1 + after <= BAND
        return self._in_band if narrow and self.attention_type == self.ATTENTION_TYPE_ADD else self._in_window

    def _in_band(self, x, valid, wanted):
        before, after = self._window()
        valid = _all(x) if valid is None else valid

        def score(q, k):
            return ops.tensordot(ops.tanh(q + k), self.Wa[:, 0], 1)

        e = band_scores(score, *self._project(x), before, after)
        e = e if self.ba is None else e + self.ba
        allowed = band_allowed(valid, before, after) & valid[:, :, None]
        a = ops.cast(masked_softmax(self.attention_activation(e), allowed), self.compute_dtype)
        return band_context(a, x, before, after), band_to_full(a, before, after) if wanted else None

    def _in_window(self, x, valid, wanted):
        """In blocks of queries, which are so many samples more."""
        before, after = self._window()
        length, b = ops.shape(x)[1], block_size(before, after)
        blocks = block_count(length, b)
        valid, i, (q, k) = _all(x) if valid is None else valid, steps(x), self._project(x)
        queries = [fold(to_query_blocks(t, b)) for t in (q, valid, i)]
        keys = [fold(to_key_blocks(t, b, before, blocks)) for t in (k, x, valid, i)]
        v, a = self._attend(queries, keys, 2 * b, wanted)
        v = from_query_blocks(unfold(v, blocks), length)
        if not wanted:
            return v, None
        return v, pairs_from_blocks(unfold(a, blocks)[:, :, None], before, length, length)[:, 0]

    def _over_all(self, x, valid, wanted):
        i = steps(x) if self.history_only or self.attention_width is not None else None
        q, k = self._project(x)
        return self._attend([q, valid, i], [k, x, valid, i], ops.shape(x)[1], wanted)

    def _attend(self, queries, keys, length, wanted):
        """v, and a if wanted, of queries [q, valid, i] over keys [k, x, valid, j]."""

        def attend(q, q_valid, i, k, x, k_valid, j, *weights):
            e = self.attention_activation(self._score_pairs(q, k, *weights))
            a = ops.cast(self._align(e, i, j, q_valid, k_valid), self.compute_dtype)
            v = ops.matmul(a, x)
            return (v, a) if wanted else v

        additive = self.attention_type == self.ATTENTION_TYPE_ADD
        floats = length * (self.units if additive else 8)
        # The package adds b_h last. Its penalties of 10000 round scores to 0.001, so that the order shows.
        bh = self.bh if additive and self.legacy_masking else None
        result = in_query_blocks(attend, queries, keys, [self.Wa, bh, self.ba], floats)
        return result if wanted else (result, None)

    def _project(self, x):
        """What the scores take of queries and of keys."""
        if self.attention_type == self.ATTENTION_TYPE_MUL:
            return x, x
        q, k = ops.matmul(x, self.Wt), ops.matmul(x, self.Wx)
        if self.bh is not None and not self.legacy_masking:
            q = q + self.bh
        return q, k

    def _score_pairs(self, q, k, Wa, bh, ba):
        """e of every query and every key."""
        if self.attention_type == self.ATTENTION_TYPE_MUL:
            e = ops.matmul(ops.matmul(q, Wa), ops.swapaxes(k, 1, 2))
            return e if ba is None else e + ba
        # (units, batch, queries, keys): numbers of one unit side by side are added and summed fastest.
        h = ops.transpose(q, (2, 0, 1))[..., None] + ops.transpose(k, (2, 0, 1))[:, :, None]
        h = ops.tanh(h if bh is None else h + bh[:, None, None, None])
        e = ops.tensordot(Wa[:, 0], h, 1)
        return e if ba is None else e + ba

    def _align(self, e, i, j, q_valid, k_valid):
        """The weights of the scores, in float32 or better; positions and masks are None where all is seen."""
        e = ops.cast(e, keras.backend.result_type(e.dtype, "float32"))
        inside = valid = None
        if i is not None:
            before, after = self._window()
            ahead = j[:, None] - i[:, :, None]
            inside = (ahead >= -before) & (ahead <= after)
        if self.legacy_masking:
            if inside is not None:
                e = e - 10000.0 * (1.0 - ops.cast(inside, e.dtype))
            if q_valid is not None:
                e = e - 10000.0 * ops.cast(~q_valid[:, :, None] & ~k_valid[:, None], e.dtype)
            return ops.softmax(e)
        if q_valid is not None:
            valid = q_valid[:, :, None] & k_valid[:, None]
        if inside is None and valid is None:
            return ops.softmax(e)
        return masked_softmax(e, valid if inside is None else inside if valid is None else inside & valid)

    def _overlap(self, a, valid):
        """Σ (a aᵀ - I)² / batch: how far steps are from attending to one step each, and to different ones."""
        a = ops.cast(a, keras.backend.result_type(a.dtype, "float32"))
        i = ops.arange(ops.shape(a)[1])
        identity = i[:, None] == i
        if valid is not None and not self.legacy_masking:
            identity = identity & valid[:, None]
        identity = ops.cast(identity, a.dtype)
        return ops.sum((ops.matmul(a, ops.swapaxes(a, 1, 2)) - identity) ** 2) / ops.cast(
            ops.shape(a)[0], a.dtype
        )

    def compute_mask(self, inputs, mask=None):
        """Return the mask of the input."""
        return [mask, None] if self.return_attention else mask

    @staticmethod
    def get_custom_objects() -> dict:
        """Return this layer by its name, for `keras.saving.load_model`'s `custom_objects`."""
        return {"SeqSelfAttention": SeqSelfAttention}

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "units": self.units,
            "attention_width": self.attention_width,
            "attention_type": self.attention_type,
            "return_attention": self.return_attention,
            "history_only": self.history_only,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
            "use_additive_bias": self.use_additive_bias,
            "use_attention_bias": self.use_attention_bias,
            "attention_activation": keras.activations.serialize(self.attention_activation),
            "attention_regularizer_weight": self.attention_regularizer_weight,
            "legacy_masking": self.legacy_masking,
        }


def _all(x):
    return ops.ones_like(x[:, :, 0], dtype="bool")
