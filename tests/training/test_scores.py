import numpy as np
import pytest

from training.scores import METRICS, difference, scores

RNG = np.random.default_rng(0)


def test_scores_of_a_hand_made_forecast():
    """Two windows of two days, counted by hand."""
    last = np.array([10.0, 20.0])
    target = np.array([[11.0, 9.0], [22.0, 25.0]])
    forecast = np.array([[12.0, 11.0], [19.0, 24.0]])  # calls up, up; down, up; what came: up, down; up, up
    found = {metric: one["value"] for metric, one in scores(forecast, target, last).items()}
    expected = {
        "mse": (1 + 4 + 9 + 1) / 4,
        "mae": (1 + 2 + 3 + 1) / 4,
        "mape": (1 / 11 + 2 / 9 + 3 / 22 + 1 / 25) / 4,
        "direction": 2 / 4,
        "precision": 2 / 3,
        "recall": 2 / 3,
        "f1": 2 / 3,
    }
    assert expected == pytest.approx(found)


def test_a_forecast_that_never_moves_calls_nothing():
    """The last value has errors but no direction."""
    last, target = np.full(30, 5.0), RNG.normal(5, 1, (30, 3))
    found = scores(np.repeat(last[:, None], 3, axis=1), target, last)
    assert [None] * 4 == [found[metric]["value"] for metric in METRICS[3:]]
    assert found["mae"]["low"] < found["mae"]["value"] < found["mae"]["high"]


def test_intervals_of_independent_errors_have_their_width():
    """For independent errors the 95 % interval of a mean is ± 1.96 standard errors."""
    last, target = np.full(4001, 100.0), np.full((4001, 1), 101.0)
    errors = RNG.normal(0, 1, (4001, 1))
    found = scores(target + errors, target, last)["mse"]
    expected = 2 * 1.96 * np.sqrt(2 / 4001)  # the square of a standard normal has variance 2
    assert expected == pytest.approx(found["high"] - found["low"], rel=0.15)


def test_intervals_widen_when_neighbours_err_alike():
    """Blocks keep what neighbouring windows share: errors in runs of ten are worth a tenth of the windows."""
    last, target = np.full(4000, 100.0), np.full((4000, 1), 101.0)
    alone = RNG.normal(0, 1, (4000, 1))
    runs = np.repeat(alone[:400], 10, axis=0)
    widths = [
        np.subtract(*(scores(target + e, target, last)["mse"][k] for k in ("high", "low")))
        for e in (alone, runs)
    ]
    assert 2 < widths[1] / widths[0] < 4


def test_difference_is_paired():
    """A forecast that errs by a constant more has a sure difference, however noisy both are."""
    last, target = np.full(500, 100.0), RNG.normal(100, 9, (500, 2))
    noise = abs(RNG.normal(0, 9, (500, 2)))
    found = difference("mae", target + noise + 0.5, target + noise, target, last)
    assert [0.5] * 3 == pytest.approx([found["value"], found["low"], found["high"]])
