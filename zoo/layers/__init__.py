"""Attention mechanisms as Keras layers: one published mechanism, one file."""

from zoo.layers.bahdanau import BahdanauAttention
from zoo.layers.luong import LuongAttention

__all__ = ["BahdanauAttention", "LuongAttention"]
