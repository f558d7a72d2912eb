"""A map at a lower resolution: keys are summed and queries averaged, so that rows still sum to 1."""

from keras import ops


def bins(length, most):
    """Where each of at most `most` bins over `length` positions starts, and `length` itself at the end.

    >>> print(ops.convert_to_numpy(bins(7, 3)))
    [0 2 4 7]
    """
    count = min(length, most) if isinstance(length, int) else ops.minimum(length, most)
    return ops.arange(count + 1) * length // count


def bin_of(position, length, most):
    """Which of so many bins a position is in, as `bins` has them.

    >>> print(ops.convert_to_numpy(bin_of(ops.arange(7), 7, 3)))
    [0 0 1 1 2 2 2]
    """
    return ((position + 1) * most - 1) // length


def membership(length, most):
    """`(length, bins)`: 1.0 where a position is in a bin."""
    edges, position = bins(length, most), ops.arange(length)[:, None]
    return ops.cast((edges[:-1] <= position) & (position < edges[1:]), "float32")


def pool_keys(a, most):
    """`(..., keys)` to `(..., bins)`, sums."""
    keys = ops.shape(a)[-1]
    if isinstance(keys, int) and keys <= most:
        return a
    if isinstance(keys, int) and keys % most == 0:
        return ops.sum(ops.reshape(a, (*ops.shape(a)[:-1], most, keys // most)), axis=-1)
    return ops.matmul(a, membership(keys, most))


def pool_queries(a, most):
    """`(batch, heads, queries, n)` to `(batch, heads, bins, n)`, means."""
    queries = ops.shape(a)[2]
    if isinstance(queries, int) and queries <= most:
        return a
    member = membership(queries, most)
    return ops.einsum("qr,bhqn->bhrn", member / ops.sum(member, axis=0), a)


def pooled(a, resolution):
    """`(batch, heads, queries, keys)` at most `resolution`, a pair; None leaves it as it is."""
    return a if resolution is None else pool_queries(pool_keys(a, resolution[1]), resolution[0])
