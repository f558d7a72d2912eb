"""From a price frame to what a forecaster trains on: scaled windows in three parts, with dates and prices."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from zoo.errors import InputError
from zoo.preprocess.features import price_features
from zoo.preprocess.prices import fill_missing, flag_outliers, treat_outliers
from zoo.preprocess.windows import Scaler, split_by_date, split_by_fraction, windows


class Samples(NamedTuple):
    """The samples of one part, N of them; `index` holds the dates of all three parts.

    | field | shape | meaning |
    | --- | --- | --- |
    | `x` | (N, window, F) | scaled features, float32, a read-only view |
    | `y` | (N, horizon) | scaled log returns of the days that follow, float32, a read-only view |
    | `positions` | (N,) | row of `index` at which each sample's window begins |
    | `last_close` | (N,) | price on the last day of the window |
    | `future_close` | (N, horizon) | prices of the days that follow |
    """

    x: np.ndarray
    y: np.ndarray
    positions: np.ndarray
    last_close: np.ndarray
    future_close: np.ndarray
    index: pd.DatetimeIndex

    def key_dates(self, sample: int) -> pd.DatetimeIndex:
        """The `window` dates that sample number `sample` reads."""
        start = self.positions[sample]
        return self.index[start : start + self.x.shape[1]]

    def query_dates(self, sample: int) -> pd.DatetimeIndex:
        """The `horizon` dates that sample number `sample` forecasts."""
        start = self.positions[sample] + self.x.shape[1]
        return self.index[start : start + self.y.shape[1]]


class Prepared(NamedTuple):
    """Three parts in order of time, and what is needed to prepare the next day in the same way.

    `scaler` has one column per name in `features`; a forecast in log returns is
    `scaler.inverse(y, column="log_return")`. `outliers` flags dates (rows) in the features measured anew each
    day: returns, range and volume, and not volatility or the calendar.
    """

    train: Samples
    validation: Samples
    test: Samples
    scaler: Scaler
    features: tuple[str, ...]
    index: pd.DatetimeIndex
    outliers: pd.DataFrame


def prepare(
    frame: pd.DataFrame,
    *,
    window: int,
    horizon: int,
    train_end: str | None = None,
    validation_end: str | None = None,
    companions: Mapping[str, pd.DataFrame] | None = None,
    outliers: str = "flag",
) -> Prepared:
    """Fill, derive features, split by time, scale, and cut windows, without a look ahead.

    The parts end at `train_end` and `validation_end` (inclusive; "2014" means its last day), or, with
    neither, after 70 % and 85 % of the rows. The targets of a sample lie in its own part; its window may
    reach back into the part before, as it would on the day of the forecast. The scaler sees the training
    rows alone.

    `outliers="treat"` moves flagged inputs to the edge of their trailing band; targets and prices stay as
    they were, so that a forecast is always judged against what happened.

    Raises InputError (a ValueError) for a window longer than the series, a horizon below 1, an empty part, a
    part too short for a sample, a training part of one return alone, and whatever `price_features` refuses.

    >>> dates = pd.bdate_range("2016-01-01", "2018-12-31")
    >>> wave = pd.DataFrame({"close": 100 + np.sin(np.arange(len(dates)))}, dates)
    >>> ready = prepare(wave, window=13, horizon=5, train_end="2016", validation_end="2017")
    >>> ready.test.x.shape, ready.test.y.shape, str(ready.test.query_dates(0)[0].date())
    ((257, 13, 7), (257, 5), '2018-01-01')
    """
    if outliers not in ("flag", "treat"):
        raise InputError(f"outliers={outliers!r} is unknown: give 'flag' or 'treat'.")
    if (train_end is None) != (validation_end is None):
        raise InputError("The split has one end only: give both train_end and validation_end, or neither.")

    frame = fill_missing(frame)
    companions = {name: fill_missing(other[["close"]]) for name, other in (companions or {}).items()}
    table = price_features(frame, companions)
    index, target = table.index, table["log_return"].to_numpy()
    measured = [name for name in table if not name.startswith(("volatility", "weekday", "month"))]
    flags = table[measured].apply(flag_outliers)
    if outliers == "treat":
        table = table.assign(**{name: treat_outliers(table[name], flags[name]) for name in measured})

    split = split_by_fraction(table) if train_end is None else split_by_date(table, train_end, validation_end)
    if np.ptp(split[0]["log_return"]) < 1e-9:  # rounding alone
        raise InputError(
            "The training part has the same return on every day, so that nothing can be learnt from it: give "
            "another series or another split."
        )
    scaler = Scaler.fit(split[0])
    scaled = scaler.transform(table).astype(np.float32)
    scaled_target = ((target - scaler.mean[0]) / scaler.scale[0]).astype(np.float32)
    x, y = windows(scaled, scaled_target, window, horizon)
    close = frame["close"].reindex(index).to_numpy()
    future = np.lib.stride_tricks.sliding_window_view(close[window:], horizon)

    parts, start = [], 0
    for name, part in zip(("train", "validation", "test"), split, strict=True):
        stop = start + len(part)
        # The rows [start, stop) hold the targets of samples [first, last).
        first, last = max(0, start - window), stop - window - horizon + 1
        if last <= first:
            raise InputError(
                f"The {name} part has {len(part)} rows, too few for a sample with a window of {window} and a "
                f"horizon of {horizon}: shorten them, or move the split."
            )
        parts.append(
            Samples(
                x=x[first:last],
                y=y[first:last],
                positions=np.arange(first, last),
                last_close=close[first + window - 1 : last + window - 1],
                future_close=future[first:last],
                index=index,
            )
        )
        start = stop
    return Prepared(*parts, scaler, tuple(table.columns), index, flags)
