"""The honest baselines of a return forecast: each must be beaten before a model may be believed."""

import numpy as np

# Lags that the linear model sees; the strength of its ridge is chosen on the validation part.
LAGS, RIDGES = 20, (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)


def last_value(test_returns):
    """The price stays where it is."""
    return np.zeros_like(test_returns)


def mean(train_returns, test_returns):
    """The mean daily return of the training part, every day."""
    return np.full_like(test_returns, train_returns.mean())


def seasonal(train_returns, train_weekdays, test_weekdays):
    """The mean training return of the weekday.

    Args:
        train_returns: `(windows, horizon)`; train_weekdays, test_weekdays: 0 to 6, of the days foretold.
    """
    by_weekday = np.zeros(7)
    for weekday in np.unique(train_weekdays):
        by_weekday[weekday] = train_returns[train_weekdays == weekday].mean()
    return by_weekday[test_weekdays]


def linear(train, validation, test_x):
    """Ridge regression of every step on the last lags of all features, its strength chosen on validation.

    Args:
        train, validation: pairs of windows `(windows, window, features)` and targets `(windows, horizon)`.
    """

    def flat(x):
        lags = x[:, -LAGS:].reshape(len(x), -1)
        return np.concatenate([np.ones((len(x), 1)), lags], axis=1).astype("float64")

    x, y = flat(train[0]), train[1]
    gram, moment, free = x.T @ x, x.T @ y, np.eye(x.shape[1])
    free[0, 0] = 0  # the intercept is not shrunk
    fits = [np.linalg.solve(gram + ridge * free, moment) for ridge in RIDGES]
    errors = [np.mean((flat(validation[0]) @ fit - validation[1]) ** 2) for fit in fits]
    return flat(test_x) @ fits[int(np.argmin(errors))]
