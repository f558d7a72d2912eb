import subprocess
import sys
from pathlib import Path

import pytest

from data import load
from zoo.preprocess import InputError


def test_a_range_is_inclusive_on_both_sides():
    """Both days named are in the frame, and a year means all of it."""
    frame = load("sp500", start="2018-07-03", end="2018-07-06")
    assert ["2018-07-03", "2018-07-05", "2018-07-06"] == frame.index.strftime("%F").tolist()
    assert 251 == len(load("sp500", start="2018", end="2018"))
    assert "sp500" == frame.attrs["name"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "No sources of prices were given"),
        ({"series": "sp500", "ticker": "AAPL"}, "2 sources of prices were given"),
        ({"series": "sp500", "start": "2030"}, "sp500 has no prices from 2030 .* 1999-01-04 to 2018-12-31"),
        ({"series": "sp500", "start": "2016", "end": "2015"}, "no prices from 2016 to 2015"),
        ({"series": "sp500", "start": "someday"}, "is no range of dates"),
    ],
)
def test_a_wrong_request_gets_one_sentence(arguments, words):
    """None or two sources, an empty range, and a word for a date."""
    with pytest.raises(InputError, match=words):
        load(**arguments)


def test_loading_a_series_imports_none_of_the_packages_that_carry_them():
    """Only their files are read: a fresh process holds neither package, nor yfinance, nor a backend."""
    script = (
        "import sys, data; data.load('sp500'); data.load('sp500_2022'); "
        "print(sorted({'arch', 'skfolio', 'scipy', 'yfinance', 'keras', 'tensorflow'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert "[]" == run.stdout.strip()
