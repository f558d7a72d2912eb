"""A mark says that a tensor carries the result of a softmax, and which of its axes holds the keys."""

from dataclasses import dataclass, replace

import keras


@dataclass
class Mark:
    """A tensor on its way from a softmax to the values.

    Args:
        tensor: kept, since an id is free again when its tensor is gone.
        root: what the softmax returned.
        axis: that of the keys, counted from the end; None where a reshape hid it.
        weights, keys: what to report, and its axis of the keys: `tensor`, or what it was before a dropout.
        owner: path and layer that attend.
        gate: the softmax ran over the outputs of a weight matrix.
        dropped: some of the weights have been dropped out.
        grown: values have been multiplied in, and the tensor is larger than its weights.
        values: (weights, keys) to report if a plain sum follows, since a product came before it.
        replaced: the weights, with four axes, that have taken the place of these.
        factors: how many tensors of their own shape they have been multiplied by.
    """

    tensor: object
    root: object
    axis: int | None
    weights: object
    keys: int
    owner: tuple
    gate: bool = False
    dropped: bool = False
    grown: bool = False
    values: tuple | None = None
    replaced: object = None
    factors: int = 0


def marked(recorder, operands):
    """Position and mark of the first operand that carries weights; (None, None) without."""
    for position, x in enumerate(operands):
        mark = recorder.marks.get(id(x))
        if mark is not None and mark.tensor is x:
            return position, mark
    return None, None


def carry(recorder, mark, result, **changes):
    """`result` carries the weights on."""
    if hasattr(result, "shape"):
        recorder.marks[id(result)] = replace(mark, tensor=result, **changes)
    return result


def reported(mark, result, axis):
    """What `result` changes in what is reported: nothing once values or a dropout came in."""
    if mark.dropped or mark.grown or axis is None:
        return {"axis": axis}
    return {"axis": axis, "weights": result, "keys": axis}


def as_logit(recorder, result):
    """Remember that the last axis of `result` holds the outputs of a weight matrix."""
    recorder.logits[id(result)] = result
    return result


def is_logit(recorder, x):
    """Whether the last axis of `x` holds the outputs of a weight matrix."""
    return x is not None and recorder.logits.get(id(x)) is x


def is_matrix(recorder, x):
    """Whether `x` is a weight matrix, or one that was cast."""
    if isinstance(x, keras.Variable):
        return len(x.shape) >= 2
    return x is not None and recorder.matrices.get(id(x)) is x


def as_matrix(recorder, result):
    """Remember that `result` is a weight matrix in another type."""
    recorder.matrices[id(result)] = result


def is_tensor(x):
    """Whether `x` has axes."""
    return len(getattr(x, "shape", None) or ()) > 0
