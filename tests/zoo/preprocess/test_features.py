import math

import numpy as np
import pandas as pd
import pytest

from zoo.preprocess import InputError, calendar_features, price_features, volatility


def prices(days=97, seed=2, start="2018-01-01"):
    """A random walk with highs, lows and volumes."""
    random = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.01, days)))
    return pd.DataFrame(
        {
            "high": close * 1.01,
            "low": close * 0.98,
            "close": close,
            "volume": random.integers(1_000, 2_000, days).astype(float),
        },
        pd.bdate_range(start, periods=days),
    )


def test_volatility_is_the_deviation_of_the_last_days():
    """The value of a day uses its own return and the four before it."""
    returns = pd.Series(np.random.default_rng(3).normal(size=31))
    found = volatility(returns, days=5)
    assert np.std(returns[8:13], ddof=1) == pytest.approx(found[12], rel=1e-9)
    assert found[:4].isna().all() and found[4:].notna().all()


def test_the_calendar_is_a_circle():
    """Every point lies on the unit circle, and Sunday is as far from Monday as Monday from Tuesday."""
    week = calendar_features(pd.date_range("2018-01-01", periods=7))
    assert np.allclose(1, week["weekday_sin"] ** 2 + week["weekday_cos"] ** 2)
    points = week[["weekday_sin", "weekday_cos"]].to_numpy()
    assert math.dist(points[0], points[1]) == pytest.approx(math.dist(points[6], points[0]))
    july = calendar_features(pd.DatetimeIndex(["2018-07-13"]))
    assert [0, -1] == pytest.approx(july[["month_sin", "month_cos"]].iloc[0].tolist(), abs=1e-12)


def test_features_follow_their_formulas():
    """Return, range and volume change equal the logs of the frame's ratios, each day after the warm-up."""
    frame = prices()
    features = price_features(frame)
    assert ["log_return", "volatility_5", "volatility_21", "range", "volume_change"] == list(
        features.columns[:5]
    )
    assert frame.index[21] == features.index[0]
    ratio = frame / frame.shift()
    np.testing.assert_allclose(np.log(ratio["close"])[21:], features["log_return"], atol=1e-14)
    np.testing.assert_allclose(np.log(ratio["volume"])[21:], features["volume_change"], atol=1e-14)
    np.testing.assert_allclose(math.log(1.01 / 0.98), features["range"], rtol=1e-9)


def test_close_alone_is_enough():
    """A frame of closes has the return, both volatilities and the calendar."""
    features = price_features(prices()[["close"]])
    assert 7 == features.shape[1] and "log_return" == features.columns[0]
    assert features.notna().all(axis=None)


def test_a_volume_of_zero_is_no_change():
    """A day without a recorded volume, or a series without any, has volume change 0 and stays finite."""
    frame = prices()
    frame.iloc[53, 3] = 0.0
    features = price_features(frame)
    assert 0.0 == features["volume_change"][frame.index[53]]
    assert np.isfinite(features.to_numpy()).all()
    assert (price_features(frame.assign(volume=0.0))["volume_change"] == 0).all()


def test_a_companion_is_taken_as_last_known():
    """On a day the companion did not trade its return is 0, and the next one holds both days."""
    frame, other = prices(), prices(seed=5)
    absent = other.drop(frame.index[61])
    found = price_features(frame, {"oil": absent})["oil_return"]
    close = other["close"]
    assert 0.0 == found[frame.index[61]]
    assert np.log(close.iloc[62] / close.iloc[60]) == pytest.approx(found[frame.index[62]], rel=1e-12)


def test_a_later_companion_shortens_the_series():
    """Days before the companion begins are dropped with the warm-up."""
    frame, other = prices(), prices(seed=5)
    features = price_features(frame, {"oil": other.iloc[40:]})
    assert frame.index[41] == features.index[0]


def test_a_companion_that_ends_early_is_refused():
    """A companion silent for more than ten days is an error and not a row of zeros."""
    frame, other = prices(), prices(seed=5)
    with pytest.raises(InputError, match=r"companion 'oil' has no value in the 10 days before"):
        price_features(frame, {"oil": other.iloc[:50]})


def test_a_missing_price_is_named():
    """A hole in the closes is reported with its date instead of spreading through the features."""
    frame = prices()
    frame.iloc[53, 2] = np.nan
    with pytest.raises(InputError, match=f"{frame.index[53]:%Y-%m-%d}"):
        price_features(frame)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (prices(21), "21 rows leave none"),
        (prices().drop(columns="close"), "No column 'close' among high, low, volume"),
        (prices().assign(low=0.0), "low is 0 on"),
    ],
)
def test_unusable_frames_get_one_sentence(frame, words):
    """Too short, without a price, or with a low of zero: each is said."""
    with pytest.raises(InputError, match=words):
        price_features(frame)
