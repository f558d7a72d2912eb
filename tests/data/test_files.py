import gzip
import os

import numpy as np
import pandas as pd
import pytest

from data import load
from data.files import LARGEST
from zoo.preprocess import InputError


@pytest.fixture
def written(tmp_path):
    """A function that writes a file and returns its path."""

    def write(content, name="prices.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def days(form, count=29):
    return pd.date_range("2018-01-01", periods=count).strftime(form)


@pytest.mark.parametrize(
    "header",
    [
        "date,close",
        "Date,Price",
        "Time,Value",
        "timestamp,whatever",
        "observation_date,SP500",
        "Day,Adj Close",
    ],
)
def test_date_and_price_are_found_by_their_names(written, header):
    """The usual names are known, else the first column is the date and the only number the price."""
    frame = load(csv=written(f"{header}\n2018-01-02,2.5\n2018-01-03,3.5\n"))
    assert [2.5, 3.5] == frame["close"].tolist() and ["close"] == list(frame)
    assert ["2018-01-02", "2018-01-03"] == frame.index.strftime("%F").tolist()
    assert "prices" == frame.attrs["name"] and frame.attrs["source"].endswith("prices.csv")


def test_an_adjusted_close_is_the_price(written):
    """Splits would be jumps in the raw close, which stays beside it under its own name."""
    frame = load(csv=written("Date,Open,Close,Adj Close,Note\n2018-01-02,7,10,5,a\n2018-01-03,8,11,6,b\n"))
    assert [5, 6] == frame["close"].tolist() and [10, 11] == frame["raw_close"].tolist()
    assert ["open", "raw_close", "close"] == list(frame)


def test_rows_in_any_order_are_sorted(written):
    """Newest first, as many sites write it, comes out oldest first."""
    frame = load(csv=written("date,close\n2018-01-04,4\n2018-01-03,3\n2018-01-02,2\n"))
    assert [2, 3, 4] == frame["close"].tolist()


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_separators_quotes_and_blank_lines_are_read(written, mark):
    """A byte order mark, quoted fields with separators in them, blank lines and CRLF do no harm."""
    rows = [["Date", "Close", "Note"], ["2018-01-02", "2", f'"a{mark}b"'], ["2018-01-03", '"3"', ""]]
    text = "\r\n".join(mark.join(row) for row in rows)
    frame = load(csv=written(("\ufeff" + text + "\r\n\r\n").encode()))
    assert [2, 3] == frame["close"].tolist()


@pytest.mark.parametrize("cell", ["", "null", "NaN", "."])
def test_missing_prices_stay_missing(written, cell):
    """Loading does not fill: the gap is there for fill_missing to see."""
    frame = load(csv=written(f"date,close\n2018-01-02,2\n2018-01-03,{cell}\n2018-01-04,4\n"))
    assert np.isnan(frame["close"].iloc[1]) and 3 == len(frame)


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%b %d, %Y", "%d-%b-%y"]
)
def test_dates_are_read_in_any_usual_form(written, form):
    """A column that has one reading as dates is read so, with the day before or after the month."""
    lines = [f'"{day}",{number}' for number, day in enumerate(days(form))]
    frame = load(csv=written("Date,Close\n" + "\n".join(lines)))
    assert days("%F").tolist() == frame.index.strftime("%F").tolist()
    assert list(range(29)) == frame["close"].tolist()


def test_dates_of_two_readings_are_refused(written):
    """Days up to the 12th leave open which number is the month, and nothing is guessed."""
    with pytest.raises(InputError, match=r"month first or day first.*'01/02/2018'.*2014-12-31"):
        load(csv=written("Date,Close\n01/02/2018,2\n01/03/2018,3\n"))


def test_an_exchanges_clock_keeps_its_date(written):
    """Midnight in New York, with offsets of winter and summer, is not moved to another day."""
    text = "Date,Close\n2018-03-09 00:00:00-05:00,2\n2018-03-12 00:00:00-04:00,3\n"
    frame = load(csv=written(text))
    assert ["2018-03-09", "2018-03-12"] == frame.index.strftime("%F").tolist() and frame.index.tz is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        ("date,close\n", "header and no rows"),
        ("date\n2018-01-02\n", "line 1, has one field"),
        ("\n\n\n", "line 1, has one field"),
        ("date,close\n2018-01-02,2\n2018-01-03,3,4\n", "line 3, has 3 fields where the header has 2"),
        ("date,close,volume\n2018-01-02,2,5\n2018-01-03,3\n", "line 3, has 2 fields where the header has 3"),
        ('date,close\n2018-01-02,2\n2018-01-03,"3\n', "line 3, opens a quote"),
        ("date,close\n2018-01-02,2\n\nsoon,3\n", "line 4, has no date in the column 'date' but 'soon'"),
        ("date,close\n2018-01-02,2\n,3\n", "line 3, has no date"),
        (
            "date,close\n2018-02-30,2\n2018-03-01,2\n",
            "line 2, has no date in the column 'date' but '2018-02-30'",
        ),
        ("price,close\n2,2\n3,3\n", "line 2, has no date in the column 'price'"),
        ("date,close\n2018-01-02,2\n2018-01-03,3\n2018-01-02,4\n", "2018-01-02 twice, in line 2 and line 4"),
        ("date,close\n2018-01-02,2\n2018-01-03,3x\n", "'close' .*line 3, says '3x'"),
        ("date,close\n2018-01-02,2\n2018-01-03,inf\n", "'close' .*line 3, says 'inf'"),
        ("date,close\n2018-01-02,\n2018-01-03,\n", "'close' .*is empty"),
        (
            "date,note\n2018-01-02,a\n2018-01-03,b\n",
            r"no column that is surely the price \(it has date, note\)",
        ),
        ("date,bid,ask\n2018-01-02,2,3\n2018-01-03,2,3\n", "no column that is surely the price"),
        ("date,Close,close\n2018-01-02,2,3\n", "two columns named 'close'"),
        (b"date,close\n2018-01-02,2\r2018-01-03,3\n", "line 2, holds a bare carriage return"),
        (b"date,close\n2018-01-02,2\n\x00\x01\x02,3\n", "line 3, holds binary data"),
        ("date,close\n2018-01-02,2\n".encode("utf-16"), "line 1, holds binary data"),
        ("date,close,n\n2018-01-02,2,a\n2018-01-03,3,caf\u00e9\n".encode("latin-1"), "line 3, is not UTF-8"),
        (gzip.compress(b"date,close\n2018-01-02,2\n", mtime=0), "line 1, (is not UTF-8|holds binary data)"),
        (b"a," * 40_000 + b"b\n1\n", "line 1, is longer than 65,536 bytes"),
        (b"a," * 2_000 + b"b\n", "2,001 columns, more than"),
        (b"PAR1" + bytes(61), "damaged parquet"),
        (os.urandom(4099), "prices.csv"),
    ],
)
def test_a_damaged_file_gets_one_sentence(written, content, words):
    """The file is named, the line where there is one, and the sentence is one line."""
    with pytest.raises(InputError, match=words) as caught:
        load(csv=written(content))
    assert "prices.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_of_endless_cells_is_refused(written):
    """A small file of very many cells is counted before pandas is given it."""
    with pytest.raises(InputError, match="9,001 rows of 950 columns"):
        load(csv=written(b"," * 949 + (b"\n" + b"," * 949) * 9_000))


def test_a_huge_file_is_refused_unread(tmp_path):
    """Its size alone is enough; the file here has no content on disk."""
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(InputError, match=r"huge.csv has 128 MiB, more than"):
        load(csv=path)


def test_what_is_no_file_is_refused(tmp_path):
    """A missing file, a folder, a pipe that would never end, and an impossible name."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for path, words in (
        (tmp_path / "absent.csv", "absent.csv cannot be read .No such file"),
        (tmp_path, "is a folder"),
        (pipe, "is no regular file"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(InputError, match=words):
            load(csv=path)


def test_formulas_and_code_are_text(written, tmp_path):
    """What a spreadsheet or an interpreter would run is read as an unreadable price."""
    for cell in ("=2+3", "__import__('os')", "@SUM(1)"):
        with pytest.raises(InputError, match="a plain number"):
            load(csv=written(f'date,close\n2018-01-02,2\n2018-01-03,"{cell}"\n'))


def table():
    return pd.DataFrame({"Date": days("%F"), "Close": np.arange(29.0), "Note": "x"})


@pytest.mark.parametrize("form", ["text", "timestamp", "zoned", "index"])
def test_parquet_reads_as_csv_does(tmp_path, form):
    """Dates as text, as timestamps, with a zone, or as the index: the frame is the same."""
    expected = table()
    if form in ("timestamp", "index"):
        expected["Date"] = pd.to_datetime(expected["Date"])
    if form == "zoned":
        expected["Date"] = pd.to_datetime(expected["Date"]).dt.tz_localize("America/New_York")
    if form == "index":
        expected = expected.set_index("Date")
    path = tmp_path / "prices.parquet"
    expected.to_parquet(path)
    frame = load(csv=path)
    assert days("%F").tolist() == frame.index.strftime("%F").tolist()
    assert list(range(29)) == frame["close"].tolist() and ["close"] == list(frame)


def test_a_truncated_parquet_file_is_refused(tmp_path):
    """Half a file is named as damaged."""
    path = tmp_path / "prices.parquet"
    table().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="prices.parquet is a damaged parquet file"):
        load(csv=path)


def test_a_parquet_file_that_unfolds_is_refused(tmp_path):
    """Nine million equal rows are a few kilobytes on disk; they are counted before they are read."""
    path = tmp_path / "bomb.parquet"
    pd.DataFrame({"date": np.zeros(9_000_000, "int8"), "close": np.zeros(9_000_000, "int8")}).to_parquet(path)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="9,000,000 rows of 2 columns"):
        load(csv=path)
