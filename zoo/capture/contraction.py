"""Where attention begins and ends: a softmax, and the sum of its result against values.

A softmax whose result is never summed against anything is a classifier's. A router's is, but its logits are
outputs of a weight matrix: its keys are units and not positions, and it is left out, with the reason.
"""

from dataclasses import replace

import keras
from keras import ops

from zoo.capture.layout import Layout, contracts, of_einsum
from zoo.capture.marks import Mark, as_logit, carry, is_logit, is_matrix, marked

GATE = "its softmax runs over outputs of a weight matrix, as a classifier's or a router's, and not over keys"


def softmax(recorder, original, x, axis=-1):
    """The weights begin."""
    result = original(x, axis=axis)
    rank = len(result.shape)
    if isinstance(axis, int) and rank >= 2:
        axis = axis % rank - rank
        mark = Mark(
            result, result, axis, result, axis, recorder.owner(), axis == -1 and is_logit(recorder, x)
        )
        carry(recorder, mark, result)
        recorder.softmaxes.append(mark)
    return result


def einsum(recorder, original, subscripts, *operands, **kwargs):
    """Weights and values, or inputs and a weight matrix."""
    position, mark = marked(recorder, operands)
    if mark is None or len(operands) < 2:
        result = original(subscripts, *operands, **kwargs)
        inputs, _, output = subscripts.replace(" ", "").partition("->")
        for x, labels in zip(operands, inputs.split(","), strict=False):
            if is_matrix(recorder, x) and output and labels[-1] == output[-1]:
                as_logit(recorder, result)
        return result
    if mark.axis is None or contracts(subscripts, position, mark.axis):
        others = [x for i, x in enumerate(operands) if i != position]
        query = of_einsum(subscripts, position)
        weights = _found(recorder, mark, operands[position], others, query)
        operands = [weights if i == position else x for i, x in enumerate(operands)]
    return original(subscripts, *operands, **kwargs)


def matmul(recorder, original, x1, x2, **kwargs):
    """Weights and values, or inputs and a weight matrix; also `@`."""
    position, mark = marked(recorder, (x1, x2))
    if mark is None:
        result = original(x1, x2, **kwargs)
        return as_logit(recorder, result) if is_matrix(recorder, x2) else result
    if position == 0 and mark.axis in (None, -1):
        x1 = _found(recorder, mark, x1, [x2], "last")
    elif position == 1 and mark.axis in (None, -2):
        x2 = _found(recorder, mark, x2, [x1], "last")
    return original(x1, x2, **kwargs)


def rmatmul(recorder, original, x, other):
    """`other @ x`."""
    return matmul(recorder, lambda x1, x2: original(x2, x1), other, x)


def sum_(recorder, original, x, axis=None, keepdims=False, **kwargs):
    """The second half of Σ_j a_j v_j."""
    _, mark = marked(recorder, (x,))
    if mark is not None and mark.values is not None:
        rank = len(x.shape)
        axes = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
        if mark.axis is None or mark.axis % rank in [one % rank for one in axes]:
            _summed(recorder, mark)
    return original(x, axis=axis, keepdims=keepdims, **kwargs)


def dot(recorder, original, x1, x2, *args, **kwargs):
    """dot, tensordot, convolutions: inputs and a weight matrix."""
    result = original(x1, x2, *args, **kwargs)
    return as_logit(recorder, result) if is_matrix(recorder, x2) else result


def substituted(recorder, mark, weights):
    """Before a product with values: the mark, and the weights that take the place of these if any do."""
    path = mark.owner[0]
    if mark.gate or not recorder.replaces(path, mark.root):
        return mark, weights
    layout = Layout(len(weights.shape), mark.axis % len(weights.shape))
    a = recorder.replaced(layout.bhqk(weights), path, mark.root)
    weights = ops.cast(layout.back(a, weights), weights.dtype)
    return replace(mark, tensor=weights, weights=weights, keys=mark.axis, replaced=a), weights


def _summed(recorder, mark):
    path, layer = mark.owner
    if mark.gate:
        recorder.miss(GATE, path)
        return
    weights, keys = mark.values
    a = Layout(len(weights.shape), keys % len(weights.shape)).bhqk(weights)
    a = a if mark.replaced is None else mark.replaced
    if not mark.grown:  # a sum of values, or of the weights themselves that are to be divided by it
        recorder.pending[id(mark.root)] = mark, a
    elif recorder.meets(mark.root):
        recorder.add(a, path, layer)


def _found(recorder, mark, operand, others, query):
    """Record the weights that meet their values; the operand, or what shall take its place."""
    path, layer = mark.owner
    if mark.gate or any(isinstance(x, keras.Variable) for x in others):
        recorder.miss(GATE, path)
        recorder.meets(mark.root)
        return operand
    weights, keys = (operand, mark.axis) if not mark.dropped and mark.axis else (mark.weights, mark.keys)
    if weights.shape != operand.shape or keys != mark.axis:
        query = "last"
    layout = Layout(len(weights.shape), keys % len(weights.shape), query)
    if not recorder.replaces(path, mark.root):
        if recorder.meets(mark.root):
            recorder.add(layout.bhqk(weights) if recorder.wanted(path) else None, path, layer)
        return operand
    a = recorder.replaced(layout.bhqk(weights), path, mark.root)
    if recorder.meets(mark.root):
        recorder.add(a, path, layer)
    if weights.shape != operand.shape:
        return operand
    return ops.cast(layout.back(a, weights), operand.dtype)
