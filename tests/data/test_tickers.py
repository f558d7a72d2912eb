"""The way through yfinance; what a server would answer is put in at its `get`, for a test has no network."""

import logging
import os
import socket
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest import mock
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
import yfinance.data

from data import load
from zoo.preprocess import InputError

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # yfinance, under pandas 3.1

TODAY = f"{datetime.now(UTC):%Y-%m-%d}"
DAYS = pd.bdate_range("2018-01-01", periods=31)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Our cache and yfinance's own, both in an empty folder."""
    yfinance.set_tz_cache_location(str(tmp_path / "yfinance"))
    monkeypatch.setenv("ATTENTION_ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def symbol(request):
    """A symbol of the test's own: yfinance remembers answers by address."""
    return f"T{crc32(request.node.name.encode())}"


def answer(close):
    """What Yahoo! answers for a symbol with these closes."""
    opened = [
        int(day.timestamp()) for day in (DAYS + pd.Timedelta("9h30min")).tz_localize("America/New_York")
    ]
    quote = {name: list(close) for name in ("open", "high", "low", "close")} | {
        "volume": [1_000] * len(close)
    }
    meta = {
        "exchangeTimezoneName": "America/New_York",
        "validRanges": ["1d", "1mo", "max"],
        "instrumentType": "EQUITY",
        "currency": "USD",
    }
    adjusted = [{"adjclose": [value / 2 for value in close]}]
    result = {"meta": meta, "timestamp": opened, "indicators": {"quote": [quote], "adjclose": adjusted}}
    return {"chart": {"error": None, "result": [result]}}


NOT_FOUND = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found"}}}


def served(payload):
    """yfinance with `payload` for every question."""

    def get(self, url, params=None, timeout=30):
        return SimpleNamespace(text=str(payload), json=lambda: payload)

    return mock.patch.object(yfinance.data.YfData, "get", get)


def unplugged():
    """A real request that really fails: no name of a host can be resolved, no address reached."""
    return mock.patch.dict(
        os.environ, {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    )


def test_a_ticker_comes_adjusted_and_in_the_common_form(symbol):
    """Closes are those adjusted for splits and dividends, dates are naive days, the download is dated."""
    with served(answer(np.arange(10.0, 41.0))):
        frame = load(ticker=symbol)
    assert ["open", "high", "low", "close", "volume"] == list(frame)
    assert [5.0, 5.5] == frame["close"].iloc[:2].tolist()
    assert DAYS.strftime("%F").tolist() == frame.index.strftime("%F").tolist()
    assert frame.index.tz is None and "date" == frame.index.name
    assert (symbol, f"Yahoo! Finance, downloaded {TODAY}") == (frame.attrs["name"], frame.attrs["source"])


def test_the_second_call_reads_the_cache(symbol, cache):
    """With the network gone the same frame comes back, and a range can be cut from it."""
    with served(answer(np.linspace(10, 11, 31) ** 3)):
        first = load(ticker=symbol)
    assert [f"{symbol}.{TODAY}.csv"] == os.listdir(cache)
    with unplugged():
        pd.testing.assert_frame_equal(first, load(ticker=symbol.lower()), check_freq=False)
        assert 3 == len(load(ticker=symbol, start="2018-01-03", end="2018-01-05"))


def test_the_date_of_an_old_download_is_told(symbol, cache):
    """A cached file keeps the date in its name, whatever today is."""
    with served(answer(np.arange(10.0, 41.0))):
        load(ticker=symbol)
    (cache / f"{symbol}.{TODAY}.csv").rename(cache / f"{symbol}.2020-02-03.csv")
    assert "Yahoo! Finance, downloaded 2020-02-03" == load(ticker=symbol).attrs["source"]


def test_refreshing_replaces_the_cached_file(symbol, cache):
    """A refresh downloads anew and leaves one file."""
    with served(answer(np.arange(10.0, 41.0))):
        load(ticker=symbol)
    (cache / f"{symbol}.{TODAY}.csv").rename(cache / f"{symbol}.2020-02-03.csv")
    yfinance.data.YfData.cache_get.cache_clear()
    with served(answer(np.arange(20.0, 51.0))):
        assert 10.0 == load(ticker=symbol, refresh=True)["close"].iloc[0]
    assert [f"{symbol}.{TODAY}.csv"] == os.listdir(cache)


def test_refreshing_without_a_network_points_to_the_cache(symbol, cache):
    """The error names the file that is still there, and it is still there."""
    with served(answer(np.arange(10.0, 41.0))):
        load(ticker=symbol)
    with (
        unplugged(),
        pytest.raises(InputError, match=f"{symbol} could not .*leave the refresh out.*{TODAY}.csv"),
    ):
        load(ticker=symbol, refresh=True)
    assert 31 == len(load(ticker=symbol))


def test_without_a_network_there_is_one_sentence(symbol, caplog, capfd):
    """It names the ticker and the offline alternatives; nothing is logged or printed, nothing kept."""
    with unplugged(), caplog.at_level(logging.DEBUG), pytest.raises(InputError) as caught:
        load(ticker=symbol)
    sentence = str(caught.value)
    assert symbol in sentence and "--series sp500" in sentence and "--csv FILE" in sentence
    assert "\n" not in sentence
    assert [] == [record for record in caplog.records if record.name.startswith("yfinance")]
    assert ("", "") == capfd.readouterr()


def test_an_unknown_ticker_is_named(symbol, cache):
    """Yahoo!'s "not found" becomes one sentence, and leaves no file."""
    with (
        served(NOT_FOUND),
        pytest.raises(InputError, match=f"no prices for the ticker {symbol}: .*--series sp500.*--csv FILE"),
    ):
        load(ticker=symbol)
    assert not cache.exists()


def test_a_ticker_without_prices_is_no_empty_frame(symbol, cache):
    """A known symbol with an empty history is an error as well."""
    empty = answer([])
    empty["chart"]["result"][0]["timestamp"] = []
    with served(empty), pytest.raises(InputError, match=symbol):
        load(ticker=symbol)
    assert not cache.exists()


@pytest.mark.parametrize("ticker", ["", "A B", "../etc/passwd", "A/B", "A" * 41, "a\nb"])
def test_what_cannot_be_a_ticker_is_not_asked_for(ticker):
    """Paths and blanks never reach the cache or the network."""
    with (
        mock.patch.object(socket, "socket", side_effect=AssertionError),
        pytest.raises(InputError, match="no ticker"),
    ):
        load(ticker=ticker)


@pytest.mark.parametrize(
    "content", ["", "date,close\nsoon,2\n", "date,open,high,low,close,volume\n2018-01-02,a,b,c,d,e"]
)
def test_a_damaged_cache_is_named(symbol, cache, content):
    """The sentence says which file to delete."""
    cache.mkdir()
    (cache / f"{symbol}.2020-02-03.csv").write_text(content)
    with pytest.raises(InputError, match=f"{symbol}.2020-02-03.csv are damaged: delete that file"):
        load(ticker=symbol)


def test_a_cache_that_cannot_be_written_is_named(symbol, cache, monkeypatch):
    """A file where the folder should be is one sentence, and nothing is left behind."""
    cache.write_text("")
    with served(answer(np.arange(10.0, 41.0))), pytest.raises(InputError, match="set ATTENTION_ZOO_CACHE"):
        load(ticker=symbol)


def test_a_full_disk_leaves_no_half_written_file(symbol, cache):
    """When writing stops midway, the cache holds neither the file nor its beginning."""

    def stop(self, path):
        path.write_text("date,op")
        raise OSError(28, "No space left on device")

    with (
        served(answer(np.arange(10.0, 41.0))),
        mock.patch.object(pd.DataFrame, "to_csv", stop),
        pytest.raises(InputError, match="No space left on device"),
    ):
        load(ticker=symbol)
    assert [] == os.listdir(cache)


def test_without_yfinance_the_command_is_told(symbol):
    """The optional package is named with what installs it."""
    with (
        mock.patch.dict("sys.modules", {"yfinance": None}),
        pytest.raises(InputError, match="pip install yfinance"),
    ):
        load(ticker=symbol)
