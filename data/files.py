"""Prices from a local CSV or parquet file that somebody else made."""

import os
import re
import stat
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.preprocess import InputError

LARGEST = 128 * 2**20  # bytes; a century of daily prices of a hundred stocks is 40 MB
LONGEST_LINE = 2**16
MOST_COLUMNS = 1000
MOST_CELLS = 2**23

DATE_NAMES = ("date", "datetime", "time", "timestamp", "day")
PRICE_NAMES = ("adj_close", "adjusted_close", "close", "close_last", "price", "value")

# ISO first: it alone is never ambiguous. Where two readings of a whole column differ, the file is refused.
DATE_FORMATS = (
    "ISO8601",
    "%Y/%m/%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
)


def load_file(path: str | PathLike[str]) -> pd.DataFrame:
    """Prices of a CSV or parquet file; see `data.load` for the frame.

    The dates are the column named date, datetime, time, timestamp or day, else the first. The price is the
    column named adj_close, adjusted_close, close, close_last, price or value, the first of these that exists,
    else the only numeric one; it becomes `close`, and another `close` becomes `raw_close`. Columns of text
    are left out. CSV is UTF-8 with `,`, `;` or tabs between the fields.

    Raises InputError naming the file, the line where there is one, and what was wanted, for whatever is not
    such a file; nothing in the file is executed, and none above 128 MiB is read.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "gold.csv").write_text("Date,Price\\n2018-01-02,1316.1\\n2018-01-03,1318.5\\n")
    ...     load_file(Path(folder, "gold.csv"))["close"].tolist()
    [1316.1, 1318.5]
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a folder: name a CSV or parquet file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is no regular file: name a CSV or parquet file.")
        if status.st_size == 0:
            raise InputError(f"{path} is empty: a table with a date column and a price column is wanted.")
        if status.st_size > LARGEST:
            raise InputError(
                f"{path} has {status.st_size / 2**20:,.0f} MiB, more than the {LARGEST >> 20} that are read: "
                "keep the columns and years you need."
            )
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        table, first_line = (_read_parquet(path), None) if parquet else (_read_csv(path), 2)
    except (OSError, ValueError) as error:  # a path with a NUL byte is a ValueError
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read ({reason}): name a CSV or parquet file.") from error
    frame = _prices(table, path, first_line)
    frame.attrs = {"name": path.stem, "title": path.stem, "source": os.fspath(path), "terms": "a local file"}
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    """The cells as text, blank lines as empty rows, so that row r stands on line r + 2."""
    separator = _check_lines(path)
    try:
        return pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            index_col=False,
            encoding="utf-8-sig",
            compression=None,  # a small archive can hold an endless file
            skip_blank_lines=False,
            skipinitialspace=True,
            na_values=".",  # as FRED writes it
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is no CSV table ({reason}): a header and a row a day are wanted."
        ) from error


def _check_lines(path: Path) -> str:
    """Refuse, line by line, what would fill the memory or be misread in silence; return the separator."""
    wanted = "a CSV table in UTF-8 text is wanted"
    separator, fields, number = b",", 0, 0
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if b"\0" in line:
                raise InputError(f"{path}, line {number}, holds binary data: {wanted}.")
            if len(line) > LONGEST_LINE:
                raise InputError(f"{path}, line {number}, is longer than {LONGEST_LINE:,} bytes: {wanted}.")
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise InputError(f"{path}, line {number}, is not UTF-8: {wanted}.") from error
            if b"\r" in line.rstrip(b"\r\n"):  # a line break to pandas, and none to anybody who counts lines
                raise InputError(f"{path}, line {number}, holds a bare carriage return: {wanted}.")
            if b'"' in line:  # within quotes a separator is text
                line = re.sub(rb'"[^"]*"', b"_", line)
                if b'"' in line:
                    raise InputError(
                        f"{path}, line {number}, opens a quote that it does not close: {wanted}."
                    )
            if number == 1:
                separator = max((b",", b";", b"\t"), key=line.count)
                fields = line.count(separator) + 1
            elif line.strip() and line.count(separator) + 1 != fields:
                raise InputError(
                    f"{path}, line {number}, has {line.count(separator) + 1} fields where the header has "
                    f"{fields}: mend or remove the line."
                )
    if fields == 1:
        raise InputError(f"{path}, line 1, has one field: a header such as `date,close` is wanted.")
    _check_size(path, number, fields)
    return separator.decode()


def _check_size(path: Path, rows: int, columns: int) -> None:
    if columns > MOST_COLUMNS or rows * columns > MOST_CELLS:
        raise InputError(
            f"{path} has {rows:,} rows of {columns:,} columns, more than {MOST_CELLS:,} cells or "
            f"{MOST_COLUMNS:,} columns: keep those you need."
        )


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"{path} is parquet, which wants pyarrow: type `pip install pyarrow`.") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            names = [name for name in schema.names if _is_plain(schema.field(name).type)]
            _check_size(path, rows, len(schema.names))
        # Text stays coded by its distinct values: written out, a small file can fill the memory.
        texts = [name for name in names if _is_text(schema.field(name).type)]
        with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
            return file.read(columns=names).to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is a damaged parquet file ({reason}): write it again.") from error


def _is_text(kind) -> bool:
    import pyarrow

    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)


def _is_plain(kind) -> bool:
    import pyarrow

    types = pyarrow.types
    return (
        _is_text(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_timestamp(kind)
        or types.is_date(kind)
    )


def _prices(table: pd.DataFrame, path: Path, first_line: int | None) -> pd.DataFrame:
    """Dates into the index, numbers into float64 columns, the price into `close`."""

    def place(row: int) -> str:
        return f"line {row + first_line}" if first_line else f"row {row + 1}"

    table = table.dropna(how="all")
    table.columns = [re.sub(r"[^0-9a-z]+", "_", str(name).lower()).strip("_") for name in table.columns]
    doubled = table.columns[table.columns.duplicated()]
    if len(doubled):
        raise InputError(f"{path} has two columns named {doubled[0]!r}: rename one.")
    if table.empty:
        raise InputError(f"{path} has a header and no rows: one row a day is wanted.")

    date_name = next((name for name in DATE_NAMES if name in table), table.columns[0])
    dates = _dates(table[date_name], date_name, path, place)
    numbers = {}
    for name in table.columns.drop(date_name):
        if table[name].notna().any() and (column := _numbers(table[name])) is not None:
            numbers[name] = column
    price = next((name for name in PRICE_NAMES if name in table and name != date_name), None)
    if price is None and len(numbers) == 1:
        price = next(iter(numbers))
    if price is None:
        raise InputError(
            f"{path} has no column that is surely the price (it has {', '.join(table.columns[:20])}): name "
            "one `close`."
        )
    if price not in numbers:
        parsed = pd.to_numeric(table[price].astype(str), errors="coerce")
        wrong = table[price][table[price].notna() & ~np.isfinite(parsed)]
        found = f"{place(wrong.index[0])}, says {str(wrong.iloc[0])[:40]!r}" if len(wrong) else "is empty"
        raise InputError(
            f"The price column {price!r} of {path}, {found}: a plain number such as 1234.5 is wanted."
        )

    frame = pd.DataFrame(numbers, dtype=float)
    if price != "close":
        frame = frame.rename(columns={"close": "raw_close"}).rename(columns={price: "close"})
    frame.index = pd.DatetimeIndex(dates, name="date")
    return frame.sort_index()


def _numbers(column: pd.Series) -> pd.Series | None:
    """The column as float64, or None where a cell is no finite number."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(str).where(column.notna())
    try:
        numbers = pd.to_numeric(column).astype(float)
    except (ValueError, TypeError):
        return None
    return None if np.isinf(numbers).any() else numbers


def _dates(column: pd.Series, name: str, path: Path, place) -> pd.Series:
    """The column as naive dates, each once. Raises InputError, with the place, for any other."""
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = column.dt.tz_localize(None)
    else:
        text = column.astype(str).where(column.notna())
        # An exchange's own clock tells its trading day; the offset from UTC would move it.
        text = text.str.replace(r"(:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)$", r"\1", regex=True)
        text = text.where(text.str.len() >= 6)
        dates = _one_reading(text, name, path)
    wrong = dates.index[~dates.between("1700-01-01", "2200-01-01")]
    if len(wrong):
        raise InputError(
            f"{path}, {place(wrong[0])}, has no date in the column {name!r} but "
            f"{str(column[wrong[0]])[:40]!r}: write dates as 2014-12-31, in a column named `date`."
        )
    if dates.dt.normalize().is_unique:
        dates = dates.dt.normalize()
    again = dates.index[dates.duplicated()]
    if len(again):
        first = dates.index[dates == dates[again[0]]][0]
        raise InputError(
            f"{path} has the date {dates[again[0]]:%Y-%m-%d} twice, in {place(first)} and {place(again[0])}: "
            "keep one row a day."
        )
    return dates


def _one_reading(text: pd.Series, name: str, path: Path) -> pd.Series:
    best = None
    for form in DATE_FORMATS:
        dates = pd.to_datetime(text, format=form, errors="coerce")
        if best is None or dates.notna().sum() > best.notna().sum():
            best = dates
        elif best.notna().all() and dates.notna().all() and not dates.equals(best):
            raise InputError(
                f"The dates of {path} in the column {name!r} can be read month first or day first, beginning "
                f"with {text.iloc[0]!r}: write them as 2014-12-31."
            )
    return best
