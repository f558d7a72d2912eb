"""Clean a price series: missing days and values, outliers, log returns."""

import numpy as np
import pandas as pd

from zoo.errors import InputError


def require_dates(frame: pd.DataFrame | pd.Series) -> None:
    """Refuse a frame whose rows are not in order of their dates, one row a date.

    Raises InputError for an index without dates, and for a date that does not come after the one before it.
    """
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex) or index.hasnans:
        raise InputError("The rows have no dates: set a pandas DatetimeIndex, as data.load does.")
    if not len(index):
        raise InputError("The series has no rows: at least one day is wanted.")
    backward = np.flatnonzero(index[1:] <= index[:-1])
    if len(backward):
        raise InputError(
            f"{index[backward[0] + 1]:%Y-%m-%d} does not come after {index[backward[0]]:%Y-%m-%d}: "
            "sort the rows by date and keep one row a day."
        )


def missing_days(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Monday-to-Friday days between the first date and the last that have no row.

    A holiday looks the same as a lost day: only the exchange's calendar could tell them apart.

    >>> missing_days(pd.DatetimeIndex(["2018-07-02", "2018-07-03", "2018-07-05"])).strftime("%F").tolist()
    ['2018-07-04']
    """
    days = index.normalize()
    return pd.bdate_range(days[0], days[-1]).difference(days) if len(days) else days


def fill_missing(frame: pd.DataFrame, limit: int = 5) -> pd.DataFrame:
    """Carry the last known value forward over missing cells; drop the rows before every column has begun.

    Only the past is used. Raises InputError, with the column and the date, where more than `limit` rows in a
    row are missing, and for a column without any value.

    >>> dates = pd.date_range("2018-07-02", periods=4)
    >>> fill_missing(pd.DataFrame({"close": [np.nan, 3.0, np.nan, 5.0]}, dates))["close"].tolist()
    [3.0, 3.0, 5.0]
    """
    require_dates(frame)
    empty = [name for name in frame if frame[name].isna().all()]
    if empty:
        raise InputError(f"The column {empty[0]!r} holds no value at all: drop it.")
    begun = frame.ffill().notna().all(axis=1)
    filled = frame.ffill(limit=limit)[begun]
    for name in filled:
        missing = filled.index[filled[name].isna()]
        if len(missing):
            raise InputError(
                f"The column {name!r} has no value for more than {limit} rows in a row, "
                f"{missing[0]:%Y-%m-%d} among them: start after the gap, drop the column, or raise the limit."
            )
    return filled


def outlier_band(values: pd.Series, threshold: float = 8.0, days: int = 252) -> tuple[pd.Series, pd.Series]:
    """Lower and upper edge, each day, of what the `days` values before it would call usual.

    median ± threshold · 1.4826 · MAD, where MAD is the median distance to the median and 1.4826 makes it a
    standard deviation under a normal law (Rousseeuw & Croux 1993). The value of the day itself and all later
    ones play no part. NaN until 21 values are known, at missing values, and where MAD is 0 (more than half of
    the values equal), for there the band would have no width.

    >>> lower, upper = outlier_band(pd.Series(np.r_[np.tile([-1.0, 1.0], 15), 40.0]))
    >>> round(float(lower.iloc[-1]), 4), round(float(upper.iloc[-1]), 4)
    (-11.8608, 11.8608)
    """
    known = values.dropna()
    array = known.to_numpy(float)
    center = np.full(len(array), np.nan)
    spread = np.full(len(array), np.nan)
    for day in range(21, min(days, len(array))):
        center[day] = np.median(array[:day])
        spread[day] = np.median(np.abs(array[:day] - center[day]))
    if len(array) > days:
        past = np.lib.stride_tricks.sliding_window_view(array[:-1], days)
        center[days:] = np.median(past, axis=1)
        spread[days:] = np.median(np.abs(past - center[days:, None]), axis=1)
    width = np.where(spread > 0, threshold * 1.4826 * spread, np.nan)
    edges = (pd.Series(edge, known.index).reindex(values.index) for edge in (center - width, center + width))
    return tuple(edges)


def flag_outliers(values: pd.Series, threshold: float = 8.0, days: int = 252) -> pd.Series:
    """True where a value lies outside `outlier_band`, the band of the `days` values before it.

    >>> values = pd.Series(np.r_[np.tile([-1.0, 1.0], 15), 40.0])
    >>> flag_outliers(values).to_numpy().nonzero()[0].tolist()
    [30]
    """
    lower, upper = outlier_band(values, threshold, days)
    return (values < lower) | (values > upper)


def treat_outliers(values: pd.Series, flags: pd.Series, threshold: float = 8.0, days: int = 252) -> pd.Series:
    """Move the flagged values to the nearest edge of `outlier_band`; leave the others alone.

    >>> values = pd.Series(np.r_[np.tile([-1.0, 1.0], 15), 40.0])
    >>> round(float(treat_outliers(values, flag_outliers(values)).iloc[-1]), 4)
    11.8608
    """
    lower, upper = outlier_band(values, threshold, days)
    return values.mask(flags, values.clip(lower, upper))


def require_positive(values: pd.Series) -> None:
    """Refuse what has no logarithm; NaN passes. Raises InputError with the value and its date."""
    wrong = values[(values <= 0) | np.isinf(values)]
    if len(wrong):
        raise InputError(
            f"{values.name or 'price'} is {wrong.iloc[0]:g} on {wrong.index[0]:%Y-%m-%d}: log returns want "
            "finite prices above 0; start or end the series elsewhere, or mend that row."
        )


def log_returns(close: pd.Series) -> pd.Series:
    """r_t = log(close_t / close_(t-1)), one shorter than `close`.

    Raises InputError for a price that is not positive, with its date. A missing price makes two missing
    returns.

    >>> log_returns(pd.Series([100.0, 200.0], pd.date_range("2018-07-02", periods=2))).round(4).tolist()
    [0.6931]
    """
    require_positive(close)
    return np.log(close).diff().iloc[1:].rename("log_return")
