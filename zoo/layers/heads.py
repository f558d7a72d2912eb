"""Scaled dot-product attention of heads that are projected already: over all keys, or in a window."""

import functools
import math

from keras import ops, tree

from zoo.layers.masked_softmax import masked_softmax
from zoo.layers.query_blocks import one_block_at_a_time
from zoo.layers.window_blocks import (
    block_count,
    block_size,
    from_query_blocks,
    pairs_from_blocks,
    pairs_to_blocks,
    rows_at,
)

# Scores in windows that are computed at a time: half a megabyte, or a CHUNKS-th of them all, because each
# time costs the gradient a sum as long as the series.
SCORES, CHUNKS = 2**17, 8


def attend_everywhere(q, k, v, masks, causal, window, start, bias, dropout, return_weights):
    """a = softmax(q kᵀ / √d + bias), c = a v, over all keys that the masks allow.

    q `(batch, queries, heads, d)`, k `(batch, keys, heads, d)`, v `(batch, keys, heads, value_dim)`. `masks`
    are those of queries `(batch, queries)`, keys `(batch, keys)` and pairs, which broadcasts to `(batch,
    heads, queries, keys)`; each may be None. Query i stands at `start` + i, sees no key after it if `causal`,
    and none at a distance of `window` or more. `bias` is a function of the offsets key - query, `(queries,
    keys)` to `(heads, queries, keys)`, or None; `dropout` one of the weights, or None.

    Returns c `(batch, queries, heads, value_dim)` and, if wanted, a `(batch, heads, queries, keys)`, before
    dropout; both are zeros where a query sees no key.
    """
    query_valid, key_valid, pairs = masks
    i, j = start + ops.arange(ops.shape(q)[1]), ops.arange(ops.shape(k)[1])
    allowed = all_of(
        None if query_valid is None else query_valid[:, None, :, None],
        None if key_valid is None else key_valid[:, None, None, :],
        pairs,
        _near(i, j, causal, window),
    )
    return _attend(q, k, v, allowed, bias(j - i[:, None])[None] if bias else None, dropout, return_weights)


def window_around(window, causal):
    """How many keys before its own and after it a query sees."""
    return window - 1, 0 if causal else window - 1


def attend_in_window(q, k, v, masks, causal, window, bias, dropout, return_weights):
    """The same from position 0 on, in blocks along the diagonal: queries · window scores in all.

    Of a long series some blocks at a time, unless a mask of pairs is as large as all scores anyway, or a
    dropout must not be drawn again for the gradient.
    """
    query_valid, key_valid, pairs = masks
    before, after = window_around(window, causal)
    b = block_size(before, after)
    batch, queries, keys = ops.shape(q)[0], ops.shape(q)[1], ops.shape(k)[1]
    blocks = size = block_count(queries, b)
    if pairs is not None:
        pairs = pairs_to_blocks(ops.broadcast_to(pairs, (*ops.shape(pairs)[:2], queries, keys)), b, before)
    elif not dropout and isinstance(batch, int) and isinstance(queries, int):
        fit = SCORES // (batch * q.shape[2] * b * 2 * b)
        size = min(blocks, max(fit, block_count(blocks, CHUNKS)))
    i, j = ops.arange(b), ops.arange(2 * b) - before
    near = _near(i, j, causal, window)[None]
    e = bias(j - i[:, None])[None] if bias else None

    def attend(first, q, query_valid, k, v, key_valid, e):
        """Of `size` blocks of queries from the first on: b queries see 2 b keys, some before the block."""
        start = (ops.cast(first, "int32") + ops.arange(size))[:, None] * b
        row, column = start + i, start + j
        allowed = all_of(
            near,
            ((column >= 0) & (column < keys))[:, None, None],
            None if key_valid is None else rows_at(key_valid, column)[:, :, None, None],
            None if query_valid is None else rows_at(query_valid, row)[:, :, None, :, None],
            pairs,
        )
        q, k, v = rows_at(q, row), rows_at(k, column), rows_at(v, column)
        c, a = _attend(q, k, v, allowed, e, dropout, return_weights)
        return (c, a) if return_weights else c

    if size is blocks:
        result = attend(0, q, query_valid, k, v, key_valid, e)
    else:
        firsts = ops.arange(0, blocks, size, dtype="float32")[None]
        given = [q, query_valid, k, v, key_valid, e]
        result = one_block_at_a_time(lambda first, *given: attend(first[0], *given), [firsts], given)
        result = tree.map_structure(lambda x: from_query_blocks(x, blocks), result)
    if not return_weights:
        return from_query_blocks(result, queries), None
    c, a = result
    return from_query_blocks(c, queries), pairs_from_blocks(a, before, queries, keys)


def _attend(q, k, v, allowed, bias, dropout, return_weights):
    scale = 1 / math.sqrt(q.shape[-1])
    plain = bias is None and k.shape[-1] == v.shape[-1] and len(q.shape) == 4
    if plain and not (return_weights or dropout):
        # The backend's own operation: fused where it can be, and the one that capture looks into.
        c = ops.dot_product_attention(q, k, v, mask=allowed, scale=scale)
        if allowed is not None:  # which lets a query that sees no key see all
            sees = ops.swapaxes(ops.any(allowed, axis=-1, keepdims=True), 1, 2)
            c = ops.where(sees, c, ops.zeros_like(c))
        return c, None
    outer = "bn"[: len(q.shape) - 3]  # batch, and blocks where there are any
    e = ops.einsum(f"{outer}thd,{outer}shd->{outer}hts", q * scale, k)
    if bias is not None:
        e = e + ops.cast(bias, e.dtype)
    a = ops.cast(masked_softmax(e, True if allowed is None else allowed), v.dtype)
    c = ops.einsum(f"{outer}hts,{outer}shd->{outer}thd", dropout(a) if dropout else a, v)
    return c, a if return_weights else None


def _near(i, j, causal, window):
    """Which queries, at i, see which keys, at j, by place; None for all."""
    i = i[:, None]
    near = [j <= i] if causal else []
    if window:
        near += [i - window < j, j < i + window]
    return all_of(*near)[None, None] if near else None


def all_of(*masks):
    """The masks that are not None, in one; None if there are none."""
    masks = [mask for mask in masks if mask is not None]
    return functools.reduce(ops.logical_and, masks) if masks else None
