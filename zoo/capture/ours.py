"""Our own layers never hold the weights of all pairs: they hand them out pooled, or hold them after all.

Where a layer of `zoo.layers` is asked for its weights at a resolution, what makes their matrix pools it
instead; where its weights are replaced, it attends to all pairs at once, in view of the other hooks.
"""

from keras import ops

from zoo.capture.pooling import bin_of, bins, pool_keys


def in_query_blocks(recorder, original, f, queries, keys, weights, *args, **kwargs):
    """Rows of the matrix are pooled block by block."""
    if recorder.whole(recorder.owner()[0]):
        return f(*queries, *keys, *weights)
    length = keys[1].shape[1]  # of the values
    # Windows are folded into the batch: their rows are short, and `pairs_from_blocks` will pool them.
    if not recorder.pools(queries[0].shape[0], queries[0].shape[1], length):
        return original(f, queries, keys, weights, *args, **kwargs)

    def with_rows_pooled(*tensors):
        results = f(*tensors)
        return (results[0], pool_keys(results[1], recorder.resolution[1])) if _is_pair(results) else results

    results = original(with_rows_pooled, queries, keys, weights, *args, **kwargs)
    if _is_pair(results):
        recorder.pooled_from = (queries[0].shape[1], length)
    return results


def window_pays(recorder, original, before, after, keys):
    """No window where weights are replaced."""
    if recorder.whole(recorder.owner()[0]):
        return False
    return original(before, after, keys)


def band_to_full(recorder, original, a, before, after):
    """A band `(batch, length, offsets)` of weights becomes `(batch, bins, bins)`."""
    batch, length, offsets = a.shape
    if not recorder.pools(batch, length, length):
        return original(a, before, after)
    i = ops.arange(length)[:, None]
    return _pooled_pairs(recorder, a[:, None], i, i - before + ops.arange(offsets), length, length)[:, 0]


def pairs_from_blocks(recorder, original, x, before, queries, keys):
    """Blocks `(batch, blocks, heads, b, 2 b)` of weights become `(batch, heads, bins, bins)`."""
    batch, blocks, _, b, columns = x.shape
    if not recorder.pools(batch, queries, keys) or blocks is None:
        return original(x, before, queries, keys)
    start = ops.arange(blocks)[:, None, None] * b
    i, j = start + ops.arange(b)[:, None], start - before + ops.arange(columns)
    return _pooled_pairs(recorder, ops.transpose(x, (0, 2, 1, 3, 4)), i, j, queries, keys)


def _pooled_pairs(recorder, a, i, j, queries, keys):
    """Weights `(batch, heads, …)` of queries i and keys j; those that do not exist fill up blocks."""
    recorder.pooled_from = (queries, keys)
    rows, columns = min(queries, recorder.resolution[0]), min(keys, recorder.resolution[1])
    exists = (i < queries) & (j >= 0) & (j < keys)
    to = bin_of(i, queries, rows) * columns + bin_of(j, keys, columns)
    to = ops.reshape(ops.where(exists, to, rows * columns), (-1,))
    batch, heads = a.shape[:2]
    a = ops.transpose(ops.reshape(a, (batch * heads, -1)))
    a = ops.segment_sum(a, to, rows * columns + 1)[:-1]
    a = ops.reshape(ops.transpose(a), (batch, heads, rows, columns))
    edges = bins(queries, rows)
    return a / ops.cast(edges[1:] - edges[:-1], a.dtype)[:, None]


def _is_pair(results):
    return isinstance(results, tuple) and len(results) == 2
