import numpy as np
import pytest

from training import baselines

RNG = np.random.default_rng(0)


def test_last_value_foretells_no_return():
    """The price stays."""
    np.testing.assert_array_equal(np.zeros((3, 2)), baselines.last_value(RNG.normal(size=(3, 2))))


def test_mean_is_that_of_training():
    """Nothing of the test part is in it."""
    assert 2.0 == baselines.mean(np.array([[1.0, 3.0]]), np.array([[50.0, 70.0]])).max()


def test_seasonal_is_the_mean_of_the_weekday():
    """Each day foretold gets the mean return that its weekday had in training."""
    train, weekdays = np.array([[1.0, 5.0], [3.0, 9.0]]), np.array([[0, 1], [0, 1]])
    np.testing.assert_array_equal([[7.0, 2.0]], baselines.seasonal(train, weekdays, np.array([[1, 0]])))


def test_linear_finds_a_linear_law():
    """Where the next value is linear in the lags, ridge regression finds it up to the noise."""
    x = RNG.normal(size=(997, 23, 3))
    y = (0.5 * x[:, -1, 0] - 0.25 * x[:, -20, 2])[:, None] + RNG.normal(0, 0.01, (997, 1))
    found = baselines.linear((x[:700], y[:700]), (x[700:850], y[700:850]), x[850:])
    assert 0.02 > np.abs(found - y[850:]).mean()


def test_linear_shrinks_to_the_mean_where_there_is_nothing():
    """On noise the strength chosen on validation leaves little but the mean."""
    x, y = RNG.normal(size=(997, 23, 3)), RNG.normal(3, 1, (997, 1))
    found = baselines.linear((x[:700], y[:700]), (x[700:850], y[700:850]), x[850:])
    assert 3 == pytest.approx(found.mean(), abs=0.1)
    assert 0.3 > found.std()
