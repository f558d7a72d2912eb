"""The softmax over the keys that a query may see."""

import keras
from keras import ops


def masked_softmax(score, allowed):
    """a_j = exp(e_j) / Σ_k exp(e_k) over the allowed keys k; exactly 0 at the others.

    Computed in float32 or better, and returned so: half precision cannot sum a long row to 1.

    Args:
        score: e `(..., keys)`, of any float type.
        allowed: booleans that broadcast to `score`. A row with no allowed key comes back as zeros, and its
            gradient is zero.

    >>> score = ops.array([[1.0, 1.0, 7.0], [1.0, 2.0, 3.0]])
    >>> print(ops.convert_to_numpy(masked_softmax(score, ops.array([[True, True, False], [False] * 3]))))
    [[0.5 0.5 0. ]
     [0.  0.  0. ]]
    """
    score = ops.cast(score, keras.backend.result_type(score.dtype, "float32"))
    # Finite: with -inf a row with no allowed key is NaN, and so is its gradient, replaced or not.
    weights = ops.softmax(ops.where(allowed, score, -1e30), axis=-1)
    return ops.where(allowed, weights, 0.0)
