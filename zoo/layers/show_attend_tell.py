"""Soft attention over a feature map, Xu et al. 2015: Show, Attend and Tell."""

import keras
from keras import ops

from zoo.layers.arguments import check_mask, fit, non_negative
from zoo.layers.bahdanau import BahdanauAttention
from zoo.layers.weights import add_weight


def doubly_stochastic_penalty(scores):
    """How far the queries together are from giving every key a weight of 1.

        Σ_i (1 - Σ_t α_ti)², the mean over the batch     (equation 14, without its λ)

    Show, Attend and Tell, section 4.2.1, https://arxiv.org/abs/1502.03044. scores `(batch, queries, keys)`;
    returns a scalar.

    >>> float(doubly_stochastic_penalty(ops.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])))
    1.0
    """
    return ops.mean(ops.sum(ops.square(1 - ops.sum(scores, axis=1)), axis=-1))


@keras.saving.register_keras_serializable(package="attention_zoo")
class ShowAttendTell(BahdanauAttention):
    """A decoder's state attends over the positions of a feature map, through a gate.

        e_ti = vᵀ tanh(W h_t + U a_i),  α_ti = exp(e_ti) / Σ_k exp(e_tk)     (equations 4 and 5)
        z_t  = β_t Σ_i α_ti a_i,        β_t = sigmoid(f_β · h_t)             (equation 13, section 4.2.1)

    Show, Attend and Tell: Neural Image Caption Generation with Visual Attention, section 4.2,
    https://arxiv.org/abs/1502.03044. The additive score is `BahdanauAttention`'s; f_β has no bias.

    Call: `layer([query, features], mask=None, return_attention_scores=False)` with query h `(batch, queries,
    query_depth)`, of one decoder state or of many, and features a `(batch, rows, columns, depth)`. Returns z
    `(batch, queries, depth)`; with `return_attention_scores` also α, `(batch, queries, rows · columns)`, row
    by row. A decoder that attends a step at a time passes `projected_keys=layer.project_keys(features)`,
    computed once, as `AttentionDecoderCell` does.

    Masks: `mask=[query_mask, features_mask]`, booleans `(batch, queries)` and `(batch, rows, columns)`, True
    where valid, either may be None; what is masked has a weight of exactly 0.

    Args:
        units: size of the scoring network's hidden layer.
        gate: whether there is β; without it z_t is the plain weighted sum.
        doubly_stochastic: λ: training adds λ · `doubly_stochastic_penalty(α)` to the loss. In an
            `AttentionDecoder` it is taken over all its steps.
        kernel_initializer: of W, U, v and f_β `(query_depth, 1)`.

    Raises:
        ValueError: units below 1, a negative λ; inputs that are not [query, features] of rank 3 and 4; batch
            sizes that differ; a mask that does not fit.

    >>> query, features = ops.ones((2, 3, 5)), ops.ones((2, 11, 13, 17))
    >>> z, a = ShowAttendTell(7)([query, features], return_attention_scores=True)
    >>> tuple(z.shape), tuple(a.shape)
    ((2, 3, 17), (2, 3, 143))
    """

    def __init__(
        self,
        units: int,
        gate: bool = True,
        doubly_stochastic: float = 0.0,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(units, kernel_initializer, **kwargs)
        self.gate = bool(gate)
        self.doubly_stochastic = float(non_negative("ShowAttendTell", "doubly_stochastic", doubly_stochastic))

    def attention_axes(self, input_shapes) -> tuple[dict, dict]:
        """What the axes of the scores are: steps, and the feature map's positions."""
        return {"kind": "step"}, {"kind": "patch", "grid": tuple(input_shapes[1][1:3])}

    def build(self, input_shape):
        """Create W, U, v and f_β for inputs of these shapes."""
        query, features = self._check(input_shape)
        super().build([query, (features[0], None, features[-1])])
        if self.gate:
            self.f_beta = add_weight(self, "f_beta", (query[-1], 1))

    def project_keys(self, key):
        """U a_i `(batch, rows · columns, units)` of a feature map, or of positions in a row."""
        return super().project_keys(_in_a_row(key))

    def call(self, inputs, mask=None, return_attention_scores=False, training=None, projected_keys=None):
        """Return z, and the weights if asked for."""
        several = isinstance(inputs, (list, tuple))
        shapes = self._check([tensor.shape for tensor in inputs] if several else inputs.shape)
        query, features = inputs
        if isinstance(mask, (list, tuple)) and len(mask) == 2 and mask[1] is not None:
            check_mask("ShowAttendTell", "features mask", mask[1], "features", shapes[1])
            mask = [mask[0], ops.reshape(mask[1], (ops.shape(mask[1])[0], -1))]
        z, a = super().call([query, _in_a_row(features)], mask, True, training, projected_keys)
        if self.gate:
            z = ops.sigmoid(ops.matmul(query, self.f_beta)) * z
        if self.doubly_stochastic and training and projected_keys is None:
            self.add_loss(self.doubly_stochastic * doubly_stochastic_penalty(a))
        return (z, a) if return_attention_scores else z

    def _check(self, shapes):
        """The shapes of query and features."""
        wanted = "pass [query, features] of shapes (batch, queries, depth) and (batch, rows, columns, depth)"
        if not isinstance(shapes, (list, tuple)) or not all(hasattr(shape, "__len__") for shape in shapes):
            raise ValueError(f"ShowAttendTell got one tensor where it wants a list; {wanted}.")
        shapes = [tuple(shape) for shape in shapes]
        if [len(shape) for shape in shapes] != [3, 4]:
            raise ValueError(f"ShowAttendTell got inputs of shapes {', '.join(map(str, shapes))}; {wanted}.")
        if any(shape[-1] is None for shape in shapes) or not fit(shapes[0][:1], shapes[1][:1]):
            raise ValueError(
                f"ShowAttendTell got a query of shape {shapes[0]} and features of shape {shapes[1]}; pass "
                "inputs of one batch size, their last sizes known."
            )
        return shapes

    def get_config(self):
        """Return the arguments that make this layer again."""
        return super().get_config() | {"gate": self.gate, "doubly_stochastic": self.doubly_stochastic}


def _in_a_row(features):
    if len(features.shape) == 3:
        return features
    batch, rows, columns = ops.shape(features)[:3]
    return ops.reshape(features, (batch, rows * columns, features.shape[-1]))
