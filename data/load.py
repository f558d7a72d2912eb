"""The one door to prices, wherever they come from."""

from os import PathLike

import pandas as pd

from data.files import load_file
from data.series import load_series
from data.tickers import load_ticker
from zoo.preprocess import InputError


def load(
    series: str | None = None,
    *,
    ticker: str | None = None,
    csv: str | PathLike[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    refresh: bool = False,
) -> pd.DataFrame:
    """Daily prices of a packaged series, a ticker, or a CSV or parquet file; exactly one of the three.

    Rows are dates (naive, sorted, unique, index "date") from `start` to `end`, both inclusive ("2014" means
    all of it). Columns are float64 in lower snake case, `close` always among them; missing cells stay NaN.
    `frame.attrs` says `name`, `title`, `source` and `terms` (what is known of the data's licence).
    `refresh` downloads a ticker anew instead of reading the cache.

    Raises InputError, one sentence, for an unknown or missing series, a ticker without prices, a file that
    cannot be read, and an empty range.

    >>> load("sp500", start="2018", end="2018")["close"].iloc[[0, -1]].tolist()
    [2695.810059, 2506.850098]
    """
    given = [source for source in (series, ticker, csv) if source is not None]
    if len(given) != 1:
        raise InputError(
            f"{len(given) or 'No'} sources of prices were given: name one series, one ticker or one file, as "
            "in `--series sp500`."
        )
    if csv is not None:
        frame = load_file(csv)
    elif ticker is not None:
        frame = load_ticker(ticker, refresh=refresh)
    else:
        frame = load_series(series)

    try:
        chosen = frame.loc[start:end]
    except (ValueError, TypeError) as error:
        raise InputError(f"{start or ''}:{end or ''} is no range of dates: write 2014-12-31.") from error
    if chosen.empty:
        raise InputError(
            f"{frame.attrs['name']} has no prices from {start or 'its beginning'} to {end or 'its end'}: it "
            f"runs from {frame.index[0]:%Y-%m-%d} to {frame.index[-1]:%Y-%m-%d}."
        )
    chosen.index = chosen.index.as_unit("ns")
    chosen.attrs = frame.attrs
    return chosen
