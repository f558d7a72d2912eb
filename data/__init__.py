"""Daily prices: packaged series, any ticker, or a local file, all as one kind of frame."""

from data.load import load
from data.series import series_names

__all__ = ["load", "series_names"]
