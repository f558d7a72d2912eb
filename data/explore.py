"""Write the pictures of a price series into a folder."""

from os import PathLike
from pathlib import Path

import pandas as pd

from data.figures import draw
from data.summary import process
from zoo.preprocess import InputError
from zoo.whole_file import whole_file


def explore(frame: pd.DataFrame, output: str | PathLike[str]) -> list[Path]:
    """Draw the five pictures into the folder `output`, made if need be, and return their paths.

    Each file appears whole or not at all. Raises InputError for what cannot be explored (see `process`) and
    for a folder that cannot be written.
    """
    explored, folder = process(frame), Path(output)
    paths = []
    for name, figure in draw(explored).items():
        path = folder / f"{name}.png"
        try:
            with whole_file(path) as unfinished:
                figure.savefig(unfinished, format="png", dpi=150)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(
                f"{path} cannot be written ({reason}): give another folder with --output."
            ) from error
        paths.append(path)
    return paths
