import numpy as np
import pandas as pd
import pytest

from zoo.preprocess import InputError, prepare

WINDOW, HORIZON = 13, 5
SPLIT = {"train_end": "2016-12-31", "validation_end": "2017-12-31"}


def walk(seed=19):
    """Three years of a random walk on weekdays, with fat tails."""
    dates = pd.bdate_range("2015-01-01", "2018-12-31")
    returns = 0.01 * np.random.default_rng(seed).standard_t(3, len(dates))
    close = 50 * np.exp(np.cumsum(returns))
    return pd.DataFrame({"high": close * 1.01, "low": close * 0.99, "close": close}, dates)


def ready(**changes):
    return prepare(walk(), **{"window": WINDOW, "horizon": HORIZON, **SPLIT, **changes})


def test_targets_lie_in_their_own_part():
    """First and last target of each part are the first and last day of the part."""
    prepared = ready()
    spans = [("2015", "2016"), ("2017", "2017"), ("2018", "2018")]
    for part, (first, last) in zip(prepared[:3], spans, strict=True):
        dates = part.query_dates(0).append(part.query_dates(len(part.x) - 1))
        days = prepared.index[(prepared.index >= first) & (prepared.index <= f"{last}-12-31")]
        # The training part has no earlier days to read: its first target waits for one whole window.
        expected = days[WINDOW] if part is prepared.train else days[0]
        assert (expected, days[-1]) == (dates[0], dates[-1])


def test_every_day_of_a_later_part_is_forecast():
    """With a horizon of 1, validation and test have one sample per day."""
    prepared = ready(horizon=1)
    assert (prepared.index.year == 2017).sum() == len(prepared.validation.x)
    assert (prepared.index.year == 2018).sum() == len(prepared.test.x)


def test_dates_prices_and_returns_agree():
    """For any sample the dates are those of its prices, and its targets are the returns between them."""
    prepared, close = ready(), walk()["close"]
    for part in prepared[:3]:
        for i in (0, 17, len(part.x) - 1):
            keys, queries = part.key_dates(i), part.query_dates(i)
            assert (WINDOW, HORIZON) == (len(keys), len(queries)) and keys[-1] < queries[0]
            assert close[keys[-1]] == part.last_close[i]
            np.testing.assert_array_equal(close[queries], part.future_close[i])
            path = np.concatenate([[part.last_close[i]], part.future_close[i]])
            returns = prepared.scaler.inverse(part.y[i], column="log_return")
            np.testing.assert_allclose(np.diff(np.log(path)), returns, atol=1e-7)
            inputs = prepared.scaler.inverse(part.x[i])[:, 0]
            np.testing.assert_allclose(np.log(close).diff()[keys], inputs, atol=1e-7)


def test_all_windows_share_one_table():
    """Parts are read-only views of the same scaled features, in float32."""
    prepared = ready()
    assert np.shares_memory(prepared.train.x, prepared.validation.x)
    for part in prepared[:3]:
        assert np.float32 == part.x.dtype == part.y.dtype
        assert not part.x.flags.writeable and not part.y.flags.writeable
        assert len(part.x) == len(part.y) == len(part.last_close) == len(part.future_close)


def test_training_rows_are_standardised():
    """Mean 0 and deviation 1 hold on the training rows, which the scaler saw, and only there."""
    prepared = ready()
    rows = np.concatenate([prepared.train.x[:, 0], prepared.train.x[-1, 1:]])
    assert 0 == pytest.approx(rows.mean(), abs=0.05)
    assert 0.02 < abs(prepared.test.x[:, 0].mean(axis=0)).max()


def test_without_dates_the_split_is_by_fraction():
    """70 % and 85 % of the rows end the parts when no date is given."""
    prepared = ready(train_end=None, validation_end=None)
    n = len(prepared.index)
    assert prepared.index[round(0.7 * n)] == prepared.validation.query_dates(0)[0]
    assert prepared.index[round(0.85 * n)] == prepared.test.query_dates(0)[0]


@pytest.mark.parametrize("daily", [0.0, 0.01])
def test_one_return_on_every_day_teaches_nothing(daily):
    """A price that never moves, or always by the same step, is refused before a model learns it."""
    dates = pd.bdate_range("2016-01-01", periods=300)
    frame = pd.DataFrame({"close": 7 * np.exp(daily * np.arange(300))}, dates)
    with pytest.raises(InputError, match="same return on every day"):
        prepare(frame, window=5, horizon=2)


def test_treating_outliers_moves_inputs_and_not_targets():
    """Flagged inputs are moved, while prices and (unscaled) targets stay what happened."""
    flagged, treated = ready(), ready(outliers="treat")
    assert flagged.outliers["log_return"].sum() > 0
    assert ["log_return", "range"] == list(flagged.outliers)
    pd.testing.assert_frame_equal(flagged.outliers, treated.outliers)
    date = flagged.outliers.index[flagged.outliers["log_return"]][0]
    row = flagged.index.get_loc(date)
    sample = row - WINDOW
    seen = [p.scaler.inverse(p.train.x[sample + 1], column=None)[-1, 0] for p in (flagged, treated)]
    asked = [p.scaler.inverse(p.train.y[sample], column="log_return")[0] for p in (flagged, treated)]
    assert abs(seen[1]) < abs(seen[0]) - 0.01
    assert asked[0] == pytest.approx(asked[1], abs=1e-7) == pytest.approx(seen[0], abs=1e-7)
    np.testing.assert_array_equal(flagged.train.future_close, treated.train.future_close)


def test_missing_prices_are_filled_first():
    """A hole in the closes becomes a return of 0 and the preparation goes on."""
    frame = walk()
    frame.iloc[211] = np.nan
    prepared = prepare(frame, window=WINDOW, horizon=HORIZON, **SPLIT)
    assert (
        frame["close"].iloc[210]
        == prepared.train.future_close[prepared.index.get_loc(frame.index[211]) - WINDOW, 0]
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window": 2000}, "window of 2000 .* the series has 1022"),
        ({"window": 600}, "train part has 501 rows, too few"),
        ({"horizon": 0}, "horizon of 0"),
        ({"horizon": 300}, "validation part has 260 rows, too few"),
        ({"train_end": "2018-12-31", "validation_end": "2019"}, "validation part is empty"),
        ({"validation_end": None}, "give both train_end and validation_end"),
        ({"outliers": "drop"}, "outliers='drop' is unknown"),
    ],
)
def test_what_cannot_be_prepared_gets_one_sentence(changes, words):
    """The numbers found and wanted are in it."""
    with pytest.raises(InputError, match=words):
        ready(**changes)
