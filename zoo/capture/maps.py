"""From tensors to what a person reads: `Maps`, a dictionary of `AttentionMap` that knows what it lacks."""

import numpy as np
from keras import ops

from zoo.attention_map import AttentionMap, Axis


class Maps(dict):
    """`{layer path: AttentionMap}`; `missing` is `{layer path: why it has no map}`.

    >>> Maps({}, {"block/attention": "it was not called"}).missing
    {'block/attention': 'it was not called'}
    """

    def __init__(self, maps=(), missing=None):
        super().__init__(maps)
        self.missing = dict(missing or {})


def to_map(weights, full, about):
    """The `AttentionMap` of weights `(batch, heads, queries, keys)` that were `full` before any pooling."""
    weights = ops.convert_to_numpy(ops.cast(weights, "float32"))
    full = tuple(int(length) for length in ops.convert_to_numpy(full))
    normalised = about["normalised"]
    sums = weights.sum(axis=-1, keepdims=True)
    if normalised is None:
        normalised = bool(np.all((sums == 0) | (np.abs(sums - 1) < 0.02)))
    if normalised and about["half"]:
        # Half precision leaves rows that sum to 0.996 or 1.004.
        weights = np.divide(weights, sums, out=np.zeros_like(weights), where=sums != 0)
    queries, keys = about["axes"] or ({}, {})
    return AttentionMap(
        weights,
        queries=_axis(queries, full[0], weights.shape[2]),
        keys=_axis(keys, full[1], weights.shape[3]),
        layer=about["path"],
        normalised=normalised,
        full=full,
    )


def _axis(described, length, kept):
    return Axis(**{"kind": "step"} | described, length=length).pooled(kept)
