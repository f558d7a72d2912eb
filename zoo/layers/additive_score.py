"""The score of additive attention."""

from keras import ops

from zoo.layers.query_blocks import in_query_blocks


def additive_score(query, key, v):
    """e_ij = vᵀ tanh(query_i + key_j), `(batch, queries, keys)`, of projections that are `units` deep.

    The hidden layer is as large as queries · keys · units: of long inputs, only 32 MB exist at a time.

    >>> e = additive_score(ops.zeros((2, 3, 5)), ops.zeros((2, 7, 5)), ops.ones((5,)))
    >>> tuple(e.shape)
    (2, 3, 7)
    """

    def score(query, key, v):
        return ops.matmul(ops.tanh(query[:, :, None] + key[:, None]), v)

    keys, units = ops.shape(key)[1], key.shape[2]
    return in_query_blocks(score, [query], [key], [v], keys * units)
