import numpy as np
import pandas as pd
import pytest

from zoo.preprocess import (
    InputError,
    fill_missing,
    flag_outliers,
    log_returns,
    missing_days,
    outlier_band,
    treat_outliers,
)


def frame_of(**columns):
    length = len(next(iter(columns.values())))
    return pd.DataFrame(columns, pd.date_range("2018-01-01", periods=length), dtype=float)


NAN = float("nan")


def test_missing_days_are_weekdays_without_a_row():
    """A Wednesday that was skipped is missing, the weekend is not."""
    dates = pd.DatetimeIndex(["2018-07-03", "2018-07-05", "2018-07-06", "2018-07-09"])
    assert ["2018-07-04"] == missing_days(dates).strftime("%F").tolist()


def test_filling_carries_the_last_known_value_forward():
    """A gap takes the value before it, never the one after."""
    filled = fill_missing(frame_of(close=[2, NAN, NAN, 7], volume=[11, 13, NAN, 17]))
    assert [2, 2, 2, 7] == filled["close"].tolist()
    assert [11, 13, 13, 17] == filled["volume"].tolist()


def test_filling_drops_the_rows_before_every_column_has_begun():
    """The first row kept is the first with a value known in each column, even if it was known earlier."""
    filled = fill_missing(frame_of(close=[2, 3, NAN, 7], volume=[NAN, NAN, 13, 17]))
    assert [3, 7] == filled["close"].tolist()
    assert [13, 17] == filled["volume"].tolist()
    assert pd.Timestamp("2018-01-03") == filled.index[0]


def test_filling_stops_at_the_limit_and_names_column_and_date():
    """Five missing rows are bridged, the sixth is an error."""
    bridged = frame_of(close=[2, *[NAN] * 5, 7])
    assert 7 == len(fill_missing(bridged))
    with pytest.raises(InputError, match=r"'close'.*more than 5 rows.*2018-01-07"):
        fill_missing(frame_of(close=[2, *[NAN] * 6, 7]))


def test_filling_refuses_a_column_without_values():
    """An empty column is named instead of silently dropping every row."""
    with pytest.raises(InputError, match="'volume' holds no value"):
        fill_missing(frame_of(close=[2, 3], volume=[NAN, NAN]))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (pd.RangeIndex(2), "no dates"),
        (pd.DatetimeIndex(["2018-01-02", "2018-01-01"]), "2018-01-01 does not come after 2018-01-02"),
        (pd.DatetimeIndex(["2018-01-02", "2018-01-02"]), "one row a day"),
        (pd.DatetimeIndex(["2018-01-02", None]), "no dates"),
    ],
)
def test_filling_wants_dates_in_order(index, words):
    """What has no dates, or has them out of order or twice, has no past to fill from."""
    with pytest.raises(InputError, match=words):
        fill_missing(pd.DataFrame({"close": [2.0, 3.0]}, index))


def reference_band(values, threshold, days):
    """median ± threshold · 1.4826 · MAD of at most `days` values before each, from the definition."""
    lower, upper = np.full((2, len(values)), np.nan)
    for t in range(21, len(values)):
        past = values[max(0, t - days) : t]
        median = np.median(past)
        width = threshold * 1.4826 * np.median(np.abs(past - median))
        lower[t], upper[t] = median - width, median + width
    return lower, upper


def test_the_band_agrees_with_its_definition():
    """Lower and upper edge equal the reference, day by day, before and after the window is full."""
    values = np.random.default_rng(3).standard_t(3, 211)
    lower, upper = outlier_band(pd.Series(values), threshold=5.0, days=47)
    expected = reference_band(values, 5.0, 47)
    np.testing.assert_allclose(lower, expected[0], rtol=1e-12)
    np.testing.assert_allclose(upper, expected[1], rtol=1e-12)


def test_the_band_skips_missing_values():
    """A missing value neither has a band nor counts as one of the days."""
    values = np.random.default_rng(5).normal(size=101)
    holed = np.insert(values, 61, np.nan)
    lower, _ = outlier_band(pd.Series(holed), days=37)
    expected = np.insert(reference_band(values, 8.0, 37)[0], 61, np.nan)
    np.testing.assert_allclose(lower, expected, rtol=1e-12)


def test_an_outlier_is_flagged_and_moved_only_when_asked():
    """One wild value is found; flags leave the values alone, and treating puts it on the band's edge."""
    values = pd.Series(np.random.default_rng(7).normal(size=307))
    values[211] = 97.0
    flags = flag_outliers(values)
    assert [211] == np.flatnonzero(flags).tolist()
    assert 97.0 == values[211]
    treated = treat_outliers(values, flags)
    _, upper = outlier_band(values)
    assert upper[211] == treated[211] < 20
    pd.testing.assert_series_equal(values.drop(211), treated.drop(211))


def test_an_outlier_is_judged_by_its_past_alone():
    """What comes after a day changes neither its flag nor its band."""
    values = np.random.default_rng(11).standard_t(2, 311)
    changed = values.copy()
    changed[200:] = 1e6
    same = slice(0, 200)
    values, changed = pd.Series(values), pd.Series(changed)
    assert flag_outliers(values)[same].equals(flag_outliers(changed)[same])
    pd.testing.assert_series_equal(
        outlier_band(pd.Series(values))[0][same], outlier_band(pd.Series(changed))[0][same]
    )


def test_a_constant_past_flags_nothing():
    """Where more than half the values are equal the band has no width, and a change is no outlier."""
    assert not flag_outliers(pd.Series([5.0] * 41 + [6.0])).any()


def test_log_returns_add_up_to_the_whole_change():
    """Their sum is the log of last price over first, and there is one fewer than prices."""
    close = frame_of(close=[100, 110, 99, 121])["close"]
    returns = log_returns(close)
    assert 3 == len(returns)
    assert np.log(1.21) == pytest.approx(returns.sum(), rel=1e-12)
    assert close.index[1] == returns.index[0]


@pytest.mark.parametrize("price", [0.0, -37.63, float("inf")])
def test_log_returns_name_the_date_of_a_price_without_logarithm(price):
    """Crude oil once closed below zero: the error says when."""
    with pytest.raises(InputError, match=r"close is \S+ on 2018-01-02"):
        log_returns(frame_of(close=[2, price, 3])["close"])
