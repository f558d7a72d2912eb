"""Numbers that describe a price series, each computed from prices or log returns alone."""

import numpy as np
import pandas as pd


def autocorrelation(values: pd.Series, lags: int) -> np.ndarray:
    """r_k = Σ (x_t - x̄)(x_(t+k) - x̄) / Σ (x_t - x̄)², for k = 1 … lags (Box & Jenkins 1976, equation 2.1.11).

    White noise stays within ± 1.96 / √n for 95 % of the lags.

    >>> autocorrelation(pd.Series([1.0, -1.0, 1.0, -1.0]), 2).tolist()
    [-0.75, 0.5]
    """
    centered = values.to_numpy(float) - values.mean()
    products = [np.dot(centered[:-lag], centered[lag:]) for lag in range(1, lags + 1)]
    return np.array(products) / np.dot(centered, centered)


def drawdown(close: pd.Series) -> pd.Series:
    """close_t / max(close_1 … close_t) - 1: how far below its highest price so far a series stands.

    >>> drawdown(pd.Series([100.0, 80.0, 120.0])).round(2).tolist()
    [0.0, -0.2, 0.0]
    """
    return close / close.cummax() - 1


def rows_per_year(index: pd.DatetimeIndex) -> float:
    """Rows a year: about 252 for a stock exchange, 365 for what is traded every day.

    >>> round(rows_per_year(pd.date_range("2018-01-01", "2018-12-31")))
    365
    """
    return (len(index) - 1) / ((index[-1] - index[0]).days / 365.25)


def moments(returns: pd.Series) -> dict[str, float]:
    """Mean, standard deviation (n - 1), skewness m₃ / m₂^1.5 and excess kurtosis m₄ / m₂² - 3 (normal: 0, 0).

    >>> {name: round(value, 3) for name, value in moments(pd.Series([-1.0, 0.0, 1.0])).items()}
    {'mean': 0.0, 'deviation': 1.0, 'skewness': 0.0, 'kurtosis': -1.5}
    """
    centered = returns.to_numpy(float) - returns.mean()
    second, third, fourth = (np.mean(centered**power) for power in (2, 3, 4))
    return {
        "mean": float(returns.mean()),
        "deviation": float(returns.std()),
        "skewness": float(third / second**1.5),
        "kurtosis": float(fourth / second**2 - 3),
    }


def mean_by(returns: pd.Series, group: np.ndarray) -> pd.DataFrame:
    """`mean` of the returns of each group, with its standard error `error` = deviation / √n; sorted by group.

    >>> mean_by(pd.Series([1.0, 3.0, 5.0, 5.0]), np.array([1, 1, 2, 2])).to_numpy().tolist()
    [[2.0, 1.0], [5.0, 0.0]]
    """
    groups = returns.groupby(group)
    return pd.DataFrame({"mean": groups.mean(), "error": groups.sem()})
