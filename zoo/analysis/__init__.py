"""Questions to attention maps: NumPy in, NumPy out."""

from zoo.analysis.statistics import entropy, mean_distance, padding_mass, sink

__all__ = ["entropy", "mean_distance", "padding_mass", "sink"]
