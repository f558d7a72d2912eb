"""A window along the diagonal, cut into blocks of queries, so that its scores are a batch of small products.

With `before` and `after` keys to each side of a query, and blocks of b ≥ before + after queries, the queries
n b … n b + b - 1 see none but the 2 b keys from n b - before on. So

    queries (batch, length, ...)  ->  (batch, blocks, b, ...)          to_query_blocks
    keys    (batch, length, ...)  ->  (batch, blocks, 2 b, ...)        to_key_blocks: each key stands in two

and length · 2 b scores are computed instead of length². Longformer, section 3.2 (sliding chunks),
https://arxiv.org/abs/2004.05150. Queries and keys may differ in number.
"""

from keras import ops

UNKNOWN = 512  # where the length is unknown, blocks of more keys than this might be more than there are


def block_size(before, after):
    """Queries in a block: as few as hold the window, but enough for a product worth its overhead."""
    return max(before + after, 32)


def window_pays(before, after, keys):
    """Whether blocks of queries meet fewer keys than there are; `keys` is None where unknown."""
    columns = 2 * block_size(before, after)
    # A symbol for a size, by which JAX finds out shapes, is neither None nor an int.
    return columns < UNKNOWN if keys is None else isinstance(keys, int) and columns < keys


def block_count(queries, b):
    """How many blocks hold so many queries."""
    return (queries + b - 1) // b  # not -(-queries // b): ONNX divides integers towards 0


def to_query_blocks(x, b):
    """`(batch, length, ...)` to `(batch, blocks, b, ...)`; the last block is filled up with zeros."""
    length = ops.shape(x)[1]
    blocks = block_count(length, b)
    x = _pad(x, 1, 0, blocks * b - length)
    return _reshape(x, 1, 2, (blocks, b))


def from_query_blocks(x, length):
    """`(batch, blocks, b, ...)` back to `(batch, length, ...)`."""
    shape = ops.shape(x)
    return _reshape(x, 1, 3, (shape[1] * shape[2],))[:, :length]


def to_key_blocks(x, b, before, blocks, beyond=None):
    """`(batch, length, ...)` to `(batch, blocks, 2 b, ...)`, or b + `beyond`; zeros where there is no key."""
    x = _reshape(_fit(x, 1, before, (blocks + 1) * b), 1, 2, (blocks + 1, b))
    return ops.concatenate([x[:, :-1], x[:, 1:, :beyond]], axis=2)


def rows_at(x, position):
    """`(batch, length, ...)` to `(batch, *positions, ...)`; the nearest row where there is none."""
    return ops.take(x, ops.clip(position, 0, ops.shape(x)[1] - 1), axis=1)


def fold(x):
    """`(batch, blocks, ...)` to `(batch · blocks, ...)`."""
    return _reshape(x, 0, 2, (ops.shape(x)[0] * ops.shape(x)[1],))


def unfold(x, blocks):
    """`(batch · blocks, ...)` back to `(batch, blocks, ...)`."""
    return _reshape(x, 0, 1, (ops.shape(x)[0] // blocks, blocks))


def pairs_to_blocks(x, b, before):
    """`(batch, heads, queries, keys)`, say a mask, to `(batch, blocks, heads, b, 2 b)`."""
    blocks = block_count(ops.shape(x)[2], b)
    x = _fit(_pad(x, 2, 0, blocks * b - ops.shape(x)[2]), 3, before, (blocks + 1) * b)
    x = ops.transpose(_reshape(x, 2, 3, (blocks, b)), (0, 1, 3, 2, 4))
    # Row n is wanted from column n b on. A row that is b longer moves every row after it by b.
    x = _reshape(x, 3, 5, (blocks * (blocks + 1) * b,))
    x = _reshape(_pad(x, 3, 0, blocks * b), 3, 4, (blocks, (blocks + 2) * b))
    return ops.transpose(x[..., : 2 * b], (0, 3, 1, 2, 4))


def pairs_from_blocks(x, before, queries, keys):
    """`(batch, blocks, heads, b, 2 b)` to `(batch, heads, queries, keys)`, zeros outside the window."""
    blocks, b = ops.shape(x)[1], x.shape[3]
    x = _pad(ops.transpose(x, (0, 2, 3, 1, 4)), 4, 0, blocks * b)
    x = _reshape(x, 3, 5, (blocks * (blocks + 2) * b,))[..., : blocks * (blocks + 1) * b]
    x = ops.transpose(_reshape(x, 3, 4, (blocks, (blocks + 1) * b)), (0, 1, 3, 2, 4))
    x = _reshape(x, 2, 4, (blocks * b,))[:, :, :queries, before:]
    return _fit(x, 3, 0, keys)


def _pad(x, axis, before, after):
    widths = [(0, 0)] * len(x.shape)
    widths[axis] = (before, after)
    return ops.pad(x, widths)


def _fit(x, axis, before, length):
    """`before` zeros, x, and zeros up to `length`; x is cut where it is too long."""
    missing = length - before - ops.shape(x)[axis]
    x = _pad(x, axis, before, max(missing, 0) if isinstance(missing, int) else ops.maximum(missing, 0))
    return x[(slice(None),) * axis + (slice(0, length),)]


def _reshape(x, start, end, sizes):
    shape = ops.shape(x)
    return ops.reshape(x, (*shape[:start], *sizes, *shape[end:]))
