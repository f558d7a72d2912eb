"""Live prices of any ticker through yfinance, kept on disk with the date of their download."""

import logging
import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from zoo.preprocess import InputError
from zoo.whole_file import whole_file

TERMS = "Yahoo! Finance, for personal use"


def cache_folder() -> Path:
    """`$ATTENTION_ZOO_CACHE`, or ~/.cache/attention-zoo."""
    return Path(os.environ.get("ATTENTION_ZOO_CACHE") or Path.home() / ".cache" / "attention-zoo")


def load_ticker(ticker: str, *, refresh: bool = False) -> pd.DataFrame:
    """The whole daily history of a ticker, adjusted for splits and dividends; see `data.load` for the frame.

    The first call downloads it into `cache_folder()`, as TICKER.DATE.csv; later calls read that file,
    whatever its age, until `refresh` asks for a new one. `frame.attrs["source"]` tells the date of download.

    Raises InputError, naming the ticker and what can be typed instead, without a network, for a ticker that
    Yahoo! does not know, for a cached file that is damaged, and where the cache cannot be written.
    """
    symbol = ticker.strip().upper()
    if not re.fullmatch(r"[A-Z0-9^.=&_-]{1,40}", symbol):
        raise InputError(f"{ticker!r} is no ticker: write it as Yahoo! does, `AAPL` or `^GSPC`.")
    cached = _cached(symbol)
    if cached and not refresh:
        frame, path = _read(cached[-1], symbol), cached[-1]
    else:
        frame = _download(symbol, cached[-1] if cached else None)
        path = _write(frame, symbol)
    date = path.suffixes[-2].lstrip(".")
    frame.attrs = {
        "name": symbol,
        "title": symbol,
        "source": f"Yahoo! Finance, downloaded {date}",
        "terms": TERMS,
    }
    return frame


def _cached(symbol: str) -> list[Path]:
    """The symbol's files in the cache, oldest first."""
    dated = re.compile(re.escape(quote(symbol, safe="")) + r"\.\d{4}-\d\d-\d\d\.csv")
    folder = cache_folder()
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [folder / name for name in names if dated.fullmatch(name)]


def _read(path: Path, symbol: str) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, index_col="date", parse_dates=["date"])
        return frame.astype(float)[["open", "high", "low", "close", "volume"]]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"The cached prices of {symbol} in {path} are damaged: delete that file.") from error


def _write(frame: pd.DataFrame, symbol: str) -> Path:
    """Put the frame in the cache, whole or not at all, and remove the symbol's older files."""
    folder = cache_folder()
    path = folder / f"{quote(symbol, safe='')}.{datetime.now(UTC):%Y-%m-%d}.csv"
    try:
        with whole_file(path) as unfinished:
            frame.to_csv(unfinished)
    except OSError as error:
        raise InputError(
            f"The prices of {symbol} cannot be kept in {folder} ({error.strerror}): set ATTENTION_ZOO_CACHE "
            "to a folder that can be written."
        ) from error
    for older in _cached(symbol):
        if older != path:
            older.unlink(missing_ok=True)
    return path


def _download(symbol: str, cached: Path | None) -> pd.DataFrame:
    try:
        import yfinance
        from yfinance.exceptions import YFRateLimitError
    except ImportError as error:
        raise InputError(
            f"The ticker {symbol} wants yfinance, which is not installed: type `pip install yfinance`, or "
            "use `--series sp500` or `--csv FILE`."
        ) from error
    instead = "use `--series sp500` or `--csv FILE`"
    if cached:
        instead = f"leave the refresh out to use the prices kept in {cached}, or {instead}"
    unknown = f"Yahoo! has no prices for the ticker {symbol}: check its spelling, or {instead}."
    try:
        with _silent():
            raw = yfinance.Ticker(symbol).history(period="max", auto_adjust=True, actions=False)
    except Exception as error:  # whatever a library that reads other people's web pages can raise
        missing = getattr(getattr(error, "response", None), "status_code", None) == 404
        if missing or not isinstance(error, OSError | YFRateLimitError):
            raise InputError(unknown) from error
        raise InputError(
            f"The ticker {symbol} could not be downloaded from Yahoo! ({type(error).__name__}): check the "
            f"network, or {instead}."
        ) from error
    raw.columns = [str(name).lower().replace(" ", "_") for name in raw.columns]
    if "close" not in raw or raw["close"].isna().all():
        raise InputError(unknown)
    frame = raw[["open", "high", "low", "close", "volume"]].astype(float)
    frame.index = pd.DatetimeIndex(frame.index).tz_localize(None).normalize().rename("date")
    return frame[~frame.index.duplicated(keep="last")].sort_index()


@contextmanager
def _silent():
    """yfinance logs what it also returns as an empty frame: let it raise instead, and say nothing."""
    from yfinance.config import YfConfig

    logger, hidden = logging.getLogger("yfinance"), YfConfig.debug.hide_exceptions
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    YfConfig.debug.hide_exceptions = False
    try:
        yield
    finally:
        logger.setLevel(level)
        YfConfig.debug.hide_exceptions = hidden
