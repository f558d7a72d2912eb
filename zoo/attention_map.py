"""The one value that flows: attention weights with the axes they run over.

Every producer (capture, a model, an ONNX graph, a person with an array) makes an `AttentionMap`; every
consumer (the summary writer, plots, analysis) takes one.
"""

import json
import math
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zoo.errors import InputError
from zoo.whole_file import whole_file

AXIS_KINDS = ("step", "time", "token", "patch", "feature", "channel")
MAX_CLASS_TOKENS = 8


@dataclass(frozen=True)
class Axis:
    """What the queries, or the keys, of a map are.

    `kind` is one of `AXIS_KINDS`, `length` the number of positions. `labels` holds one string a position
    (a date, a token), or one such list for each sample, since every sample has its own dates. `grid` is
    `(rows, columns)` where the positions are patches of an image, after up to 8 class tokens.

    >>> Axis("time", 3, labels=["2018-01-02", "2018-01-03", "2018-01-04"]).of_sample(0)[-1]
    '2018-01-04'
    """

    kind: str
    length: int
    labels: Sequence | None = None
    grid: tuple[int, int] | None = None

    def __post_init__(self):
        if self.kind not in AXIS_KINDS:
            raise ValueError(f"An axis is one of {', '.join(AXIS_KINDS)}; found kind={self.kind!r}.")
        if not _is_count(self.length):
            raise ValueError(f"An axis has a whole number of positions, 1 or more; found {self.length!r}.")
        if self.grid is not None and not (
            isinstance(self.grid, Sequence) and len(self.grid) == 2 and all(map(_is_count, self.grid))
        ):
            raise ValueError(f"A grid is (rows, columns), whole numbers of 1 or more; found {self.grid!r}.")
        if not 0 <= self.class_tokens <= MAX_CLASS_TOKENS:
            raise ValueError(
                f"A grid of {self.grid} has {self.grid[0] * self.grid[1]} cells, not {self.length}, nor up "
                f"to {MAX_CLASS_TOKENS} fewer, where class tokens come first."
            )
        if self.labels is None:
            return
        if isinstance(self.labels, str) or any(
            not isinstance(label, (str, Iterable)) for label in self.labels
        ):
            raise ValueError(
                "Labels are a list of texts, one a position (of dates: dates.astype(str)); found "
                f"{self.labels!r:.999}."
            )
        labels = tuple(label if isinstance(label, str) else tuple(label) for label in self.labels)
        for one in [labels] if all(isinstance(label, str) for label in labels) else labels:
            if len(one) != self.length or not all(isinstance(label, str) for label in one):
                raise ValueError(
                    f"An axis of length {self.length} wants {self.length} text labels, found {len(one)}."
                )
        object.__setattr__(self, "labels", labels)

    @property
    def class_tokens(self) -> int:
        """How many positions come before the patches of the grid."""
        return 0 if self.grid is None else self.length - self.grid[0] * self.grid[1]

    @property
    def per_sample(self) -> bool:
        """Whether every sample has labels of its own."""
        return bool(self.labels) and not isinstance(self.labels[0], str)

    def of_sample(self, sample: int) -> tuple[str, ...] | None:
        """The labels of one sample, None where there are none."""
        return self.labels[sample] if self.per_sample else self.labels

    def pooled(self, most: int) -> "Axis":
        """The axis in at most `most` bins, each labelled by its first position; bins of patches have no grid.

        >>> Axis("token", 5, labels=["the", "cat", "sat", "on", "it"]).pooled(2).labels
        ('the', 'sat')
        """
        if most >= self.length:
            return self
        starts = bin_starts(self.length, most)
        if self.per_sample:
            return Axis(self.kind, most, [[labels[start] for start in starts] for labels in self.labels])
        return Axis(self.kind, most, self.labels and [self.labels[start] for start in starts])

    def as_dict(self) -> dict:
        """The axis in JSON's types."""
        return {"kind": self.kind, "length": self.length, "labels": self.labels, "grid": self.grid}


def check_axis(name, axis) -> None:
    """Refuse what is no `Axis` in a sentence."""
    if not isinstance(axis, Axis):
        raise ValueError(
            f'`{name}` is a zoo.Axis, as in zoo.Axis("token", 3, labels=["a", "b", "c"]); found '
            f"{type(axis).__name__}."
        )


def _is_count(number):
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool) and number >= 1


def _array(weights):
    """An array of an array or a tensor; bfloat16, which NumPy cannot compute with, as float32."""
    if hasattr(weights, "detach"):  # PyTorch's, which may want a gradient or live elsewhere
        weights = weights.detach().cpu()
        weights = weights.float() if str(weights.dtype) == "torch.bfloat16" else weights
    weights = np.asarray(weights)
    return weights.astype("float32") if weights.dtype.name == "bfloat16" else weights


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Attention weights `(batch, heads, queries, keys)` with their axes.

    Where `normalised`, every row `weights[b, h, q, :]` sums to 1, or to 0 where all its keys are masked.
    Luong's Gaussian window leaves less than 1 in a row, so its maps are not normalised and say so. `full`
    is `(queries, keys)` before any pooling.

    Any array can be looked at; an axis left out counts its positions:

    >>> made_by_hand = AttentionMap(np.full((1, 1, 2, 4), 0.25), layer="mine")
    >>> made_by_hand
    AttentionMap(layer='mine', samples=1, heads=1, queries=2 step, keys=4 step)
    """

    weights: np.ndarray
    queries: Axis | None = None
    keys: Axis | None = None
    layer: str = ""
    normalised: bool = True
    full: tuple[int, int] | None = None

    def __post_init__(self):
        weights = _array(self.weights)
        if weights.ndim != 4 or 0 in weights.shape:
            raise ValueError(
                f"Attention weights are (batch, heads, queries, keys), none of them 0; found {weights.shape}."
            )
        if not np.issubdtype(weights.dtype, np.floating):
            raise ValueError(f"Attention weights are floating-point numbers; found {weights.dtype}.")
        object.__setattr__(self, "weights", weights)
        for name, length in (("queries", weights.shape[2]), ("keys", weights.shape[3])):
            axis = getattr(self, name)
            if axis is None:
                axis = Axis("step", length)
            check_axis(name, axis)
            object.__setattr__(self, name, axis)
            if axis.length != length:
                raise ValueError(
                    f"The weights {weights.shape} have {length} {name}, their axis {axis.length}."
                )
            if axis.per_sample and len(axis.labels) != len(weights):
                raise ValueError(
                    f"{len(weights)} samples want as many lists of {name} labels, found {len(axis.labels)}."
                )
        if self.full is None:
            object.__setattr__(self, "full", weights.shape[2:])

    def __repr__(self):
        samples, heads, queries, keys = self.weights.shape
        return (
            f"AttentionMap(layer={self.layer!r}, samples={samples}, heads={heads}, "
            f"queries={queries} {self.queries.kind}, keys={keys} {self.keys.kind})"
        )

    def with_axes(self, queries: Axis | None = None, keys: Axis | None = None) -> "AttentionMap":
        """The same weights over other axes; None leaves an axis as it is.

        Of a pooled map an axis may have the length before pooling (`full`), and is pooled as the map was:

        >>> pooled = AttentionMap(np.full((1, 1, 2, 4), 0.25)).pooled(2, 2)
        >>> pooled.with_axes(keys=Axis("token", 4, labels=["a", "b", "c", "d"])).keys.labels
        ('a', 'c')
        """
        given = zip((queries, keys), (self.queries, self.keys), self.full, strict=True)
        axes = [
            old if new is None else new.pooled(old.length) if new.length == length else new
            for new, old, length in given
        ]
        return replace(self, queries=axes[0], keys=axes[1])

    def pooled(self, queries: int, keys: int) -> "AttentionMap":
        """At most `queries` × `keys` bins: the mean over queries and the sum over keys.

        Rows still sum to 1. A bin is labelled by its first position.

        >>> AttentionMap(np.full((1, 1, 2, 4), 0.25)).pooled(1, 2).weights.tolist()
        [[[[0.5, 0.5]]]]
        """
        if not (_is_count(queries) and _is_count(keys)):
            raise ValueError(
                f"A map is pooled to whole numbers, at least 1 × 1; found {queries!r} × {keys!r}."
            )
        weights = self.weights
        for dimension, length, most in ((2, self.queries.length, queries), (3, self.keys.length, keys)):
            if most < length:
                starts = bin_starts(length, most)
                weights = np.add.reduceat(weights, starts, axis=dimension)
                if dimension == 2:
                    weights = weights / np.diff(starts, append=length)[:, None]
        axes = self.queries.pooled(queries), self.keys.pooled(keys)
        return replace(self, weights=weights.astype(self.weights.dtype), queries=axes[0], keys=axes[1])

    def save(self, path) -> None:
        """Write the map, whole or not at all, to a `.npz` file that `AttentionMap.load` reads."""
        about = {"queries": self.queries.as_dict(), "keys": self.keys.as_dict(), "layer": self.layer}
        about |= {"normalised": self.normalised, "full": [int(length) for length in self.full]}
        with whole_file(path) as unfinished, open(unfinished, "wb") as file:
            np.savez_compressed(file, weights=self.weights, about=np.array(json.dumps(about)))

    def _repr_png_(self):
        """How a notebook shows the map: its first sample."""
        from zoo import plot

        return plot.png(plot.heatmap(self))

    @classmethod
    def load(cls, path, max_bytes: int = 2**30) -> "AttentionMap":
        """Read a map that `save` wrote; the file cannot execute code, nor unpack to more than `max_bytes`.

        Raises:
            InputError: it is no such file, or a larger one.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                weights, about = (_unpacked(archive, path, name, max_bytes) for name in ("weights", "about"))
            about = json.loads(str(about))
            axes = {
                name: Axis(**about[name] | {"grid": about[name]["grid"] and tuple(about[name]["grid"])})
                for name in ("queries", "keys")
            }
            rest = {"layer": str(about["layer"]), "normalised": bool(about["normalised"])}
            return cls(weights, full=tuple(about["full"]), **rest, **axes)
        except InputError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} is no whole attention map ({error}): give a file that AttentionMap.save wrote."
            ) from None


def _unpacked(archive, path, name, max_bytes):
    """One array of the file. Its header is read first: NumPy makes room for whatever size it claims."""
    with archive.open(f"{name}.npy") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        size = math.prod(shape) * dtype.itemsize
        if size > max_bytes:
            raise InputError(
                f"{path} would unpack to {size:,} bytes, at most {max_bytes:,} are read: pass a higher "
                "max_bytes if you trust it."
            )
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def bin_starts(length: int, most: int) -> np.ndarray:
    """Where each of `most` bins over `length` positions starts."""
    return np.arange(most) * length // most
