"""From a frame of prices to scaled windows: every step looks at the past alone."""

from zoo.errors import InputError
from zoo.preprocess.dataset import Prepared, Samples, prepare
from zoo.preprocess.features import calendar_features, price_features, volatility
from zoo.preprocess.prices import (
    fill_missing,
    flag_outliers,
    log_returns,
    missing_days,
    outlier_band,
    treat_outliers,
)
from zoo.preprocess.windows import Scaler, split_by_date, split_by_fraction, windows

__all__ = [
    "InputError",
    "Prepared",
    "Samples",
    "Scaler",
    "calendar_features",
    "fill_missing",
    "flag_outliers",
    "log_returns",
    "missing_days",
    "outlier_band",
    "prepare",
    "price_features",
    "split_by_date",
    "split_by_fraction",
    "treat_outliers",
    "volatility",
    "windows",
]
