"""Long attention in little memory: some queries at a time, computed again for the gradient.

Self-attention Does Not Need O(n²) Memory, Rabe and Staats 2021, https://arxiv.org/abs/2112.05682: a query's
softmax needs that query's scores alone, so that a block of queries is done before the next one begins.
"""

import keras
from keras import ops, tree

BUDGET = 2**23  # numbers, 32 MB of float32


def in_query_blocks(f, queries, keys, weights, floats, budget: int = BUDGET):
    """f(*queries, *keys, *weights) in blocks of batch and queries, one after another, put together again.

    Nothing but the blocks' results is kept: the backward pass computes each block again. Inputs that fit the
    budget are passed to `f` as they are; else a block takes a quarter of it, because what `f` makes of a
    block and its gradient are a few tensors of that size. Where a size is unknown before the call there is
    always a loop, be it over one block.

    Args:
        f: takes the tensors below and returns a tensor `(batch, queries, …)`, or a tuple of such; a row may
            depend on its own query only. It uses no other tensor that a gradient is wanted for.
        queries: tensors `(batch, queries, …)`, floats or booleans, cut along both axes. Here and below, None
            goes to `f` as None.
        keys: tensors `(batch, …)`, floats or booleans, cut along the first axis.
        weights: tensors that every block gets whole.
        floats: how many numbers `f` holds at a time for one query of one sample, such as keys · units.
        budget: how many numbers may be held at a time; one query of one sample is the smallest block.

    >>> query, key = ops.ones((2, 5, 3)), ops.ones((2, 7, 3))
    >>> def dot(query, key):
    ...     return ops.matmul(query, ops.swapaxes(key, 1, 2))
    >>> tuple(in_query_blocks(dot, [query], [key], [], floats=7, budget=21).shape)
    (2, 5, 7)
    """
    batch, length = ops.shape(queries[0])[:2]
    if _is_known(batch, length, floats):
        fits = batch * length * floats <= budget
    else:  # TensorFlow computes with sizes it does not know; JAX has symbols then, and asks for shapes alone
        fits = keras.backend.backend() != "tensorflow"
    if fits:
        return f(*queries, *keys, *weights)
    most = _at_least_one(budget // 4 // _at_least_one(floats))
    groups, samples = _share(batch, _at_least_one(most // _at_least_one(length)))
    blocks, rows = _share(length, most)
    call, (queries, keys, weights) = _recomputed(f, queries, keys, weights)
    count = len(queries)

    def group(tensors):
        some, keys = tensors[:count], tensors[count:]
        return _mapped(lambda some: call(*some, *keys, *weights), some, 1, blocks, rows)

    return _mapped(group, queries + keys, 0, groups, samples)


def one_block_at_a_time(f, blocks, weights):
    """f(*block, *weights) of every block in tensors `(batch, blocks, …)`, stacked as they were.

    None goes to `f` as None. The backward pass computes each block again.
    """
    call, (blocks, weights) = _recomputed(f, blocks, weights)
    results = one_after_another(lambda block: call(*block, *weights), [ops.moveaxis(x, 1, 0) for x in blocks])
    return tree.map_structure(lambda x: ops.moveaxis(x, 0, 1), results)


def _recomputed(f, *lists):
    """`f`, to be computed again for its gradient, and the lists of its tensors, all of floats."""
    call = keras.remat(_of_floats(f, [x for some in lists for x in some]))
    # Copies, because TensorFlow's recomputation counts the gradient of a variable twice.
    floats = [[ops.cast(ops.copy(x), _float_type(x)) for x in some if x is not None] for some in lists]
    return call, floats


def _of_floats(f, tensors):
    """f of the tensors that are there, booleans as floats: TensorFlow's recomputation takes nothing else."""
    there = [x is not None for x in tensors]
    booleans = [x is not None and keras.backend.standardize_dtype(x.dtype) == "bool" for x in tensors]

    def call(*floats):
        floats = iter(floats)
        given = [next(floats) if is_there else None for is_there in there]
        return f(*(x > 0.5 if is_bool else x for x, is_bool in zip(given, booleans, strict=True)))

    return call


def _float_type(x):
    dtype = keras.backend.standardize_dtype(x.dtype)
    return "float32" if dtype == "bool" else dtype


def _mapped(f, tensors, axis, parts, size):
    """f of `parts` parts of `size` along an axis, joined along it."""
    if _is_known(parts) and parts == 1:
        return f(tensors)
    length = ops.shape(tensors[0])[axis]
    results = one_after_another(f, [_cut(x, axis, parts, size) for x in tensors])
    return tree.map_structure(lambda x: _join(x, axis, length), results)


def _cut(x, axis, parts, size):
    """`x` in equal parts, stacked along a new first axis; zeros fill up the last."""
    shape = ops.shape(x)
    missing = parts * size - shape[axis]
    if not (_is_known(missing) and missing == 0):
        x = ops.pad(x, [(0, missing if i == axis else 0) for i in range(len(shape))])
    return ops.moveaxis(ops.reshape(x, (*shape[:axis], parts, size, *shape[axis + 1 :])), axis, 0)


def _join(x, axis, length):
    x = ops.moveaxis(x, 0, axis)
    shape = ops.shape(x)
    x = ops.reshape(x, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))
    x = x[:, :length] if axis else x[:length]
    return ops.reshape(x, (*shape[:axis], length, *shape[axis + 2 :]))


def one_after_another(f, xs):
    """`ops.map`, but never two at once, which would take twice the memory."""
    if keras.backend.backend() != "tensorflow":
        return ops.map(f, xs)
    import tensorflow as tf

    if tf.executing_eagerly():
        return tree.map_structure(lambda *y: ops.stack(y), *[f(list(x)) for x in zip(*xs, strict=True)])
    # In a graph of its own: in this one, the body would be there twice.
    traced = tf.function(lambda *one: f(list(one)))
    specs = [tf.TensorSpec(x.shape[1:], x.dtype) for x in xs]
    signature = tree.map_structure(
        tf.TensorSpec.from_tensor, traced.get_concrete_function(*specs).structured_outputs
    )
    return tf.map_fn(f, xs, fn_output_signature=signature, parallel_iterations=1)


def _share(size, most):
    """The fewest parts of at most `most`, and their size when shared out evenly."""
    parts = _at_least_one((size + most - 1) // most)  # not -(-size // most): ONNX divides towards 0
    return parts, (size + parts - 1) // parts


def _at_least_one(size):
    return max(1, size) if _is_known(size) else ops.maximum(1, size)


def _is_known(*sizes):
    return all(isinstance(size, int) for size in sizes)
