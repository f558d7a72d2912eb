"""No value after the split reaches the training part, and the check is shown to see what it looks for."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from zoo.preprocess import Scaler, dataset, fill_missing, price_features

SPLIT = pd.Timestamp("2016-12-30")
VALIDATION_END = pd.Timestamp("2017-12-29")


def walk(seed):
    dates = pd.bdate_range("2015-01-01", "2018-12-31")
    random = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(0.01 * random.standard_t(3, len(dates))))
    volume = random.integers(1_000, 2_000, len(dates))
    frame = pd.DataFrame({"high": close * 1.01, "low": close * 0.99, "close": close, "volume": volume}, dates)
    frame.iloc[101, 2] = np.nan  # so that filling has something to do before the split
    return frame.astype(float)


def perturbed(frame, after, seed):
    """Every value after the date is another one, wildly; two are missing."""
    frame = frame.copy()
    later = frame.index > after
    factor = np.exp(np.random.default_rng(seed).normal(2, 1, (later.sum(), frame.shape[1])))
    frame.loc[later] = frame.loc[later] * factor
    frame.iloc[np.flatnonzero(later)[0], 2] = np.nan
    frame.iloc[np.flatnonzero(later)[3], 0] = np.nan
    return frame


def prepared(frame, companion, outliers):
    return dataset.prepare(
        frame,
        window=13,
        horizon=5,
        train_end=SPLIT,
        validation_end=VALIDATION_END,
        companions={"oil": companion},
        outliers=outliers,
    )


def moved(after, outliers="flag"):
    """The names of what differs, up to the date, once everything after it is perturbed."""
    frame, companion = walk(2), walk(3)
    before = prepared(frame, companion, outliers)
    changed = prepared(perturbed(frame, after, 5), perturbed(companion, after, 7), outliers)
    pairs = {
        name: (getattr(before.scaler, name), getattr(changed.scaler, name)) for name in ("mean", "scale")
    }
    parts = ["train"] if after == SPLIT else ["train", "validation"]
    for part in parts:
        for field in ("x", "y", "positions", "last_close", "future_close"):
            pairs[f"{part}.{field}"] = [getattr(getattr(each, part), field) for each in (before, changed)]
    pairs["outliers"] = (before.outliers.loc[:after], changed.outliers.loc[:after])
    return {name for name, (old, new) in pairs.items() if not np.array_equal(old, new)}


@pytest.mark.parametrize("outliers", ["flag", "treat"])
@pytest.mark.parametrize("after", [SPLIT, VALIDATION_END])
def test_nothing_after_the_split_reaches_the_past(after, outliers):
    """Perturbing every later value, companions too, moves no earlier input, target, price, flag or scaler."""
    assert set() == moved(after, outliers)


def test_the_perturbation_reaches_the_later_parts():
    """The same perturbation does move every input and target after the split, so that it is one."""
    frame, companion = walk(2), walk(3)
    before = prepared(frame, companion, "flag")
    changed = prepared(perturbed(frame, SPLIT, 5), perturbed(companion, SPLIT, 7), "flag")
    assert (before.test.y != changed.test.y).mean() > 0.99
    prices = [name for name in before.features if not name.startswith(("weekday", "month"))]
    differs = (before.test.x != changed.test.x).any(axis=(0, 1))
    assert prices == [name for name, moves in zip(before.features, differs, strict=True) if moves]


def leak_scaler(monkeypatch):
    """Fit the scaler on all rows."""
    seen = []

    def remember(*arguments):
        seen.append(price_features(*arguments))
        return seen[-1]

    monkeypatch.setattr(dataset, "price_features", remember)
    monkeypatch.setattr(dataset, "Scaler", SimpleNamespace(fit=lambda part: Scaler.fit(seen[-1])))


def leak_filling(monkeypatch):
    """Fill a missing price from the day after it."""
    monkeypatch.setattr(dataset, "fill_missing", lambda frame: fill_missing(frame.shift(-1)))


def leak_flags(monkeypatch):
    """Judge outliers by the median of the whole series."""
    leaky = lambda values: (values - values.median()).abs() > 3 * values.std()  # noqa: E731
    monkeypatch.setattr(dataset, "flag_outliers", leaky)


@pytest.mark.parametrize(
    ("leak", "expected"),
    [(leak_scaler, {"mean", "train.x"}), (leak_filling, {"train.y"}), (leak_flags, {"outliers"})],
)
def test_a_leak_would_be_seen(leak, expected, monkeypatch):
    """A scaler fitted on everything, filling from the future, flags by the whole series: each is caught."""
    leak(monkeypatch)
    assert expected <= moved(SPLIT)
