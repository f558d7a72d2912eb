"""Self-attention over the patches of an image, Dosovitskiy et al. 2021."""

import keras
from keras import ops

from zoo.layers.arguments import check_depth, divisor, feature_map, fit, positive_integer
from zoo.layers.multi_head_attention import MultiHeadAttention
from zoo.layers.positions import LearnedPositions
from zoo.layers.weights import add_weight


@keras.saving.register_keras_serializable(package="attention_zoo")
class PatchSelfAttention(keras.layers.Layer):
    """Cuts an image into patches, embeds them, and lets every patch attend to all.

        z_0 = [x_1 E; x_2 E; …] + E_pos       (equation 1, without the class token)
        y   = MSA(z_0)                        (appendix A)

    An Image is Worth 16x16 Words, https://arxiv.org/abs/2010.11929. x_p are the p × p pixels of a patch, all
    their channels in a row. MSA is `MultiHeadAttention`; residual and norm are left to the caller.

    Call: `layer(x, return_attention_scores=False)` with x `(batch, rows, columns, channels)`. Returns y
    `(batch, rows / p, columns / p, units)`; with `return_attention_scores` also the weights, `(batch,
    num_heads, patches, patches)`, row by row. No masks.

    Args:
        units: size of a patch's embedding, and of the output.
        num_heads: heads; they divide units.
        patch_size: p; it divides rows and columns. 1 attends over the positions of a feature map.
        positions: whether there is E_pos `(patches, units)`, learned, which fixes the image's size.
        kernel_initializer: of E `(p · p · channels, units)`.

    Raises:
        ValueError: a size below 1; heads that do not divide units; an input that is not of rank 4, or whose
            rows or columns p does not divide; positions with an image of unknown size, or of another than the
            layer was built for.

    >>> y, a = PatchSelfAttention(6, num_heads=2, patch_size=2)(
    ...     ops.ones((1, 4, 6, 3)), return_attention_scores=True
    ... )
    >>> tuple(y.shape), tuple(a.shape)
    ((1, 2, 3, 6), (1, 2, 6, 6))
    """

    def __init__(
        self,
        units: int,
        num_heads: int,
        patch_size: int = 1,
        positions: bool = True,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        owner = "PatchSelfAttention"
        self.units = positive_integer(owner, "units", units)
        self.num_heads = positive_integer(owner, "num_heads", num_heads)
        self.patch_size = positive_integer(owner, "patch_size", patch_size)
        self.positions = bool(positions)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        key_dim = self.units // divisor(owner, "num_heads", self.num_heads, "units", self.units)
        self.attention = MultiHeadAttention(
            self.num_heads, key_dim, dtype=self.dtype_policy, name="attention"
        )

    @property
    def normalised(self) -> bool:
        """Whether the weights of a patch sum to 1: always."""
        return True

    def attention_axes(self, input_shape) -> tuple[dict, dict]:
        """What the axes of the scores are: the patches, twice."""
        patches = {"kind": "patch", "grid": tuple(size // self.patch_size for size in input_shape[1:3])}
        return patches, patches

    def build(self, input_shape):
        """Create E and E_pos, and build the attention, for images of this shape."""
        batch, rows, columns, channels = self._check(input_shape)
        p = self.patch_size
        self.E = add_weight(self, "E", (p * p * channels, self.units))
        patches = None if None in (rows, columns) else (rows // p) * (columns // p)
        if self.positions:
            if patches is None:
                raise ValueError(
                    f"PatchSelfAttention got an image of shape {tuple(input_shape)}, of unknown size, and "
                    "learns a vector for every patch; pass positions=False or an image of known size."
                )
            self.E_pos = LearnedPositions(patches, dtype=self.dtype_policy, name="E_pos")
            self.E_pos.build((batch, patches, self.units))
        # E_pos alone fixes rows and columns.
        self.size, self.channels = (rows, columns) if self.positions else (None, None), channels
        self.attention.build((batch, patches, self.units), (batch, patches, self.units))

    def call(self, inputs, return_attention_scores=False):
        """Return the patches' outputs on their grid, and the weights if asked for."""
        shape = self._check(inputs.shape)
        check_depth("PatchSelfAttention", "feature map", shape, self.channels)
        if not fit(shape[1:3], self.size):
            raise ValueError(
                f"PatchSelfAttention got an image of shape {shape} and was built for {self.size[0]} rows and "
                f"{self.size[1]} columns; pass such images, or make a layer with positions=False."
            )
        batch, rows, columns = ops.shape(inputs)[:3]
        p = self.patch_size
        rows, columns = rows // p, columns // p
        x = ops.reshape(inputs, (batch, rows, p, columns, p, self.channels))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (batch, rows * columns, p * p * self.channels))
        z = ops.matmul(x, self.E)
        if self.positions:
            z = self.E_pos(z)
        y, a = self.attention(z, z, return_attention_scores=True)
        y = ops.reshape(y, (batch, rows, columns, self.units))
        return (y, a) if return_attention_scores else y

    def _check(self, shape):
        """The image's shape."""
        shape = feature_map("PatchSelfAttention", shape)
        if any(size is not None and size % self.patch_size for size in shape[1:3]):
            raise ValueError(
                f"PatchSelfAttention got an image of shape {shape} and patch_size={self.patch_size}; pass a "
                "patch size that divides rows and columns."
            )
        return shape

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {
            "units": self.units,
            "num_heads": self.num_heads,
            "patch_size": self.patch_size,
            "positions": self.positions,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
