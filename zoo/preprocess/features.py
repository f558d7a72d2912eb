"""Features of a price series, each known at the close of its own day."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from zoo.errors import InputError
from zoo.preprocess.prices import log_returns, require_dates, require_positive

STALE = pd.Timedelta(days=10)  # markets stood still for seven days in September 2001


def volatility(returns: pd.Series, days: int = 21) -> pd.Series:
    """Standard deviation (n - 1) of the last `days` returns, the day's own included, NaN before.

    In units of one day's return: multiply by √252 for a year of trading days.

    >>> volatility(pd.Series([0.01, 0.03, 0.05]), days=2).round(4).tolist()
    [nan, 0.0141, 0.0141]
    """
    return returns.rolling(days).std()


def calendar_features(index: pd.DatetimeIndex) -> pd.DataFrame:
    """Weekday and month as points on a circle, so that Sunday is beside Monday and December beside January.

    sin and cos of 2π · weekday / 7 (Monday 0) and of 2π · (month - 1) / 12.

    >>> calendar_features(pd.DatetimeIndex(["2018-01-01", "2018-04-02"])).round(1).to_numpy().tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    """
    weekday = 2 * np.pi * index.day_of_week.to_numpy() / 7
    month = 2 * np.pi * (index.month.to_numpy() - 1) / 12
    circle = {
        "weekday_sin": np.sin(weekday),
        "weekday_cos": np.cos(weekday),
        "month_sin": np.sin(month),
        "month_cos": np.cos(month),
    }
    return pd.DataFrame(circle, index)


def price_features(frame: pd.DataFrame, companions: Mapping[str, pd.DataFrame] | None = None) -> pd.DataFrame:
    """The inputs of a forecaster, one row a day, `log_return` (what it forecasts) in column 0.

    | column | meaning |
    | --- | --- |
    | `log_return` | log(close_t / close_(t-1)) |
    | `volatility_5`, `volatility_21` | standard deviation of the last 5 and 21 returns |
    | `range` | log(high / low), where both columns exist |
    | `volume_change` | log(volume_t / volume_(t-1)), where it exists; 0 was not recorded: no change |
    | `weekday_sin` … `month_cos` | `calendar_features` |
    | `NAME_return` | log return of each companion's close, as last known on that date |

    Nothing but `close` is needed. The first 21 rows, for which a volatility is not yet known, are dropped.
    Raises InputError for a missing or non-positive price (with its date) and for a companion that does not
    reach as far as the series.

    >>> close = pd.DataFrame({"close": np.exp(np.arange(30.0))}, pd.date_range("2018-01-01", periods=30))
    >>> price_features(close).shape, price_features(close).columns[:3].tolist()
    ((9, 7), ['log_return', 'volatility_5', 'volatility_21'])
    """
    require_dates(frame)
    if "close" not in frame:
        raise InputError(f"No column 'close' among {', '.join(map(str, frame))}: rename the price column.")
    returns = log_returns(frame["close"])
    columns = {
        "log_return": returns,
        "volatility_5": volatility(returns, 5),
        "volatility_21": volatility(returns, 21),
    }
    if {"high", "low"} <= set(frame):
        require_positive(frame["high"])
        require_positive(frame["low"])
        columns["range"] = np.log(frame["high"] / frame["low"])
    if "volume" in frame:
        recorded = frame["volume"].where(frame["volume"] > 0).ffill()
        columns["volume_change"] = np.log(recorded).diff().fillna(0.0)
    columns.update(calendar_features(frame.index))
    for name, companion in (companions or {}).items():
        columns[f"{name}_return"] = log_returns(_last_known(companion["close"], frame.index, name))
    features = pd.DataFrame(columns, index=frame.index)
    whole = features.notna().all(axis=1).to_numpy()
    if not whole.any():
        raise InputError(
            f"{len(frame)} rows leave none with every feature known: 22 are wanted at least, on dates that "
            "the companions cover too."
        )
    features = features.iloc[whole.argmax() :]
    for name in features:
        missing = features.index[features[name].isna()]
        if len(missing):
            raise InputError(f"The feature {name!r} is NaN on {missing[0]:%Y-%m-%d}: fill_missing fills it.")
    return features


def _last_known(values: pd.Series, index: pd.DatetimeIndex, name: str) -> pd.Series:
    """`values` on the dates of `index`: each the last one known then, NaN before the first."""
    require_dates(values)
    values = values.dropna()
    position = values.index.searchsorted(index, side="right") - 1
    known = position >= 0
    stale = index[known][index[known] - values.index[position[known]] > STALE]
    if len(stale):
        raise InputError(
            f"The companion {name!r} has no value in the {STALE.days} days before {stale[0]:%Y-%m-%d}: end "
            "the series there, or leave the companion out."
        )
    aligned = pd.Series(np.nan, index, name=name)
    aligned[known] = values.to_numpy()[position[known]]
    return aligned
