"""Weights as they come, and the same as `(batch, heads, queries, keys)`: there and back again."""

import math

from keras import ops


class Layout:
    """How the axes of a layer's weights map to batch, heads, queries and keys.

    Args:
        rank: of the weights.
        keys: the axis that is summed over.
        query: the axis of the queries; None for weights of one query, "last" for the last but the keys'.

    >>> w = ops.ones((2, 7, 1))                      # softmax over axis 1, then a weighted sum over time
    >>> Layout(3, keys=1).bhqk(w).shape
    TensorShape([2, 1, 1, 7])
    >>> Layout(3, keys=1).back(Layout(3, keys=1).bhqk(w), w).shape
    TensorShape([2, 7, 1])
    """

    def __init__(self, rank, keys, query="last"):
        others = [axis for axis in range(1, rank) if axis != keys % rank]
        self.query = (others[-1] if others else None) if query == "last" else query
        self.heads = [axis for axis in others if axis != self.query]
        batch = [0] if keys % rank != 0 else []
        queries = [] if self.query is None else [self.query]
        self.groups = [batch, self.heads, queries, [keys % rank]]
        self.order = [axis for group in self.groups for axis in group]

    def bhqk(self, w):
        """`w` with four axes."""
        shape = ops.shape(w)
        return ops.reshape(
            ops.transpose(w, self.order),
            [math.prod(shape[axis] for axis in group) for group in self.groups],
        )

    def back(self, a, like):
        """Four axes as those of `like`."""
        shape = ops.shape(like)
        a = ops.reshape(a, [shape[axis] for axis in self.order])
        return ops.transpose(a, [self.order.index(axis) for axis in range(len(self.order))])


def of_einsum(subscripts, position):
    """The query's axis of the operand at `position`, for `Layout`; None where there is one query.

    Queries are what weights and output have and values have not; of several the last, the others group heads.

    >>> of_einsum("bkgts,bskh->btkgh", 0), of_einsum("bhs,bshd->bhd", 0)
    (3, None)
    """
    if "." in subscripts or "->" not in subscripts:
        return "last"
    operands, output = subscripts.replace(" ", "").split("->")
    operands = operands.split(",")
    own = operands[position]
    others = "".join(labels for i, labels in enumerate(operands) if i != position)
    queries = [i for i in range(1, len(own)) if own[i] in output and own[i] not in others]
    return queries[-1] if queries else None


def contracts(subscripts, position, axis):
    """Whether an einsum sums this axis of the operand at `position` against another operand."""
    operands, arrow, output = subscripts.replace(" ", "").partition("->")
    operands = operands.split(",")
    label = operands[position].replace("...", "")[axis]
    others = "".join(labels for i, labels in enumerate(operands) if i != position)
    return label in others and (not arrow or label not in output)
