"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """A path beside `path` to write to, of the same suffix, which becomes `path` when the block ends well.

    Folders are made as needed. After an error, a full disk's too, `path` is what it was.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(f"{folder}/new/prices.csv") as unfinished:
    ...         _ = unfinished.write_text("date,close")
    ...     os.listdir(f"{folder}/new")
    ['prices.csv']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
