"""A price series, raw and processed, and the table of what is found in it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from data.statistics import autocorrelation, drawdown, moments, rows_per_year
from zoo.preprocess import (
    InputError,
    fill_missing,
    flag_outliers,
    log_returns,
    missing_days,
    treat_outliers,
)

FEWEST = 60  # rows; with fewer there is no month, and hardly a lag, to speak of


class Explored(NamedTuple):
    """A series in the three states the pictures compare; `flags` marks outliers among `returns`."""

    name: str
    raw: pd.Series
    filled: pd.Series
    returns: pd.Series
    flags: pd.Series
    treated: pd.Series

    @property
    def span(self) -> str:
        """First and last date."""
        return f"{self.raw.index[0]:%Y-%m-%d} to {self.raw.index[-1]:%Y-%m-%d}"


def process(frame: pd.DataFrame) -> Explored:
    """Fill, take log returns, flag and treat outliers.

    Raises InputError for a series shorter than 60 days, constant, or with prices that have no logarithm.
    """
    name = frame.attrs.get("name", "series")
    raw = frame["close"].rename(name)
    filled = fill_missing(frame[["close"]])["close"].rename(name)
    if len(filled) < FEWEST:
        raise InputError(f"{name} has {len(filled)} prices: {FEWEST} are wanted, so take a longer range.")
    returns = log_returns(filled)
    if not returns.std() > 0:
        raise InputError(f"{name} never changes: there is nothing to explore in a constant series.")
    flags = flag_outliers(returns)
    return Explored(name, raw, filled, returns, flags, treat_outliers(returns, flags))


def summary(explored: Explored) -> Iterator[tuple[str, str]]:
    """The rows of the table, label and value."""
    raw, filled, returns = explored.raw, explored.filled, explored.returns
    absent = missing_days(raw.index)
    year, found = rows_per_year(filled.index), moments(returns)
    falls = drawdown(filled)
    band = 1.96 / np.sqrt(len(returns))
    flagged = returns[explored.flags].abs().sort_values(ascending=False)
    largest = ", ".join(f"{date:%Y-%m-%d} ({returns[date]:+.1%})" for date in flagged.index[:3])
    yield "rows", f"{len(raw):,} from {explored.span}, {year:.1f} a year"
    yield "weekdays without a row", f"{len(absent):,} (holidays, or lost: a calendar would tell)"
    yield "prices missing in a row", f"{raw.isna().sum():,} (filled with the last known)"
    yield "price", f"{filled.min():,.2f} lowest, {filled.max():,.2f} highest, {filled.iloc[-1]:,.2f} last"
    yield (
        "outliers flagged",
        f"{explored.flags.sum():,} of {len(returns):,} returns"
        + (f", the largest on {largest}" if largest else ""),
    )
    yield "mean return", f"{found['mean'] * year:+.2%} a year"
    yield "volatility", f"{found['deviation'] * np.sqrt(year):.2%} a year"
    yield "skewness", f"{found['skewness']:+.2f} (normal: 0)"
    yield "excess kurtosis", f"{found['kurtosis']:+.2f} (normal: 0)"
    for label, values in (("returns", returns), ("squared returns", returns**2)):
        yield (
            f"lag-1 autocorrelation, {label}",
            f"{autocorrelation(values, 1)[0]:+.3f} (95 % band ±{band:.3f})",
        )
    yield "largest drawdown", f"{falls.min():.1%} on {falls.idxmin():%Y-%m-%d}"
