import numpy as np
import pandas as pd
import pytest

from data.statistics import autocorrelation, drawdown, mean_by, moments, rows_per_year


def test_autocorrelation_follows_its_sum():
    """Each lag equals the double loop of the definition."""
    values = np.random.default_rng(23).normal(size=53)
    centered = values - sum(values) / 53
    expected = [
        sum(centered[t] * centered[t + k] for t in range(53 - k)) / sum(c * c for c in centered)
        for k in (1, 2, 3)
    ]
    np.testing.assert_allclose(expected, autocorrelation(pd.Series(values), 3), rtol=1e-10)


def test_autocorrelation_finds_a_period():
    """A sine of period 7 correlates most with itself seven days later."""
    values = pd.Series(np.sin(2 * np.pi * np.arange(210) / 7))
    assert 7 == 1 + autocorrelation(values, 10).argmax()


def test_moments_tell_skewed_from_symmetric():
    """Uniform values have excess kurtosis -1.2 and no skewness, exponential ones 6 and 2."""
    shares = (np.arange(200_003) + 0.5) / 200_003
    uniform, exponential = moments(pd.Series(shares)), moments(pd.Series(-np.log(shares)))
    assert (0, -1.2) == pytest.approx((uniform["skewness"], uniform["kurtosis"]), abs=1e-3)
    assert (2, 6) == pytest.approx((exponential["skewness"], exponential["kurtosis"]), abs=0.05)
    assert np.sqrt(1 / 12) == pytest.approx(uniform["deviation"], abs=1e-5)


def test_drawdown_is_measured_from_the_highest_so_far():
    """A later peak does not deepen an earlier fall."""
    assert [0, -0.5, -0.25, 0, -0.1] == drawdown(pd.Series([4.0, 2, 3, 10, 9])).round(12).tolist()


def test_group_means_carry_their_standard_errors():
    """deviation / √n within each group."""
    found = mean_by(pd.Series([1.0, 2.0, 6.0, 4.0, 4.0]), np.array(["a", "a", "a", "b", "b"]))
    assert [3, 4] == found["mean"].tolist()
    assert np.std([1, 2, 6], ddof=1) / np.sqrt(3) == pytest.approx(found["error"]["a"])
    assert 0 == found["error"]["b"]


def test_a_year_has_the_rows_it_has():
    """Weekdays make 261 rows a year, whatever the length."""
    assert 261 == round(rows_per_year(pd.bdate_range("1999-01-01", "2018-12-31")))
