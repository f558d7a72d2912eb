"""The non-local block, Wang, Girshick, Gupta and He 2018: every position sees every other."""

import keras
from keras import ops

from zoo.layers.arguments import feature_map, one_of, positive_integer
from zoo.layers.weights import add_weight

PAIRWISE = ("embedded_gaussian", "dot_product")


@keras.saving.register_keras_serializable(package="attention_zoo")
class NonLocalBlock(keras.layers.Layer):
    """Adds to every position what it reads from all positions, itself included.

        y_i = 1/C(x) Σ_j f(x_i, x_j) g(x_j),  g(x_j) = W_g x_j              (equation 1)
        z_i = W_z y_i + x_i                                                 (equation 6)

        f(x_i, x_j) = exp(θ(x_i)ᵀ φ(x_j)),  C(x) = Σ_j f(x_i, x_j)          "embedded_gaussian" (equation 3)
                      θ(x_i)ᵀ φ(x_j),       C(x) = number of positions      "dot_product"       (equation 4)

    with θ(x_i) = W_θ x_i, φ(x_j) = W_φ x_j; no biases. Non-local Neural Networks,
    https://arxiv.org/abs/1711.07971. W_z starts at zero, so that a new block changes nothing (section 4.1).

    Call: `layer(x, return_attention_scores=False)` with x `(batch, rows, columns, channels)`. Returns z, of
    x's shape; with `return_attention_scores` also f / C, `(batch, positions, positions)`, positions = rows ·
    columns, row by row. Those of "dot_product" may be negative and do not sum to 1. No masks.

    Args:
        units: size of θ, φ and g; half the channels if None.
        pairwise: "embedded_gaussian" or "dot_product".
        kernel_initializer: of W_θ, W_φ and W_g `(channels, units)`.

    Raises:
        ValueError: units below 1, an unknown pairwise function; an input that is not of rank 4.

    >>> z, f = NonLocalBlock()(ops.ones((2, 3, 5, 8)), return_attention_scores=True)
    >>> tuple(z.shape), tuple(f.shape)
    ((2, 3, 5, 8), (2, 15, 15))
    """

    def __init__(
        self,
        units: int | None = None,
        pairwise: str = "embedded_gaussian",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = None if units is None else positive_integer("NonLocalBlock", "units", units)
        self.pairwise = one_of("NonLocalBlock", "pairwise", pairwise, PAIRWISE)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @property
    def normalised(self) -> bool:
        """Whether the weights of a position sum to 1: not those of "dot_product"."""
        return self.pairwise == "embedded_gaussian"

    def attention_axes(self, input_shape) -> tuple[dict, dict]:
        """What the axes of the scores are: the feature map's positions, twice."""
        patches = {"kind": "patch", "grid": tuple(input_shape[1:3])}
        return patches, patches

    def build(self, input_shape):
        """Create the four weights for a feature map of this shape."""
        channels = feature_map("NonLocalBlock", input_shape)[-1]
        units = self.units or max(1, channels // 2)
        self.W_theta = add_weight(self, "W_theta", (channels, units))
        self.W_phi = add_weight(self, "W_phi", (channels, units))
        self.W_g = add_weight(self, "W_g", (channels, units))
        self.W_z = self.add_weight(name="W_z", shape=(units, channels), initializer="zeros")

    def call(self, inputs, return_attention_scores=False):
        """Return z, and f / C if asked for."""
        channels = feature_map("NonLocalBlock", inputs.shape)[-1]
        batch, rows, columns = ops.shape(inputs)[:3]
        x = ops.reshape(inputs, (batch, rows * columns, channels))
        theta, phi, g = (ops.matmul(x, W) for W in (self.W_theta, self.W_phi, self.W_g))
        f = ops.matmul(theta, ops.swapaxes(phi, 1, 2))
        if self.pairwise == "embedded_gaussian":
            f = ops.softmax(ops.cast(f, keras.backend.result_type(f.dtype, "float32")), axis=-1)
        else:
            f = f / ops.cast(rows * columns, f.dtype)
        f = ops.cast(f, self.compute_dtype)
        z = ops.matmul(ops.matmul(f, g), self.W_z) + x
        z = ops.reshape(z, (batch, rows, columns, channels))
        return (z, f) if return_attention_scores else z

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "units": self.units,
            "pairwise": self.pairwise,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
