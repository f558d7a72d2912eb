"""Multi-head attention, Vaswani et al. 2017, with grouped queries, positions, a window and a cache."""

import functools

import keras
from keras import ops

from zoo.layers.arguments import (
    check_depth,
    check_mask,
    check_shapes,
    non_negative,
    one_of,
    positive_integer,
    series,
)
from zoo.layers.heads import all_of, attend_everywhere, attend_in_window, window_around
from zoo.layers.positions import RelativePositionBias, rotary
from zoo.layers.window_blocks import window_pays

POSITIONS = (None, "relative", "rotary")
NO_VALUE = (
    "MultiHeadAttention got no value; type layer(query, value), or layer(query, None, cache=cache) with "
    "cache=layer.fill_cache(memory)."
)


@keras.saving.register_keras_serializable(package="attention_zoo")
class MultiHeadAttention(keras.layers.Layer):
    """Scaled dot-product attention in several heads, each of which looks in its own projection.

        head_h = softmax(Q_h K_hᵀ / √d) V_h,    Q_h = q W_h^Q,  K_h = k W_h^K,  V_h = v W_h^V   (equation 1)
        MultiHead(q, k, v) = Σ_h head_h W_h^O                                           (section 3.2.2)

    Attention Is All You Need, https://arxiv.org/abs/1706.03762. Arguments, weights (in order and shape) and
    numbers are those of `keras.layers.MultiHeadAttention` and, with `num_key_value_heads`, of
    `keras.layers.GroupQueryAttention`: after `layer.set_weights(theirs.get_weights())` both compute the same.
    There is no `attention_axes`, `flash_attention` or `use_gate`.

    Call: `layer(query, value, key=None, ...)`, query `(batch, queries, query_depth)`, value `(batch, keys,
    value_depth)`, key `(batch, keys, key_depth)`; without a key the value is the key. Returns the output
    `(batch, queries, query_depth)`; with `return_attention_scores` also the weights `(batch, num_heads,
    queries, keys)`, after masking and before dropout; with a `cache` also the new cache, last.

    Masks: `query_mask` `(batch, queries)`, `value_mask` and `key_mask` `(batch, keys)`, True where valid,
    taken from the inputs where not given. `attention_mask`, True where a query may see a key, is `(batch,
    queries, keys)`, or `(batch, num_heads, queries, keys)`, or `(queries, keys)`; sizes may be 1. With
    `use_causal_mask` query i sees the keys up to i. A masked key gets a weight of exactly 0. The weights of a
    masked query, or of one that sees no key, are zeros, and its output is the output projection's bias. The
    output carries the query's mask.

    Window: with `sliding_window=w` query i sees the keys j with |i - j| < w, as in Keras, but time and memory
    grow with queries · w and not with queries · keys (but for scores that are asked for, and with a cache).

    Positions: "rotary" turns queries and keys (RoFormer, see `rotary`), "relative" adds a learned bias for
    j - i to the scores (T5, see `RelativePositionBias`). Both count steps from 0, or from `cache_position`.

    Decoding: `cache = layer.empty_cache(batch, length)`, then `y, cache = layer(x, x, cache=cache,
    cache_position=t, use_causal_mask=True)` with the steps from t on, one or several. Their keys and values
    are written into the cache at t (with the keys' mask), and the cache's `length` keys take the place of the
    call's. To attend to a memory that stays, project it once, `cache = layer.fill_cache(memory)`, and call
    `layer(x, None, cache=cache)`.

    Args:
        num_heads: heads of the query.
        key_dim: d, size of a head's queries and keys.
        value_dim: size of a head's values; `key_dim` if None.
        dropout: share of the weights that training drops.
        use_bias: whether the four projections have a bias.
        output_shape: size or sizes of the output in place of query_depth.
        num_key_value_heads: heads of key and value, each shared by a group of the query's (Ainslie 2023,
            https://arxiv.org/abs/2305.13245); `num_heads` if None.
        position: None, "relative" or "rotary".
        sliding_window: w, or None for all keys.
        kernel_initializer, kernel_regularizer, kernel_constraint: of W^Q `(query_depth, num_heads, d)`, W^K
            `(key_depth, num_key_value_heads, d)`, W^V `(value_depth, num_key_value_heads, value_dim)` and
            W^O `(num_heads, value_dim, output depth)`.
        bias_initializer, bias_regularizer, bias_constraint: of their biases, each of its kernel's last axes.
        seed: of the dropout.

    Raises:
        ValueError: a size below 1, dropout outside [0, 1), heads that do not divide, an odd key_dim with
            "rotary"; inputs that are not of rank 3; batch sizes or lengths that differ; a mask or a cache
            that does not fit.

    >>> layer = MultiHeadAttention(num_heads=2, key_dim=3)
    >>> y, a = layer(ops.ones((1, 5, 7)), ops.ones((1, 11, 7)), return_attention_scores=True)
    >>> tuple(y.shape), tuple(a.shape)
    ((1, 5, 7), (1, 2, 5, 11))
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape=None,
        *,
        num_key_value_heads: int | None = None,
        position: str | None = None,
        sliding_window: int | None = None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = positive_integer("MultiHeadAttention", "num_heads", num_heads)
        self.key_dim = positive_integer("MultiHeadAttention", "key_dim", key_dim)
        value_dim = key_dim if value_dim is None else value_dim
        self.value_dim = positive_integer("MultiHeadAttention", "value_dim", value_dim)
        shared = num_heads if num_key_value_heads is None else num_key_value_heads
        self.num_key_value_heads = positive_integer("MultiHeadAttention", "num_key_value_heads", shared)
        self.sliding_window = sliding_window
        if sliding_window is not None:
            positive_integer("MultiHeadAttention", "sliding_window", sliding_window)
        self.position = one_of("MultiHeadAttention", "position", position, POSITIONS)
        if num_heads % self.num_key_value_heads:
            raise ValueError(
                f"MultiHeadAttention got num_heads={num_heads} and num_key_value_heads="
                f"{num_key_value_heads}; pass a num_heads that is a multiple of num_key_value_heads."
            )
        if position == "rotary" and key_dim % 2:
            raise ValueError(
                f"MultiHeadAttention got key_dim={key_dim} with position='rotary', which turns pairs; "
                "pass an even key_dim."
            )
        self.dropout = non_negative("MultiHeadAttention", "dropout", dropout, below=1)
        self.use_bias = use_bias
        self._output_shape = output_shape
        if output_shape is not None:
            sizes = output_shape if isinstance(output_shape, (list, tuple)) else (output_shape,)
            self._output_shape = tuple(
                positive_integer("MultiHeadAttention", "output_shape", size) for size in sizes
            )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if dropout else None
        self.supports_masking = True

    @property
    def normalised(self) -> bool:
        """Whether the weights of a query sum to 1: always, but for a query that sees no key."""
        return True

    def build(self, query_shape, value_shape=None, key_shape=None):
        """Create the four projections, in Keras' order, for inputs of these shapes."""
        if value_shape is None:
            raise ValueError(NO_VALUE)
        query, value, key = _check_inputs(query_shape, value_shape, key_shape)
        heads, shared = self.num_heads, self.num_key_value_heads
        output = tuple(self._output_shape or query[-1:])
        self.W_q, self.b_q = self._projection("query", query[-1:], (heads, self.key_dim))
        self.W_k, self.b_k = self._projection("key", key[-1:], (shared, self.key_dim))
        self.W_v, self.b_v = self._projection("value", value[-1:], (shared, self.value_dim))
        self.W_o, self.b_o = self._projection("output", (heads, self.value_dim), output)
        if self.position == "relative":
            self.relative = RelativePositionBias(heads, name="relative", dtype=self.dtype_policy)
            self.relative.build()

    def _projection(self, name, sizes, outputs):
        W = self.add_weight(
            name=f"{name}_kernel",
            shape=(*sizes, *outputs),
            # From a copy: an initializer without a seed returns the same numbers at every call.
            initializer=self.kernel_initializer.clone(),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if not self.use_bias:
            return W, None
        b = self.add_weight(
            name=f"{name}_bias",
            shape=outputs,
            initializer=self.bias_initializer.clone(),
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )
        return W, b

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
        cache=None,
        cache_position=0,
    ):
        """Return the output, then the weights if asked for, then the cache if there is one."""
        query_mask, value_mask, key_mask = map(_boolean, (query_mask, value_mask, key_mask))
        if value is not None:
            shapes = _check_inputs(query.shape, value.shape, None if key is None else key.shape)
        else:
            shapes = [series("MultiHeadAttention", query.shape)]
        self._check(shapes, (query_mask, value_mask, key_mask))
        if value is None and cache is None:
            raise ValueError(NO_VALUE)
        key_valid = all_of(value_mask, key_mask)
        start = 0 if cache is None else cache_position
        q = project("btm,mhd->bthd", query, self.W_q, self.b_q)
        if self.position == "rotary":
            q = rotary(q, start + ops.arange(ops.shape(q)[1]))
        if cache is None:
            k, v = self._keys_and_values(value, key, start)
        else:
            self._check_cache(cache, query, value, cache_position)
            if value is not None:
                cache = _write(cache, start, *self._keys_and_values(value, key, start), key_valid)
            k, v, key_valid = cache
        pairs = _four_axes(attention_mask, (query.shape[0], self.num_heads, query.shape[1], k.shape[1]))
        groups = self.num_heads // self.num_key_value_heads
        if groups > 1:
            k, v = ops.repeat(k, groups, axis=2), ops.repeat(v, groups, axis=2)
        attend = functools.partial(attend_everywhere, start=start)
        if self.sliding_window and cache is None:
            window = window_around(self.sliding_window, use_causal_mask)
            attend = attend_in_window if window_pays(*window, k.shape[1]) else attend
        c, a = attend(
            q,
            k,
            v,
            masks=(query_mask, key_valid, pairs),
            causal=use_causal_mask,
            window=self.sliding_window,
            bias=self.relative if self.position == "relative" else None,
            dropout=self._drop if self.dropout and training else None,
            return_weights=return_attention_scores,
        )
        letters = "mnopq"[: len(self.W_o.shape) - 2]
        results = [project(f"bthd,hd{letters}->bt{letters}", c, self.W_o, self.b_o)]
        if return_attention_scores:
            results.append(a)
        if cache is not None:
            results.append(cache)
        return tuple(results) if len(results) > 1 else results[0]

    def _keys_and_values(self, value, key, start):
        k = project("bsm,mhd->bshd", value if key is None else key, self.W_k, self.b_k)
        v = project("bsm,mhd->bshd", value, self.W_v, self.b_v)
        if self.position == "rotary":
            k = rotary(k, start + ops.arange(ops.shape(k)[1]))
        return k, v

    def _drop(self, a):
        return keras.random.dropout(a, self.dropout, seed=self.seed_generator)

    def empty_cache(self, batch: int, length: int):
        """Return a cache for `length` steps: keys, values, and which of them are there (none).

        Keys `(batch, length, num_key_value_heads, key_dim)`, values the same with value_dim, and booleans
        `(batch, length)`.
        """
        shape = (batch, length, self.num_key_value_heads)
        return (
            ops.zeros((*shape, self.key_dim), dtype=self.compute_dtype),
            ops.zeros((*shape, self.value_dim), dtype=self.compute_dtype),
            ops.zeros((batch, length), dtype="bool"),
        )

    def fill_cache(self, value, key=None, value_mask=None):
        """Return a cache that holds these keys and values, projected once; the layer must be built."""
        if not self.built:
            raise ValueError(
                "MultiHeadAttention got a memory before it was built; call it first, or "
                "build(query_shape, value_shape)."
            )
        value = ops.cast(value, self.compute_dtype)
        key = None if key is None else ops.cast(key, self.compute_dtype)
        value_mask = _boolean(value_mask)
        shapes = [series("MultiHeadAttention", x.shape) for x in (value, value if key is None else key)]
        check_shapes("MultiHeadAttention", [shapes[0], *shapes])
        self._check([self.W_q.shape[:1], *shapes], (None, value_mask, None))
        valid = ops.ones_like(value[:, :, 0], dtype="bool")
        return (
            *self._keys_and_values(value, key, 0),
            valid if value_mask is None else valid & value_mask,
        )

    def _check(self, shapes, masks):
        """Check that inputs are as deep as those that the layer was built for, and that masks fit them."""
        built = {"query": self.W_q, "value": self.W_v, "key": self.W_k}
        for (name, W), shape, mask in zip(built.items(), shapes, masks, strict=False):
            check_depth("MultiHeadAttention", name, shape, W.shape[0])
            check_mask("MultiHeadAttention", f"{name}_mask", mask, f"a {name}", shape)

    def _check_cache(self, cache, query, value, position):
        wanted = [(None, None, self.num_key_value_heads, size) for size in (self.key_dim, self.value_dim)]
        wanted.append((None, None))
        if not isinstance(cache, (list, tuple)) or len(cache) != 3:
            raise ValueError(
                "MultiHeadAttention got a cache that is not three tensors; "
                "pass one of empty_cache or fill_cache."
            )
        shapes = [tuple(part.shape) for part in cache]
        batch_fits = all(_fit(shape[:1], query.shape[:1]) for shape in shapes)
        if not batch_fits or not all(map(_fit, shapes, wanted)):
            raise ValueError(
                f"MultiHeadAttention got a cache of shapes {', '.join(map(str, shapes))} for a query of "
                f"shape {tuple(query.shape)}; pass one of empty_cache({query.shape[0]}, length)."
            )
        if value is not None and isinstance(position, int) and None not in (value.shape[1], shapes[0][1]):
            last = position + value.shape[1]
            if position < 0 or last > shapes[0][1]:
                raise ValueError(
                    f"MultiHeadAttention got {value.shape[1]} steps at cache_position={position} of a cache "
                    f"for {shapes[0][1]}; pass a position from 0 to {shapes[0][1] - value.shape[1]}."
                )

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "output_shape": self._output_shape,
            "num_key_value_heads": self.num_key_value_heads,
            "position": self.position,
            "sliding_window": self.sliding_window,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
            "seed": self.seed,
        }


def project(equation, x, W, b):
    """x W + b, in x's type."""
    y = ops.einsum(equation, x, ops.cast(W, x.dtype))
    # Not ops.add, which on TensorFlow takes the bias of as many heads of size 1 as steps for one of steps.
    return y if b is None else y + ops.cast(b, x.dtype)


def _write(cache, start, k, v, valid):
    keys, values, held = cache
    if valid is None:
        valid = ops.ones_like(k[:, :, 0, 0], dtype="bool")
    return (
        ops.slice_update(keys, (0, start, 0, 0), ops.cast(k, keys.dtype)),
        ops.slice_update(values, (0, start, 0, 0), ops.cast(v, values.dtype)),
        ops.slice_update(held, (0, start), valid),
    )


def _check_inputs(query, value, key):
    """Check the shapes of query, value and key, which may be None, and return all three."""
    shapes = [tuple(shape) for shape in (query, value, key) if shape is not None]
    if any(len(shape) != 3 for shape in shapes):
        raise ValueError(
            f"MultiHeadAttention got inputs of shapes {', '.join(map(str, shapes))}; "
            "pass query, value and key of shape (batch, length, depth)."
        )
    return check_shapes("MultiHeadAttention", shapes)


def _four_axes(mask, wanted):
    """An attention mask as booleans that broadcast to `wanted`."""
    if mask is None:
        return None
    mask = _boolean(mask)
    rank, shape = len(mask.shape), tuple(mask.shape)
    if rank == 3:
        shape = (shape[0], 1, *shape[1:])
    if rank not in (2, 3, 4) or not _fit(shape, wanted[-len(shape) :], (1, None)):
        raise ValueError(
            f"MultiHeadAttention got an attention_mask of shape {tuple(mask.shape)}; pass one that fits "
            f"(batch, queries, keys), {(wanted[0], *wanted[2:])}, or with heads {wanted}."
        )
    return mask[None, None] if rank == 2 else mask[:, None] if rank == 3 else mask


def _fit(sizes, others, any_of=(None,)):
    pairs = zip(sizes, others, strict=True)
    return all(size in any_of or other is None or size == other for size, other in pairs)


def _boolean(mask):
    return None if mask is None else ops.cast(mask, "bool")
