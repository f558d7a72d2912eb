"""Look at prices from the command line.

python -m data list
python -m data explore sp500
python -m data explore --ticker ^GSPC --start 2000 --output pictures
python -m data explore --csv prices.csv
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence

from data import load, series_names
from data.explore import explore
from data.summary import process, summary
from zoo.preprocess import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 where it went well, 2 where the input was to blame."""
    parser = argparse.ArgumentParser(
        prog="python -m data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="the packaged series, one a line")
    look = commands.add_parser("explore", help="draw five pictures of a series and print a table")
    look.add_argument(
        "series", nargs="?", metavar="NAME", help=f"packaged series: {', '.join(series_names())}"
    )
    look.add_argument("--series", dest="option", metavar="NAME", help=argparse.SUPPRESS)
    look.add_argument("--ticker", help="any ticker of Yahoo! Finance, such as AAPL or ^GSPC; kept on disk")
    look.add_argument("--csv", metavar="FILE", help="a CSV or parquet file with a date and a price column")
    look.add_argument("--start", metavar="DATE", help="first day, such as 2015 or 2015-06-30")
    look.add_argument("--end", metavar="DATE", help="last day, itself included")
    look.add_argument("--refresh", action="store_true", help="download the ticker anew")
    look.add_argument("--output", metavar="DIR", help="folder of the pictures (default: explore/NAME)")
    given = parser.parse_args(arguments)

    if given.command == "list":
        for name, about in series_names().items():
            print(f"{name:12}{about}")
        return 0
    try:
        frame = load(
            given.series or given.option,
            ticker=given.ticker,
            csv=given.csv,
            start=given.start,
            end=given.end,
            refresh=given.refresh,
        )
        name = frame.attrs["name"]
        paths = explore(frame, given.output or f"explore/{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}")
        print(f"{name}: {frame.attrs['source']} ({frame.attrs['terms']})\n")
        for label, value in summary(process(frame)):
            print(f"  {label:40}{value}")
        print("\nPictures: " + ", ".join(str(path) for path in paths))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
