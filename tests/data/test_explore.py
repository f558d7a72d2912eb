import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from data import load
from data.__main__ import main
from data.explore import explore
from data.figures import draw
from data.summary import process, summary
from zoo.preprocess import InputError

PICTURES = ["anomalies.png", "autocorrelation.png", "distribution.png", "seasonality.png", "trend.png"]


def random_walk(days, kind="B"):
    dates = pd.date_range("2018-01-01", periods=days, freq=kind)
    close = 50 * np.exp(np.cumsum(0.01 * np.random.default_rng(29).normal(size=days)))
    return pd.DataFrame({"close": close}, dates)


@pytest.mark.parametrize("name", ["sp500", "vix"])
def test_five_pictures_are_drawn(name, tmp_path):
    """Each is a whole PNG, 1500 points wide, with something on it, and no other file is left."""
    paths = explore(load(name), tmp_path / "new" / "folder")
    assert PICTURES == sorted(path.name for path in paths) == sorted(os.listdir(tmp_path / "new" / "folder"))
    for path in paths:
        height, width, _ = imread(path).shape
        assert width == 1500 and height >= 1000
        assert imread(path).std() > 0.05


def test_every_panel_says_what_and_in_which_unit():
    """Titles tell raw from processed, the series and its dates stand above, value axes have labels."""
    explored = process(load("sp500"))
    for figure in draw(explored).values():
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert {"Raw", "Processed"} == {title.split(":")[0] for title in titles}
        assert all(axes.get_ylabel() for axes in figure.axes)
        headline = " ".join(text.get_text() for text in figure.texts)
        assert "sp500" in headline and "1999-01-04 to 2018-12-31" in headline


@pytest.mark.parametrize(("days", "kind"), [(61, "B"), (401, "D"), (97, "W")])
def test_short_daily_and_weekly_series_are_drawn_too(days, kind):
    """Sixty-one days, a series with weekends, and one of Sundays alone all give five figures."""
    assert 5 == len(draw(process(random_walk(days, kind))))


def test_the_table_holds_the_known_numbers():
    """Rows, gaps and drawdown of two series as their notes and the newspapers have them."""
    index, oil = dict(summary(process(load("sp500")))), dict(summary(process(load("wti"))))
    assert index["rows"].startswith("5,031 from 1999-01-04 to 2018-12-31")
    assert "-56.8% on 2009-03-09" == index["largest drawdown"]
    assert oil["prices missing in a row"].startswith("290 ")
    assert "1991-01-17 (-40.6%)" in oil["outliers flagged"]


def test_the_table_agrees_with_its_definitions():
    """Yearly mean and volatility are those of the log returns, times the rows of a year."""
    frame = load("sp500")
    returns = np.diff(np.log(frame["close"]))
    year = (len(frame) - 1) / ((frame.index[-1] - frame.index[0]).days / 365.25)
    table = dict(summary(process(frame)))
    assert f"{returns.mean() * year:+.2%} a year" == table["mean return"]
    assert f"{returns.std(ddof=1) * np.sqrt(year):.2%} a year" == table["volatility"]
    correlation = np.corrcoef(returns[1:], returns[:-1])[0, 1]
    assert float(table["lag-1 autocorrelation, returns"].split()[0]) == pytest.approx(correlation, abs=1e-3)


def test_a_full_disk_leaves_no_half_written_picture(tmp_path):
    """When writing stops midway, neither the picture nor its beginning is there."""

    def stop(self, path, **options):
        path.write_bytes(b"\x89PNG")
        raise OSError(28, "No space left on device")

    with (
        mock.patch.object(Figure, "savefig", stop),
        pytest.raises(InputError, match="No space left on device"),
    ):
        explore(load("vix"), tmp_path)
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (random_walk(59), "has 59 prices: 60 are wanted"),
        (random_walk(97) * 0 + 5, "constant series"),
        (random_walk(97) - 60, "log returns want finite prices above 0"),
    ],
)
def test_what_cannot_be_explored_gets_one_sentence(frame, words):
    """Too short, constant, and below zero."""
    with pytest.raises(InputError, match=words):
        process(frame)


def test_the_command_draws_and_prints(tmp_path):
    """`python -m data explore` in a fresh process, over a part of a series."""
    command = [sys.executable, "-m", "data", "explore", "sp500", "--start", "2017", "--output", str(tmp_path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (0, "") == (run.returncode, run.stderr)
    assert "502 from 2017-01-03 to 2018-12-31" in run.stdout and "Pictures: " in run.stdout
    assert PICTURES == sorted(os.listdir(tmp_path))


def test_the_list_has_a_line_for_each_series(capsys):
    """`python -m data list` names and describes them."""
    assert 0 == main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert 5 == len(lines) and lines[0].startswith("sp500 ")


def test_a_reader_that_has_seen_enough_is_no_error():
    """`python -m data list | head` ends without a traceback."""
    command = [sys.executable, "-m", "data", "list"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    os.close(write)
    assert "" == done.stderr


def test_a_mistake_is_one_line_and_status_2(tmp_path, capsys):
    """Unknown names, missing files and unwritable folders end without a traceback."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    for arguments, words in (
        (["explore", "ftse"], "No series is called 'ftse'"),
        (["explore"], "No sources"),
        (["explore", "--csv", "absent.csv"], "absent.csv cannot be read"),
        (["explore", "sp500", "--output", str(blocked / "x")], "cannot be written"),
    ):
        assert 2 == main(arguments)
        printed = capsys.readouterr()
        assert words in printed.err and 1 == printed.err.count("\n")
