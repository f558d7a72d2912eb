"""Scores of a price forecast, with bootstrap intervals that respect the order of the days."""

import numpy as np

METRICS = ("mse", "mae", "mape", "direction", "precision", "recall", "f1")
LOWER_IS_BETTER = ("mse", "mae", "mape")

# Windows that start on neighbouring days share most of their days, so whole blocks of about a month are drawn
# (moving-block bootstrap, Künsch 1989).
BLOCK, RESAMPLES = 21, 1000


def scores(forecast, target, last) -> dict:
    """`{metric: {"value", "low", "high"}}` over all windows and steps, with 95 % intervals.

    `mse` and `mae` are in the units of the prices (squared, plain), the others are shares: `mape` of the
    price, `direction` of the steps whose sign (against the last known price) was foretold; `precision`,
    `recall` and `f1` are those of the call "up". A forecast that never moves makes no call, and its
    direction scores are None.

    Args:
        forecast, target: prices `(windows, horizon)`.
        last: the last price each window knew, `(windows,)`.

    >>> import numpy as np
    >>> scores(np.array([[11.0], [9.0]]), np.array([[12.0], [11.0]]), np.array([10.0, 10.0]))["mae"]["value"]
    1.5
    """
    sums = _sums(forecast, target, last)
    values = _metrics(sums.sum(axis=0))
    drawn = _metrics(sums[_blocks(len(sums))].sum(axis=1))
    calls = bool(np.any(forecast != last[:, None]))
    return {
        metric: _interval(values[metric], drawn[metric])
        if calls or metric in LOWER_IS_BETTER
        else {"value": None, "low": None, "high": None}
        for metric in METRICS
    }


def difference(metric, forecast, rival, target, last) -> dict:
    """The metric of `forecast` less that of `rival` on the same windows, with its paired 95 % interval."""
    ours, theirs = _sums(forecast, target, last), _sums(rival, target, last)
    drawn = _blocks(len(ours))
    value = _metrics(ours.sum(axis=0))[metric] - _metrics(theirs.sum(axis=0))[metric]
    resampled = [_metrics(sums[drawn].sum(axis=1))[metric] for sums in (ours, theirs)]
    return _interval(value, resampled[0] - resampled[1])


def _sums(forecast, target, last):
    """What the metrics are made of, summed over each window's steps: `(windows, 7)`."""
    error = forecast - target
    called, rose = forecast > last[:, None], target > last[:, None]
    parts = (
        error**2,
        abs(error),
        abs(error / target),
        called & rose,
        called & ~rose,
        ~called & rose,
        np.ones_like(error),
    )
    return np.stack([np.sum(part, axis=1, dtype="float64") for part in parts], axis=1)


def _metrics(sums):
    squared, absolute, relative, true_up, false_up, missed_up, count = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "mse": squared / count,
            "mae": absolute / count,
            "mape": relative / count,
            "direction": 1 - (false_up + missed_up) / count,
            "precision": true_up / (true_up + false_up),
            "recall": true_up / (true_up + missed_up),
            "f1": 2 * true_up / (2 * true_up + false_up + missed_up),
        }


def _blocks(windows):
    """Window numbers of every resample `(RESAMPLES, windows)`; the same for all, so that pairs stay pairs."""
    length = min(BLOCK, windows)
    starts = np.random.default_rng(0).integers(0, windows - length + 1, (RESAMPLES, -(-windows // length)))
    return (starts[..., None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :windows]


def _interval(value, drawn):
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (None, None)
    return {
        name: None if number is None or not np.isfinite(number) else float(number)
        for name, number in (("value", value), ("low", low), ("high", high))
    }
