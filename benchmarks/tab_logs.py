"""Attention maps, and logs of them, that the benchmarks of the Attention tab look at."""

import os
import pathlib
import tempfile

import numpy as np

from tb_plugin import record
from tb_plugin.event_file import EventFile, blob_value
from zoo import AttentionMap, summary
from zoo.analysis import statistics

STEPS, LAYERS, HEADS, LENGTH = 200, 12, 12, 128
DIMENSIONS = 64  # of a head


def scores(heads, length, seed):
    """q kᵀ / √d of a head's random queries and keys: variance 1."""
    q, k = np.random.default_rng(seed).standard_normal((2, heads, length, DIMENSIONS), "float32")
    return q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(DIMENSIONS))


def softmax(e):
    """Over keys."""
    a = np.exp(e - e.max(axis=-1, keepdims=True))
    return a / a.sum(axis=-1, keepdims=True)


# Scores of softmax maps, from nearly uniform to sharp; i and j are the positions of query and key.
KINDS = {
    "nearly uniform": lambda e, i, j: e / 10,
    "diffuse": lambda e, i, j: e / 2,
    "medium": lambda e, i, j: 2 * e,
    "banded": lambda e, i, j: e - abs(i - j) * 16 / len(i),
    "causal": lambda e, i, j: np.where(i >= j, 2 * e, -np.inf),
    "sharp": lambda e, i, j: 4 * e,
}


def maps(kind, heads, length, seed=0):
    """Softmax maps `(1, heads, length, length)`."""
    j = np.arange(length, dtype="float32")
    return softmax(KINDS[kind](scores(heads, length, seed), j[:, None], j))[None]


def write_training(logdir):
    """200 steps × 12 layers × 12 heads × 128², that grow sharper."""
    layers = [scores(HEADS, LENGTH, seed) for seed in range(LAYERS)]
    for step in range(STEPS):
        sharpness = np.float32(0.2 + 3 * step / STEPS)
        seen = {
            f"block_{i}/attention": AttentionMap(softmax(sharpness * e)[None]) for i, e in enumerate(layers)
        }
        summary.attention("text", seen, step, logdir=os.path.join(logdir, "training"))
    summary.close(os.path.join(logdir, "training"))


def write_one(logdir, weights, exact=False):
    """One layer's maps, at the length they have."""
    about = {"resolution": weights.shape[-1], "exact": exact, "logdir": logdir}
    summary.attention("text", AttentionMap(weights, layer="attention"), 0, **about)
    summary.close(logdir)


def write_many_runs(logdir, runs=20, layers=25, steps=20):
    """10,000 small records."""
    axis = {"kind": "step", "length": 2, "labels": None, "grid": None}
    blobs = record.encode_maps(np.full((1, 1, 2, 2), 0.5), queries=axis, keys=axis, layer="attention")
    for run in range(runs):
        with EventFile(os.path.join(logdir, f"run_{run}")) as file:
            for step in range(steps):
                file.write(
                    [blob_value(record.map_tag("text", f"block_{i}"), blobs) for i in range(layers)], step
                )


def encoded(kind, heads, length):
    """Of maps on the disk: bytes a weight, L1 error of the rows (mean, worst), entropy."""
    weights = maps(kind, heads, length)
    with tempfile.TemporaryDirectory() as folder:
        write_one(folder, weights)
        size = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("events*"))
    axis = {"kind": "step", "length": length, "labels": None, "grid": None}
    blobs = record.encode_maps(weights, queries=axis, keys=axis, layer="attention")
    header = record.decode_header(blobs[0])
    read = np.stack([record.decode_map(header, blobs, 0, head) for head in range(heads)])
    errors = abs(read - weights[0]).sum(axis=-1)
    return size / weights.size, errors.mean(), errors.max(), statistics.entropy(weights).mean()
