"""Where a step stands: sinusoidal, learned, rotary and relative positions."""

import math

import keras
from keras import ops

from zoo.layers.arguments import positive_integer


def steps(x):
    """0, 1, … for every sample of `(batch, length, depth)`: `(batch, length)`, in a type that counts far."""
    return ops.cumsum(ops.ones_like(x[:, :, 0], dtype="float32"), axis=1) - 1


def sinusoidal(positions, depth: int, base: float = 10000.0):
    """Encode positions as sines and cosines of falling frequency.

        PE(pos, 2i)   = sin(pos / base^(2i / depth))
        PE(pos, 2i+1) = cos(pos / base^(2i / depth))

    Attention Is All You Need, section 3.5, https://arxiv.org/abs/1706.03762. positions `(...)`, of any number
    type; returns `(..., depth)`, float32.

    >>> print(ops.convert_to_numpy(sinusoidal(ops.arange(2), 4)).round(2))
    [[0.   1.   0.   1.  ]
     [0.84 0.54 0.01 1.  ]]
    """
    dimension = ops.arange(depth)
    angle = _angles(positions, 2 * (dimension // 2), depth, base)
    return ops.where(dimension % 2 == 0, ops.sin(angle), ops.cos(angle))


def rotary(x, positions, base: float = 10000.0):
    """Turn each pair of features by an angle that grows with the position.

        f(x, m) = R(m) x,    R(m) = diag over i of [cos m θ_i  -sin m θ_i]    θ_i = base^(-2(i-1)/d)
                                                   [sin m θ_i   cos m θ_i]

    so that f(q, m)ᵀ f(k, n) depends on q, k and n - m alone. Pairs are neighbours, (x_1, x_2), (x_3, x_4) …
    RoFormer, equations 14 to 16 and 34, https://arxiv.org/abs/2104.09864. x `(batch, length, heads, d)` with
    an even d, positions `(length,)` or `(batch, length)`; returns x's shape and type.
    An odd d is a ValueError.

    >>> x = ops.array([[[[1.0, 0.0]], [[1.0, 0.0]]]])
    >>> print(ops.convert_to_numpy(rotary(x, ops.arange(2)))[0, :, 0].round(2))
    [[1.   0.  ]
     [0.54 0.84]]
    """
    x = ops.convert_to_tensor(x)
    d = x.shape[-1] if len(x.shape) else None
    if d is None or d % 2:
        raise ValueError(
            f"rotary got x of shape {tuple(x.shape)} and turns pairs of features; pass one whose last size "
            "is known and even."
        )
    angle = _angles(positions, ops.arange(0, d, 2), d, base)[..., None, :]
    cos, sin = ops.cast(ops.cos(angle), x.dtype), ops.cast(ops.sin(angle), x.dtype)
    odd, even = x[..., 0::2], x[..., 1::2]
    turned = ops.stack([odd * cos - even * sin, odd * sin + even * cos], axis=-1)
    return ops.reshape(turned, ops.shape(x))


def _angles(positions, dimensions, depth, base):
    # In float32 whatever the layer computes in: bfloat16 cannot count beyond 256.
    frequency = ops.exp(ops.cast(dimensions, "float32") * (-math.log(base) / depth))
    return ops.cast(positions, "float32")[..., None] * frequency


@keras.saving.register_keras_serializable(package="attention_zoo")
class SinusoidalPositions(keras.layers.Layer):
    """Add the sinusoidal encoding of its position to every step: y_t = x_t + PE(t).

    Attention Is All You Need, section 3.5, https://arxiv.org/abs/1706.03762; see `sinusoidal`. There the
    embeddings x are multiplied by √depth first; here that is left to the caller.

    Call: `layer(x, position=0)`, x `(batch, length, depth)`. `position`, an integer or a scalar tensor, is
    that of the first step, for a decoder that is called a step at a time. Returns x's shape; keeps x's mask.

    Raises:
        ValueError: x is not of rank 3.

    >>> print(ops.convert_to_numpy(SinusoidalPositions()(ops.zeros((1, 2, 2)))).round(2))
    [[[0.   1.  ]
      [0.84 0.54]]]
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, position=0):
        """Return x with the encodings added."""
        _check_rank("SinusoidalPositions", x.shape)
        encoding = sinusoidal(position + ops.arange(ops.shape(x)[1]), x.shape[-1])
        return x + ops.cast(encoding, x.dtype)


@keras.saving.register_keras_serializable(package="attention_zoo")
class LearnedPositions(keras.layers.Layer):
    """Add a learned vector for its position to every step: y_t = x_t + p_t.

    Convolutional Sequence to Sequence Learning, section 3.1, https://arxiv.org/abs/1705.03122.

    Call: `layer(x, position=0)`, x `(batch, length, depth)`. `position`, an integer or a scalar tensor, is
    that of the first step, for a decoder that is called a step at a time. Returns x's shape; keeps x's mask.

    Args:
        max_length: how many positions there are.
        embeddings_initializer: of p `(max_length, depth)`.

    Raises:
        ValueError: max_length below 1; x not of rank 3, of unknown depth, or reaching beyond max_length.

    >>> layer = LearnedPositions(5, embeddings_initializer="ones")
    >>> print(ops.convert_to_numpy(layer(ops.zeros((1, 3, 2))))[0, 0])
    [1. 1.]
    """

    def __init__(self, max_length: int, embeddings_initializer="uniform", **kwargs):
        super().__init__(**kwargs)
        self.max_length = positive_integer("LearnedPositions", "max_length", max_length)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.supports_masking = True

    def build(self, x_shape):
        """Create p for inputs of this depth."""
        if len(x_shape) != 3 or x_shape[-1] is None:
            raise ValueError(
                f"LearnedPositions got an input of shape {tuple(x_shape)}; "
                "pass one of shape (batch, length, depth) whose depth is known."
            )
        self.p = self.add_weight(
            name="p", shape=(self.max_length, x_shape[-1]), initializer=self.embeddings_initializer
        )

    def call(self, x, position=0):
        """Return x with the learned vectors added."""
        self._check_length(x.shape, position)
        return x + ops.take(self.p, position + ops.arange(ops.shape(x)[1]), axis=0)

    def compute_output_spec(self, x, position=0):
        """Return x's shape; not found by a trial, for which Keras makes up a length that may be too long."""
        self._check_length(x.shape, position)
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def _check_length(self, shape, position):
        _check_rank("LearnedPositions", shape)
        known = isinstance(position, int) and isinstance(shape[1], int)
        if known and shape[1] + position > self.max_length:
            raise ValueError(
                f"LearnedPositions got {shape[1]} steps from position {position} on, and has "
                f"{self.max_length} positions; pass max_length={shape[1] + position} or more."
            )

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "max_length": self.max_length,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }


def _check_rank(owner, shape):
    if len(shape) != 3:
        raise ValueError(
            f"{owner} got an input of shape {tuple(shape)}; pass one of shape (batch, length, depth)."
        )


@keras.saving.register_keras_serializable(package="attention_zoo")
class RelativePositionBias(keras.layers.Layer):
    """A learned number per head for how far a key stands from the query, added to their score.

        e_ij = q_iᵀ k_j / √d + b[head, bucket(j - i)]

    Half of the buckets are for keys after the query. Within a half, the first half of the buckets hold one
    distance each, and the others ranges that grow logarithmically up to `max_distance`; all that is further
    shares the last. Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer (T5),
    section 2.1, https://arxiv.org/abs/1910.10683, in its form for attention that looks both ways; T5 leaves
    out the √d.

    Call: `layer(offset)`, offset = j - i, integers of any shape `(...)`; returns b, `(heads, ...)`.

    Args:
        num_heads: how many numbers a bucket has.
        num_buckets: a multiple of 4, both sides together.
        max_distance: from which distance on all keys share a bucket; more than num_buckets / 4.

    Raises:
        ValueError: num_heads below 1, num_buckets not a multiple of 4, max_distance too small for it.

    >>> bias = RelativePositionBias(2)
    >>> tuple(bias(ops.arange(5)[None] - ops.arange(3)[:, None]).shape)
    (2, 3, 5)
    """

    def __init__(
        self, num_heads: int, num_buckets: int = 32, max_distance: int = 128, initializer="normal", **kwargs
    ):
        super().__init__(**kwargs)
        self.num_heads = positive_integer("RelativePositionBias", "num_heads", num_heads)
        self.num_buckets = positive_integer("RelativePositionBias", "num_buckets", num_buckets)
        self.max_distance = positive_integer("RelativePositionBias", "max_distance", max_distance)
        if num_buckets % 4:
            raise ValueError(
                f"RelativePositionBias got num_buckets={num_buckets}; pass a multiple of 4: two sides, each "
                "half exact and half logarithmic."
            )
        if max_distance <= num_buckets // 4:
            raise ValueError(
                f"RelativePositionBias got max_distance={max_distance} with num_buckets={num_buckets}; pass "
                f"more than the {num_buckets // 4} distances that have a bucket of their own."
            )
        self.initializer = keras.initializers.get(initializer)

    def build(self, offset_shape=None):
        """Create b, `(num_buckets, num_heads)`."""
        self.b = self.add_weight(
            name="b", shape=(self.num_buckets, self.num_heads), initializer=self.initializer
        )

    def call(self, offset):
        """Return the bias of every head at these offsets."""
        return ops.moveaxis(ops.take(self.b, self._bucket(offset), axis=0), -1, 0)

    def _bucket(self, offset):
        offset = ops.cast(offset, "int32")
        side = self.num_buckets // 2
        exact = side // 2
        distance = ops.abs(offset)
        ratio = ops.cast(ops.maximum(distance, exact), "float32") / exact
        logarithmic = exact + ops.cast(
            ops.log(ratio) / math.log(self.max_distance / exact) * (side - exact), "int32"
        )
        bucket = ops.where(distance < exact, distance, ops.minimum(logarithmic, side - 1))
        return bucket + ops.where(offset > 0, side, 0)

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "initializer": keras.initializers.serialize(self.initializer),
        }
