import json

import numpy as np
import pandas as pd
import pytest

from zoo.preprocess import InputError, Scaler, split_by_date, split_by_fraction, windows

T, F, WINDOW, HORIZON = 41, 3, 7, 5


def arrays():
    random = np.random.default_rng(13)
    return random.normal(size=(T, F)).astype("float32"), random.normal(size=T).astype("float32")


def test_windows_hold_the_rows_they_should():
    """x[i] is rows i … i+window-1 and y[i] the targets of the rows that follow, for every i there is."""
    features, target = arrays()
    x, y = windows(features, target, WINDOW, HORIZON)
    assert (T - WINDOW - HORIZON + 1, WINDOW, F) == x.shape
    assert (len(x), HORIZON) == y.shape
    for i in range(len(x)):
        np.testing.assert_array_equal(features[i : i + WINDOW], x[i])
        np.testing.assert_array_equal(target[i + WINDOW : i + WINDOW + HORIZON], y[i])


def test_windows_are_views():
    """Neither array is a copy, and neither can be written through."""
    features, target = arrays()
    x, y = windows(features, target, WINDOW, HORIZON)
    assert np.shares_memory(features, x) and np.shares_memory(target, y)
    assert not x.flags.writeable and not y.flags.writeable


def test_the_longest_window_gives_one_sample():
    """A window and a horizon that together take all rows leave a single sample."""
    x, y = windows(*arrays(), window=T - HORIZON, horizon=HORIZON)
    assert (1, T - HORIZON, F) == x.shape and (1, HORIZON) == y.shape


@pytest.mark.parametrize(
    ("window", "horizon", "words"),
    [
        (T, 1, "window of 41 and a horizon of 1 want 42 rows, and the series has 41"),
        (97, 5, "window of 97 .* the series has 41"),
        (7, 0, "horizon of 0"),
        (0, 5, "window of 0"),
        (-1, 5, "window of -1"),
    ],
)
def test_impossible_windows_are_refused(window, horizon, words):
    """Both numbers are in the sentence."""
    with pytest.raises(InputError, match=words):
        windows(*arrays(), window, horizon)


def test_nan_is_refused_with_its_place():
    """A NaN target, and a NaN feature, are found by row."""
    features, target = arrays()
    target[17] = np.nan
    with pytest.raises(InputError, match="target is NaN in row 17"):
        windows(features, target, WINDOW, HORIZON)
    features, target = arrays()
    features[19, 2] = np.nan
    with pytest.raises(InputError, match="Column 2 .* row 19"):
        windows(features, target, WINDOW, HORIZON)


def test_unequal_lengths_are_refused():
    """Features and target of different lengths do not belong together."""
    features, target = arrays()
    with pytest.raises(InputError, match="belong together"):
        windows(features, target[:-1], WINDOW, HORIZON)


def year():
    return pd.DataFrame({"close": 1.0}, pd.date_range("2018-01-01", "2018-12-31"))


def test_splits_by_date_are_chronological_and_inclusive():
    """Each part ends on its own date, the next begins on the day after, and together they are the whole."""
    parts = split_by_date(year(), "2018-06-30", "2018-09-30")
    edges = [f"{part.index[0]:%m-%d}/{part.index[-1]:%m-%d}" for part in parts]
    assert ["01-01/06-30", "07-01/09-30", "10-01/12-31"] == edges
    pd.testing.assert_frame_equal(year(), pd.concat(parts), check_freq=False)


def test_a_month_or_year_means_its_last_day():
    """ "2018-06" splits where "2018-06-30" does, and a Timestamp is taken as it is."""
    assert 181 == len(split_by_date(year(), "2018-06", "2018-09")[0])
    assert 181 == len(split_by_date(year(), pd.Timestamp("2018-06-30"), "2018-09")[0])


@pytest.mark.parametrize(
    ("train_end", "validation_end", "part"),
    [
        ("2017", "2018-06", "train"),
        ("2018-06", "2018-06", "validation"),
        ("2018-09", "2018-06", "validation"),
        ("2018-06", "2018", "test"),
    ],
)
def test_an_empty_part_says_what_was_found_and_wanted(train_end, validation_end, part):
    """The sentence holds the part, the range of the series and both dates."""
    words = f"{part} part is empty.*2018-01-01 to 2018-12-31.*{train_end}.*{validation_end}"
    with pytest.raises(InputError, match=words):
        split_by_date(year(), train_end, validation_end)


def test_what_is_no_date_is_refused():
    """A word in the place of a date is quoted back."""
    with pytest.raises(InputError, match="'someday' is not a date"):
        split_by_date(year(), "someday", "2018-06")


def test_splits_by_fraction_take_their_shares_in_order():
    """Parts have the asked sizes and follow each other."""
    parts = split_by_fraction(year(), train=0.6, validation=0.2)
    assert [219, 73, 73] == [len(part) for part in parts]
    pd.testing.assert_frame_equal(year(), pd.concat(parts), check_freq=False)


@pytest.mark.parametrize(("train", "validation"), [(0.0, 0.5), (0.7, 0.3), (0.9, 0.2), (-0.1, 0.5)])
def test_impossible_fractions_are_refused(train, validation):
    """Shares that leave a part empty are quoted back."""
    with pytest.raises(InputError, match="leave a part empty"):
        split_by_fraction(year(), train, validation)


def test_a_tiny_series_has_no_three_parts():
    """Two rows cannot be split in three."""
    with pytest.raises(InputError, match="part is empty"):
        split_by_fraction(year().iloc[:2])


def table():
    random = np.random.default_rng(17)
    return pd.DataFrame({"a": random.normal(5, 3, 31), "b": random.normal(-2, 0.1, 31), "c": 0.1})


def test_scaled_columns_have_mean_0_and_deviation_1():
    """Every column is standardised, and the constant one becomes 0."""
    scaled = Scaler.fit(table()).transform(table())
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0], atol=1e-12)


def test_inverse_undoes_transform():
    """All columns together, one by name, and one by number come back."""
    scaler = Scaler.fit(table())
    scaled = scaler.transform(table())
    np.testing.assert_allclose(table(), scaler.inverse(scaled))
    np.testing.assert_allclose(table()["b"], scaler.inverse(scaled[:, 1], column="b"))
    np.testing.assert_allclose(table()["a"], scaler.inverse(scaled[:, 0], column=0))


def test_a_scaler_survives_json():
    """What was saved transforms to exactly the same numbers."""
    scaler = Scaler.fit(table())
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    np.testing.assert_array_equal(scaler.transform(table()), again.transform(table()))
    assert scaler.columns == again.columns


def test_a_scaler_takes_one_column():
    """A series of plain numbers is one column."""
    scaler = Scaler.fit(np.array([2.0, 4.0]))
    assert [-1.0, 1.0] == scaler.transform(np.array([2.0, 4.0])).tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_scaler_names_the_column_it_cannot_fit(value):
    """NaN and infinity are errors, not a silent NaN in every row."""
    broken = table()
    broken.loc[7, "b"] = value
    with pytest.raises(InputError, match="column 'b' holds .* row 7"):
        Scaler.fit(broken)


def test_a_scaler_refuses_other_columns():
    """Another order, another number and an unknown name are each told apart from the fit."""
    scaler = Scaler.fit(table())
    with pytest.raises(InputError, match="knows the columns a, b, c"):
        scaler.transform(table()[["b", "a", "c"]])
    with pytest.raises(InputError, match="was given 2"):
        scaler.transform(np.zeros((5, 2)))
    with pytest.raises(InputError, match="no column 'd'"):
        scaler.inverse([1.0], column="d")
    with pytest.raises(InputError, match="no rows"):
        Scaler.fit(table().iloc[:0])


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"columns": ["a"], "mean": ["x"], "scale": [1.0]},
        {"columns": ["a"], "mean": [0.0, 1.0], "scale": [1.0, 1.0]},
        {"columns": ["a"], "mean": [0.0], "scale": [0.0]},
        {"columns": ["a"], "mean": [float("nan")], "scale": [1.0]},
        {"columns": 3, "mean": [0.0], "scale": [1.0]},
    ],
)
def test_a_damaged_scaler_is_refused(saved):
    """Nothing that to_dict could not have written is accepted."""
    with pytest.raises(InputError):
        Scaler.from_dict(saved)
