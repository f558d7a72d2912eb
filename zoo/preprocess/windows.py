"""Cut a table of features by time: chronological parts, scaling, windows."""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from zoo.errors import InputError
from zoo.preprocess.prices import require_dates

Parts = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def split_by_date(frame: pd.DataFrame, train_end: str, validation_end: str) -> Parts:
    """(train, validation, test) in order of time: to `train_end`, on to `validation_end`, and the rest.

    Both ends are inclusive, and "2014" means its last day. Raises InputError for an empty part.

    >>> year = pd.DataFrame({"close": 1.0}, pd.date_range("2018-01-01", "2018-12-31"))
    >>> [len(part) for part in split_by_date(year, "2018-10", "2018-11-30")]
    [304, 30, 31]
    """
    require_dates(frame)
    ends = [_end_of(train_end), _end_of(validation_end)]
    first, second = frame.index.searchsorted(ends, side="right")
    return _parts(frame, first, second, f"train to {train_end} and validation to {validation_end}")


def split_by_fraction(frame: pd.DataFrame, train: float = 0.7, validation: float = 0.15) -> Parts:
    """(train, validation, test) in order of time, by their shares of the rows; the test part is the rest.

    Raises InputError for an empty part.

    >>> year = pd.DataFrame({"close": 1.0}, pd.date_range("2018-01-01", periods=100))
    >>> [len(part) for part in split_by_fraction(year)]
    [70, 15, 15]
    """
    require_dates(frame)
    if not (train > 0 and validation > 0 and train + validation < 1):
        raise InputError(
            f"Shares of {train:g} and {validation:g} leave a part empty: give two above 0, their sum below 1."
        )
    first, second = round(len(frame) * train), round(len(frame) * (train + validation))
    return _parts(frame, first, second, f"shares of {train:g} and {validation:g}")


def _end_of(date: str | pd.Timestamp) -> pd.Timestamp:
    """The last moment of a day, month or year."""
    try:
        return pd.Period(date).end_time if isinstance(date, str) else pd.Timestamp(date)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{date!r} is not a date: write it as 2014-12-31.") from error


def _parts(frame: pd.DataFrame, first: int, second: int, wanted: str) -> Parts:
    parts = frame.iloc[:first], frame.iloc[first:second], frame.iloc[second:]
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if part.empty:
            raise InputError(
                f"The {name} part is empty: the series runs from {frame.index[0]:%Y-%m-%d} to "
                f"{frame.index[-1]:%Y-%m-%d} ({len(frame)} rows), and the split asks for {wanted}."
            )
    return parts


class Scaler(NamedTuple):
    """Standardisation, column by column: z = (x - mean) / scale, scale the standard deviation of the fit.

    A constant column gets scale 1, so that it becomes 0. Arrays are (rows, columns); a single column may be
    (rows,).

    >>> scaler = Scaler.fit(pd.DataFrame({"a": [1.0, 3.0], "b": [5.0, 5.0]}))
    >>> scaler.transform([[3.0, 6.0]]).tolist(), scaler.inverse([1.0], column="a").tolist()
    ([[1.0, 1.0]], [3.0])
    """

    columns: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, values: pd.DataFrame | np.ndarray) -> Self:
        """Learn mean and scale. Raises InputError for no rows, and for NaN or infinity, naming the column."""
        array = _table(values)
        names = values.columns if isinstance(values, pd.DataFrame) else range(array.shape[1])
        columns = tuple(str(name) for name in names)
        if not len(array):
            raise InputError("A scaler was to be fitted on no rows: at least one is wanted.")
        for column, cells in zip(columns, array.T, strict=True):
            wrong = np.flatnonzero(~np.isfinite(cells))
            if len(wrong):
                raise InputError(
                    f"The column {column!r} holds {cells[wrong[0]]} in row {wrong[0]}: fill it before "
                    "scaling, or drop the row."
                )
        constant = np.ptp(array, axis=0) == 0  # the rounding in std would make it tiny, but not 0
        return cls(columns, array.mean(axis=0), np.where(constant, 1.0, array.std(axis=0)))

    def transform(self, values: pd.DataFrame | np.ndarray) -> np.ndarray:
        """(x - mean) / scale. Raises InputError for other columns than those of the fit."""
        array = np.asarray(values, float)
        found = tuple(map(str, values.columns)) if isinstance(values, pd.DataFrame) else self.columns
        width = array.shape[-1] if array.ndim > 1 else 1
        if found != self.columns or width != len(self.columns):
            raise InputError(
                f"The scaler knows the columns {', '.join(self.columns)}, in this order; it was given "
                f"{', '.join(found) if found != self.columns else width}."
            )
        return (array - self.mean) / self.scale

    def inverse(self, values: np.ndarray, column: str | int | None = None) -> np.ndarray:
        """z · scale + mean, in original units: all columns (the last axis), or one by name or number."""
        if isinstance(column, str):
            if column not in self.columns:
                raise InputError(f"The scaler has no column {column!r}: it has {', '.join(self.columns)}.")
            column = self.columns.index(column)
        which = slice(None) if column is None else column
        return np.asarray(values, float) * self.scale[which] + self.mean[which]

    def to_dict(self) -> dict[str, list]:
        """Plain lists, ready for JSON; `from_dict` reads them back exactly."""
        return {"columns": list(self.columns), "mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, list]) -> Self:
        """The scaler that `to_dict` wrote. Raises InputError for anything else."""
        try:
            columns = tuple(str(name) for name in saved["columns"])
            mean, scale = np.array(saved["mean"], float), np.array(saved["scale"], float)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("This is no saved scaler: write one with Scaler.to_dict.") from error
        sound = np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()
        if not (mean.shape == scale.shape == (len(columns),) and sound):
            raise InputError(
                f"The saved scaler is damaged: {len(columns)} finite means and scales above 0 were wanted."
            )
        return cls(columns, mean, scale)


def windows(
    features: np.ndarray, target: np.ndarray, window: int, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every stretch of `window` rows, and the `horizon` targets that follow it, as read-only views.

    `features` (T, F) and `target` (T,) give x (N, window, F) and y (N, horizon) with N = T - window - horizon
    + 1: x[i] is rows i … i+window-1, y[i] is targets i+window … i+window+horizon-1. Nothing is copied.
    Raises InputError for a window or horizon below 1, for more rows than there are, and for NaN.

    >>> x, y = windows(np.arange(10.0).reshape(5, 2), np.arange(5.0), window=3, horizon=1)
    >>> x.shape, y.tolist()
    ((2, 3, 2), [[3.0], [4.0]])
    """
    features, target = _table(features), np.asarray(target)
    if len(features) != len(target) or target.ndim != 1:
        raise InputError(
            f"Features of shape {features.shape} and a target of shape {target.shape} do not belong "
            "together: one target per row is wanted."
        )
    if window < 1 or horizon < 1:
        name, found = ("window", window) if window < 1 else ("horizon", horizon)
        raise InputError(f"A {name} of {found} was asked for: give 1 or more.")
    if window + horizon > len(target):
        raise InputError(
            f"A window of {window} and a horizon of {horizon} want {window + horizon} rows, and the "
            f"series has {len(target)}: shorten the window, or take a longer series."
        )
    if np.isnan(target).any():
        raise InputError(f"The target is NaN in row {np.isnan(target).argmax()}: call fill_missing first.")
    if np.isnan(features).any():
        row, column = np.argwhere(np.isnan(features))[0]
        raise InputError(f"Column {column} of the features is NaN in row {row}: call fill_missing first.")
    view = np.lib.stride_tricks.sliding_window_view
    x = np.moveaxis(view(features[:-horizon], window, axis=0), -1, 1)
    return x, view(target[window:], horizon)


def _table(values: pd.DataFrame | np.ndarray) -> np.ndarray:
    """`values` as (rows, columns), without a copy where none is needed."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(float)
    return array[:, None] if array.ndim == 1 else array
