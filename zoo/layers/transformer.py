"""The blocks of the Transformer, Vaswani et al. 2017: encoder and decoder."""

import keras
from keras.src.backend import get_keras_mask

from zoo.layers.arguments import positive_integer
from zoo.layers.multi_head_attention import MultiHeadAttention


class TransformerBlock(keras.layers.Layer):
    """What encoder and decoder share: sub-layers with residual connections, normalised after or before."""

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        activation="relu",
        normalize_first: bool = False,
        *,
        num_key_value_heads: int | None = None,
        position: str | None = None,
        sliding_window: int | None = None,
        attention_dropout: float = 0.0,
        layer_norm_epsilon: float = 1e-5,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.intermediate_dim = positive_integer(owner, "intermediate_dim", intermediate_dim)
        self.num_heads = positive_integer(owner, "num_heads", num_heads)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.activation = keras.activations.get(activation)
        self.normalize_first = normalize_first
        self.num_key_value_heads = num_key_value_heads
        self.position = position
        self.sliding_window = sliding_window
        self.attention_dropout = attention_dropout
        self.layer_norm_epsilon = layer_norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.supports_masking = True

    @property
    def normalised(self) -> bool:
        """Whether the weights of a query sum to 1: always, but for a query that sees no key."""
        return True

    def _build_self_attention(self, shape):
        self.self_attention = self._attention(
            "self_attention",
            shape,
            shape,
            num_key_value_heads=self.num_key_value_heads,
            position=self.position,
            sliding_window=self.sliding_window,
        )
        self.self_attention_norm = self._norm("self_attention_norm", shape)

    def _build_feed_forward(self, shape):
        self.feed_forward_hidden = self._dense("feed_forward_hidden", self.intermediate_dim, shape)
        inner = (*shape[:-1], self.intermediate_dim)
        self.feed_forward_output = self._dense("feed_forward_output", shape[-1], inner)

    def _attention(self, name, shape, memory_shape, **kwargs):
        if len(memory_shape) != 3 and memory_shape != shape:
            raise ValueError(
                f"{type(self).__name__} got a memory of shape {tuple(memory_shape)}; pass one of shape "
                "(batch, keys, depth)."
            )
        if len(shape) != 3 or shape[-1] is None or shape[-1] % self.num_heads:
            raise ValueError(
                f"{type(self).__name__} got inputs of shape {tuple(shape)} with num_heads={self.num_heads}; "
                "pass (batch, length, depth) with a depth that num_heads divides."
            )
        depth = shape[-1] // self.num_heads
        attention = MultiHeadAttention(
            self.num_heads, depth, dropout=self.attention_dropout, **self._common(name), **kwargs
        )
        attention.build(shape, memory_shape)
        return attention

    def _norm(self, name, shape):
        norm = keras.layers.LayerNormalization(
            epsilon=self.layer_norm_epsilon, dtype=self.dtype_policy, name=name
        )
        norm.build(shape)
        return norm

    def _dense(self, name, units, shape):
        dense = keras.layers.Dense(units, **self._common(name))
        dense.build(shape)
        return dense

    def _common(self, name):
        # From copies: an initializer without a seed returns the same numbers at every call.
        return {
            "kernel_initializer": self.kernel_initializer.clone(),
            "bias_initializer": self.bias_initializer.clone(),
            "dtype": self.dtype_policy,
            "name": name,
        }

    def _sublayer(self, norm, x, f, training):
        """LayerNorm(x + f(x)), or x + f(LayerNorm(x)), and what f returns besides its output."""
        y, *rest = f(norm(x) if self.normalize_first else x)
        x = x + self.drop(y, training=training)
        return x if self.normalize_first else norm(x), rest

    def _feed_forward(self, x):
        """FFN(x) = max(0, x W_1 + b_1) W_2 + b_2 (equation 2)."""
        return (self.feed_forward_output(self.activation(self.feed_forward_hidden(x))),)

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "intermediate_dim": self.intermediate_dim,
            "num_heads": self.num_heads,
            "dropout": self.drop.rate,
            "activation": keras.activations.serialize(self.activation),
            "normalize_first": self.normalize_first,
            "num_key_value_heads": self.num_key_value_heads,
            "position": self.position,
            "sliding_window": self.sliding_window,
            "attention_dropout": self.attention_dropout,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="attention_zoo")
class TransformerEncoder(TransformerBlock):
    """One layer of the Transformer's encoder: self-attention, then a feed-forward network.

        x = LayerNorm(x + MultiHead(x, x, x))                                             (section 3.1)
        x = LayerNorm(x + FFN(x)),        FFN(x) = max(0, x W_1 + b_1) W_2 + b_2          (equation 2)

    or, with `normalize_first`, x + MultiHead(LayerNorm(x)) and so on (Xiong 2020,
    https://arxiv.org/abs/2002.04745; the last block is then followed by a normalisation of the caller's).
    Attention Is All You Need, https://arxiv.org/abs/1706.03762. The weights are, in order and shape, those of
    the layer of this name in keras-hub, from which they can be copied.

    Call: `layer(x, mask=None, attention_mask=None, use_causal_mask=False, return_attention_scores=False)`, x
    `(batch, length, depth)`. Returns x's shape; with `return_attention_scores` also the weights `(batch,
    num_heads, length, length)`.

    Masks: `mask` `(batch, length)`, True where valid, taken from x where not given; `attention_mask` and
    `use_causal_mask` as in `MultiHeadAttention`. The output carries x's mask.

    Args:
        intermediate_dim: size of the feed-forward network's hidden layer.
        num_heads: heads, which divide the depth.
        dropout: share that training drops of each sub-layer's output (section 5.4).
        activation: of the feed-forward network.
        normalize_first: whether normalisation stands before the sub-layers, not after the residual sums.
        num_key_value_heads, position, sliding_window: of the self-attention, see `MultiHeadAttention`.
        attention_dropout: share of the attention weights that training drops.
        layer_norm_epsilon: added to the variance.
        kernel_initializer, bias_initializer: of the attention and of W_1, b_1, W_2, b_2.

    Raises:
        ValueError: sizes below 1; inputs that are not of rank 3 or of a depth that num_heads does not divide;
            a mask that does not fit.

    >>> y, a = TransformerEncoder(11, num_heads=2)(keras.ops.ones((1, 5, 6)), return_attention_scores=True)
    >>> tuple(y.shape), tuple(a.shape)
    ((1, 5, 6), (1, 2, 5, 5))
    """

    def build(self, x_shape):
        """Create the sub-layers for inputs of this shape."""
        self._build_self_attention(x_shape)
        self.feed_forward_norm = self._norm("feed_forward_norm", x_shape)
        self._build_feed_forward(x_shape)

    def call(
        self,
        x,
        mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
    ):
        """Return the output, and the weights if asked for."""
        mask = carried(x, mask)

        def attend(h):
            return several(
                self.self_attention(
                    h,
                    h,
                    query_mask=mask,
                    value_mask=mask,
                    attention_mask=attention_mask,
                    return_attention_scores=return_attention_scores,
                    training=training,
                    use_causal_mask=use_causal_mask,
                )
            )

        x, scores = self._sublayer(self.self_attention_norm, x, attend, training)
        x, _ = self._sublayer(self.feed_forward_norm, x, self._feed_forward, training)
        return (x, *scores) if return_attention_scores else x

    def compute_mask(self, x, mask=None):
        """Return x's mask."""
        return mask


@keras.saving.register_keras_serializable(package="attention_zoo")
class TransformerDecoder(TransformerBlock):
    """One layer of the Transformer's decoder: as the encoder's, but causal, and with attention to a memory.

        x = LayerNorm(x + MultiHead(x, x, x)),    each step sees itself and those before     (section 3.1)
        x = LayerNorm(x + MultiHead(x, memory, memory))
        x = LayerNorm(x + FFN(x)),        FFN(x) = max(0, x W_1 + b_1) W_2 + b_2             (equation 2)

    The memory is the encoder's output; without one the second line is left out (a language model's decoder).
    Everything else is as in `TransformerEncoder`, the arguments too; `num_key_value_heads`, `position` and
    `sliding_window` are those of the self-attention. Attention Is All You Need,
    https://arxiv.org/abs/1706.03762.

    Call: `layer(x, memory=None, mask=None, memory_mask=None, attention_mask=None, use_causal_mask=True,
    return_attention_scores=False)`, x `(batch, length, depth)`, memory `(batch, keys, memory_depth)`. Returns
    x's shape; with `return_attention_scores` also the weights `(batch, num_heads, length, length)` of the
    self-attention and, with a memory, `(batch, num_heads, length, keys)`.

    Decoding: `cache = layer.empty_cache(batch, length, memory)`, then `y, cache = layer(x, cache=cache,
    cache_position=t)` with the steps from t on, one or several; the memory is in the cache, projected once.

    Masks: `mask` `(batch, length)` of x and `memory_mask` `(batch, keys)`, True where valid, taken from the
    inputs where not given; `attention_mask` of the self-attention. The output carries x's mask.

    Raises:
        ValueError: as `TransformerEncoder`; a memory where the layer was built without one, or the reverse.

    >>> layer = TransformerDecoder(11, num_heads=2)
    >>> y, a, c = layer(keras.ops.ones((1, 5, 6)), keras.ops.ones((1, 7, 3)), return_attention_scores=True)
    >>> tuple(y.shape), tuple(a.shape), tuple(c.shape)
    ((1, 5, 6), (1, 2, 5, 5), (1, 2, 5, 7))
    """

    def build(self, x_shape, memory_shape=None):
        """Create the sub-layers for inputs of these shapes."""
        self._build_self_attention(x_shape)
        self.cross_attention = None
        if memory_shape is not None:
            self.cross_attention = self._attention("cross_attention", x_shape, memory_shape)
            self.cross_attention_norm = self._norm("cross_attention_norm", x_shape)
        self._build_feed_forward(x_shape)
        self.feed_forward_norm = self._norm("feed_forward_norm", x_shape)

    def call(
        self,
        x,
        memory=None,
        mask=None,
        memory_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=True,
        cache=None,
        cache_position=0,
    ):
        """Return the output, then the weights if asked for, then the cache if there is one."""
        self._check_memory(memory, cache)
        mask = carried(x, mask)
        same = {"query_mask": mask, "return_attention_scores": return_attention_scores, "training": training}

        def attend(h):
            return several(
                self.self_attention(
                    h,
                    h,
                    value_mask=mask,
                    attention_mask=attention_mask,
                    use_causal_mask=use_causal_mask,
                    cache=None if cache is None else cache[0],
                    cache_position=cache_position,
                    **same,
                )
            )

        def attend_to_memory(h):
            held = None if cache is None else cache[1]
            return several(self.cross_attention(h, memory, value_mask=memory_mask, cache=held, **same))

        x, rest = self._sublayer(self.self_attention_norm, x, attend, training)
        scores, caches = (rest[:1], rest[1:]) if return_attention_scores else ([], rest)
        if self.cross_attention is not None:
            x, rest = self._sublayer(self.cross_attention_norm, x, attend_to_memory, training)
            scores, caches = scores + rest[: len(scores)], caches + rest[len(scores) :]
        x, _ = self._sublayer(self.feed_forward_norm, x, self._feed_forward, training)
        results = (x, *scores) if cache is None else (x, *scores, tuple(caches))
        return results if len(results) > 1 else x

    def compute_mask(self, x, mask=None):
        """Return x's mask."""
        return mask

    def empty_cache(self, batch: int, length: int, memory=None, memory_mask=None):
        """Return a cache for `length` steps, with this memory in it; the layer must be built.

        One of `MultiHeadAttention.empty_cache` for the self-attention and, with a memory, one of its
        `fill_cache`.
        """
        if not self.built:
            raise ValueError(
                "TransformerDecoder got asked for a cache before it was built; call it first, or "
                "build(x_shape, memory_shape)."
            )
        cache = self.self_attention.empty_cache(batch, length)
        if memory is None:
            return (cache,)
        return (cache, self.cross_attention.fill_cache(memory, value_mask=carried(memory, memory_mask)))

    def _check_memory(self, memory, cache):
        if cache is not None and memory is not None:
            raise ValueError(
                "TransformerDecoder got a memory beside a cache; pass it once, to "
                "empty_cache(batch, length, memory)."
            )
        given = memory is not None or (cache is not None and len(cache) > 1)
        if given != (self.cross_attention is not None):
            built, now = ("without", "with") if given else ("with", "without")
            raise ValueError(
                f"TransformerDecoder was built {built} a memory and got called {now} one; "
                "make another decoder for that."
            )


def carried(x, mask):
    """The mask, or that which x carries: Keras fills it in only where no other argument is a tensor."""
    return get_keras_mask(x) if mask is None else mask


def several(results):
    """The results of a layer, also where there is but one."""
    return results if isinstance(results, tuple) else (results,)
