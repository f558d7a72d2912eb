"""Keras' one function for softmax(q kᵀ) v, whose kernels keep the weights to themselves."""

import keras
from keras import ops

from zoo.capture.pooling import bin_of, bins, pool_keys
from zoo.layers.query_blocks import one_after_another

# Bytes of scores that are looked at together when a map is pooled, or more if these are fewer rows than
# LEAST: so many rows of scores take no more than the queries of heads that are as deep.
BLOCK, LEAST = 2 * 2**20, 64


def dot_product_attention(
    recorder, original, query, key, value, bias=None, mask=None, scale=None, is_causal=False, **kwargs
):
    """Record a = softmax(scale · q kᵀ + bias), and compute a v from it, unless it shall be exact."""

    def exact():
        return original(query, key, value, bias=bias, mask=mask, scale=scale, is_causal=is_causal, **kwargs)

    path, layer = recorder.owner()
    if not recorder.replaces(path) and not (
        recorder.wanted(path) and recorder.fits(query.shape[2], recorder.next_name(path))
    ):
        recorder.add(None, path, layer)
        return exact()
    given = _Inputs(query, key, value, bias, mask, scale, is_causal)
    resolution = recorder.resolution
    if recorder.replaces(path) or recorder.raw or resolution is None or not given.exceeds(resolution):
        a = given.weights()
        if recorder.replaces(path):
            a = recorder.replaced(a, path)
            recorder.add(a, path, layer)
            return given.output(a)
        recorder.add(given.without_padding(a), path, layer)
        return exact() if recorder.exact else given.output(a)
    output, a = given.pooled(resolution, recorder.select, not recorder.exact)
    recorder.add(a, path, layer, full=given.full(), ready=True)
    return exact() if recorder.exact else output


class _Inputs:
    """Queries `(batch, length, heads, depth)`, keys and values, as the kernel sees them."""

    def __init__(self, query, key, value, bias, mask, scale, is_causal):
        query, key, value = (ops.convert_to_tensor(x) for x in (query, key, value))
        self.dtype = keras.backend.result_type(query.dtype, key.dtype, value.dtype)
        heads, kept = query.shape[2], key.shape[2]
        if heads != kept:
            key, value = (ops.repeat(x, heads // kept, axis=2) for x in (key, value))
        self.query, self.key, self.value = (ops.cast(x, self.dtype) for x in (query, key, value))
        self.precise = keras.backend.result_type(self.dtype, "float32")
        self.bias = None if bias is None else ops.cast(bias, self.precise)
        self.mask = None if mask is None else ops.cast(mask, "bool")
        self.is_causal = is_causal
        self.scale = ops.cast(query.shape[-1] ** -0.5 if scale is None else scale, self.precise)

    def full(self):
        """(queries, keys)."""
        return ops.shape(self.query)[1], ops.shape(self.key)[1]

    def exceeds(self, resolution):
        """Whether a map this large has to be pooled."""
        lengths = zip(self.full(), resolution, strict=True)
        return any(not isinstance(length, int) or length > most for length, most in lengths)

    def weights(self):
        """All of them, `(batch, heads, queries, keys)`; a row whose keys are all masked is uniform."""
        return self._rows(self.query, self._columns(), self.bias, self.mask, 0)

    def output(self, a):
        """Σ_j a_ij v_j, `(batch, queries, heads, depth)`."""
        c = ops.matmul(ops.cast(a, self.dtype), ops.swapaxes(self.value, 1, 2))
        return ops.swapaxes(c, 1, 2)

    def without_padding(self, a):
        """Zeros where every key is masked: such a row attends to nothing."""
        if self.mask is None:
            return a
        return a * ops.cast(ops.any(self.mask, axis=-1, keepdims=True), a.dtype)

    def pooled(self, resolution, select, with_output):
        """The output and the map, block of queries by block: `BLOCK` bytes of it exist at once."""
        queries, keys = self.full()
        rows = self._block_rows(queries, keys)
        blocks = (queries + rows - 1) // rows
        firsts = ops.arange(blocks) * rows
        filled_up = [
            x if x is None or x.shape[axis] == 1 else _filled_up(x, axis, blocks * rows - queries)
            for x, axis in ((self.query, 1), (self.bias, 2), (self.mask, 2))
        ]
        columns, value = self._columns(), ops.swapaxes(self.value, 1, 2)
        known = isinstance(queries, int)
        most = min(queries, resolution[0]) if known else ops.minimum(queries, resolution[0])
        # A block's rows fall into so few bins that their sums are all that has to leave it.
        some = min(most, rows * most // queries + 2) if known else most
        bin_ = ops.arange(some)

        def block(firsts):
            (first,) = firsts
            query, bias, mask = (
                x if x is None or x.shape[axis] == 1 else _rows_of(x, axis, first, rows)
                for x, axis in zip(filled_up, (1, 2, 2), strict=True)
            )
            a = self._rows(query, columns, bias, mask, first)
            kept = select(a)
            if mask is not None:
                kept = kept * select(ops.cast(ops.any(mask, -1, keepdims=True) & (a[..., :1] >= 0), a.dtype))
            position = first + ops.arange(rows)
            own = bin_of(position, queries, most) - bin_of(first, queries, most) == bin_[:, None]
            own = ops.cast(own & (position < queries), kept.dtype)
            low = ops.matmul(own, pool_keys(kept, resolution[1]))
            return [ops.matmul(ops.cast(a, self.dtype), value) if with_output else low[:1, :1], low]

        output, low = one_after_another(block, [firsts])
        # (blocks, batch, heads, some bins, keys): sums over the blocks that share a bin, and the mean.
        samples, heads, width = ops.shape(low)[1], ops.shape(low)[2], ops.shape(low)[4]
        low = ops.reshape(ops.transpose(low, (0, 3, 1, 2, 4)), (blocks * some, samples * heads * width))
        to = ops.reshape(bin_of(firsts, queries, most)[:, None] + bin_, (blocks * some,))
        low = ops.segment_sum(low, to, most + some)[:most]
        low = ops.transpose(ops.reshape(low, (most, samples, heads, width)), (1, 2, 0, 3))
        edges = bins(queries, most)
        low = low / ops.cast(edges[1:] - edges[:-1], low.dtype)[:, None]
        if with_output:  # (blocks, batch, heads, rows, depth)
            output = ops.transpose(output, (1, 0, 3, 2, 4))
            batch, heads, depth = ops.shape(output)[0], output.shape[3], output.shape[4]
            output = ops.reshape(output, (batch, blocks * rows, heads, depth))[:, :queries]
        return output, low

    def _block_rows(self, queries, keys):
        if not isinstance(keys, int):
            return 64
        batch = self.query.shape[0] or 1
        rows = max(LEAST, BLOCK // (4 * batch * self.query.shape[2] * keys))
        return min(rows, queries) if isinstance(queries, int) else rows

    def _columns(self):
        """Keys `(batch, heads, depth, keys)`."""
        return ops.transpose(self.key, (0, 2, 3, 1))

    def _rows(self, query, columns, bias, mask, first):
        query = ops.swapaxes(query, 1, 2)
        if self.dtype == self.precise:  # scaled before, which takes no second matrix
            e = ops.matmul(query * self.scale, columns)
        else:
            e = ops.cast(ops.matmul(query, columns), self.precise) * self.scale
        if bias is not None:
            e = e + bias
        allowed = mask
        if self.is_causal:
            row = ops.arange(ops.shape(query)[2])[:, None] + first
            causal = row >= ops.arange(ops.shape(self.key)[1])
            allowed = causal if allowed is None else allowed & causal
        if allowed is not None:
            # Keras' own number: a row without any allowed key is uniform, as in its kernels.
            e = ops.where(allowed, e, ops.cast(-0.7 * 3.38953e38, self.precise))
        return ops.softmax(e, axis=-1)


def _filled_up(x, axis, missing):
    if isinstance(missing, int) and missing == 0:
        return x
    return ops.pad(x, [(0, missing if i == axis else 0) for i in range(len(x.shape))])


def _rows_of(x, axis, first, rows):
    start, shape = [0] * len(x.shape), list(ops.shape(x))
    start[axis], shape[axis] = first, rows
    return ops.slice(x, start, shape)
