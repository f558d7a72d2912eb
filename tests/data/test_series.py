import importlib.util

import numpy as np
import pandas as pd
import pytest

from data import load, series_names
from data import series as series_module
from zoo.preprocess import InputError, prepare

FACTS = {
    "sp500": (5031, "1999-01-04", "2018-12-31", 0, 6),
    "nasdaq": (5031, "1999-01-04", "2018-12-31", 0, 6),
    "vix": (1305, "2014-01-03", "2019-01-03", 46, 1),
    "wti": (8611, "1986-01-02", "2019-01-03", 290, 1),
    "sp500_2022": (8313, "1990-01-02", "2022-12-28", 0, 1),
}


@pytest.mark.parametrize("name", FACTS)
def test_a_packaged_series_is_the_one_that_was_measured(name):
    """Rows, dates, missing prices and columns are those of the project's notes."""
    rows, first, last, missing, columns = FACTS[name]
    frame = load(name)
    assert (rows, columns) == frame.shape
    assert [first, last] == frame.index[[0, -1]].strftime("%F").tolist()
    assert missing == frame["close"].isna().sum()


@pytest.mark.parametrize("name", FACTS)
def test_every_series_has_the_same_form(name):
    """Naive, sorted, unique dates named "date", float64 columns in lower snake case, and its origin."""
    frame = load(name)
    assert isinstance(frame.index, pd.DatetimeIndex) and frame.index.tz is None and "date" == frame.index.name
    assert frame.index.is_monotonic_increasing and frame.index.is_unique
    assert {np.dtype("float64")} == set(frame.dtypes)
    assert "close" in frame and all(column == column.lower() and " " not in column for column in frame)
    assert name == frame.attrs["name"] and frame.attrs["source"] and frame.attrs["terms"]


def test_the_two_sources_of_the_index_agree():
    """S&P 500 closes of both packages are within 1e-4 where they overlap."""
    short, long = load("sp500")["close"], load("sp500_2022")["close"]
    together = pd.concat([short, long], axis=1, join="inner")
    assert 5000 < len(together)
    np.testing.assert_allclose(together.iloc[:, 0], together.iloc[:, 1], rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "split", "rows", "error", "up"),
    [
        ("sp500", ("2014", "2016"), 502, 0.5232, 0.5478),
        ("nasdaq", ("2014", "2016"), 502, 0.6859, 0.5737),
        ("sp500_2022", ("2014", "2018"), 1006, 0.9381, 0.5417),
    ],
)
def test_the_naive_baseline_is_the_known_one(name, split, rows, error, up):
    """MAPE of the last value and the share of rising days, over the test part that `prepare` cuts."""
    test = prepare(load(name), window=61, horizon=1, train_end=split[0], validation_end=split[1]).test
    future = test.future_close[:, 0]
    assert rows == len(future)
    assert error == pytest.approx(100 * np.mean(np.abs(test.last_close - future) / future), abs=5e-5)
    assert up == pytest.approx((future > test.last_close).mean(), abs=5e-5)


@pytest.mark.parametrize(("days", "error"), [(5, 1.2055), (21, 2.3855)])
def test_the_naive_baseline_of_longer_horizons_is_the_known_one(days, error):
    """MAPE of the value 5 and 21 days ago, over the 502 days of 2017-18."""
    close = load("sp500")["close"]
    errors = (100 * (close - close.shift(days)).abs() / close)["2017":]
    assert 502 == len(errors)
    assert error == pytest.approx(errors.mean(), abs=5e-5)


def test_every_name_is_described():
    """What `list` prints names exactly the series that load."""
    assert set(FACTS) == set(series_names())
    assert all(len(about) > 20 for about in series_names().values())


def test_an_unknown_name_is_answered_with_the_known_ones():
    """One sentence lists them."""
    with pytest.raises(InputError, match="'ftse': choose one of sp500, nasdaq, vix, wti, sp500_2022"):
        load("ftse")


def test_a_package_that_is_not_installed_is_named_with_its_command(monkeypatch):
    """Without the package there is a command to type, and no traceback of an import."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match="'arch', which is not installed: type `make setup`, or `pip install"
    ):
        load("sp500")


def test_another_version_of_a_file_is_refused(monkeypatch):
    """Splits and baselines are of one file: a changed one is an error."""
    source = series_module.SERIES["vix"]._replace(digest="0" * 12)
    monkeypatch.setitem(series_module.SERIES, "vix", source)
    with pytest.raises(InputError, match="not the one this project was measured with"):
        load("vix")
