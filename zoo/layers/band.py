"""Attention in a window: every query against the few keys around it, and nothing else.

A band `(batch, length, offsets)` holds one number per query i and offset o = -before … after, that of key
i + o, so that time and memory grow as length · (before + 1 + after). Scores that are dot products are better
computed in blocks (`window_blocks`), which a matrix product takes whole.
"""

from keras import ops

from zoo.layers.window_blocks import (
    block_count,
    block_size,
    from_query_blocks,
    to_key_blocks,
    to_query_blocks,
)


def band_scores(score, query, key, before: int, after: int):
    """e_io = score(query_i, key_(i+o)), `(batch, length, offsets)`.

    `score` takes the queries, `(batch, length, 1, …)`, and the keys around each,
    `(batch, length, offsets, …)`, and returns a score for every pair. Keys before the first and after the
    last are zeros: hide them with `band_allowed`.

    >>> x = ops.array([[1.0, 2.0, 3.0]])
    >>> print(ops.convert_to_numpy(band_scores(ops.multiply, x, x, 1, 0)))
    [[[0. 1.] [2. 4.] [6. 9.]]]
    """
    return score(query[:, :, None], _around(key, before, after))


def band_allowed(valid, before: int, after: int):
    """Whether there is a valid key at i + o, from booleans `(batch, length)`: `(batch, length, offsets)`.

    >>> print(ops.convert_to_numpy(band_allowed(ops.array([[True, True, False]]), 0, 1)))
    [[[ True  True] [ True False] [False False]]]
    """
    return _around(valid, before, after)


def band_context(a, value, before: int, after: int):
    """c_i = Σ_o a_io v_(i+o), `(batch, length, depth)`, from a band of weights a and values of that shape.

    >>> a, value = ops.array([[[0.5, 0.5], [0.0, 1.0]]]), ops.array([[[1.0], [3.0]]])
    >>> print(ops.convert_to_numpy(band_context(a, value, 1, 0)))
    [[[0.5] [3. ]]]
    """
    length, b = ops.shape(value)[1], block_size(before, after)
    rows = _slanted(to_query_blocks(a, b), b, before + 1 + after)
    keys = to_key_blocks(value, b, before, block_count(length, b), before + after)
    return from_query_blocks(ops.matmul(rows, keys), length)


def band_to_full(a, before: int, after: int):
    """A band of weights as a matrix `(batch, queries, keys)`, zeros outside the window.

    >>> print(ops.convert_to_numpy(band_to_full(ops.array([[[0, 1], [2, 3], [4, 5]]]), 1, 0)))
    [[[1 0 0] [2 3 0] [0 4 5]]]
    """
    length = ops.shape(a)[1]
    return _slanted(a, length, before + 1 + after)[..., before : before + length]


def _slanted(rows, count, width):
    """Rows `(…, count, width)`, each moved one column further right than the last, zeros around them."""
    outer = ops.shape(rows)[:-2]
    rows = ops.pad(rows, [(0, 0)] * (len(rows.shape) - 1) + [(0, count)])
    # Read in rows that are one number shorter, the same numbers begin one column later in each.
    rows = ops.reshape(rows, (*outer, count * (width + count)))[..., : count * (width + count - 1)]
    return ops.reshape(rows, (*outer, count, width + count - 1))


def _around(x, before, after):
    """x_(i+o) of every step i, `(batch, length, offsets, …)`, zeros beyond both ends.

    Gathered at once: a slice per offset makes as many small operations, and a slow gradient of as many sums.
    """
    padded = ops.pad(x, [(0, 0), (before, after)] + [(0, 0)] * (len(x.shape) - 2))
    i_and_o = ops.arange(ops.shape(x)[1])[:, None] + ops.arange(before + 1 + after)
    return ops.take(padded, i_and_o, axis=1)
