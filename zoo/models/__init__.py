"""Models built on `zoo.layers`: one model, one file, read from top to bottom as its figure."""

from zoo.models.lstm_forecaster import lstm_forecaster

__all__ = ["lstm_forecaster"]
