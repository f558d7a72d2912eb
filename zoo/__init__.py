"""Attention Zoo: use, see and question attention.

Everything is loaded when it is first used, so that `import zoo` costs no backend.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "AttentionLogger": "zoo.attention_logger",
    "AttentionMap": "zoo.attention_map",
    "Axis": "zoo.attention_map",
    "attend": "zoo.capture",
}
_ROOMS = ("analysis", "capture", "layers", "models", "plot", "preprocess", "summary")

__all__ = [*_HOME, *_ROOMS]


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _ROOMS:
        return import_module(f"zoo.{name}")
    raise AttributeError(f"zoo has no {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return sorted([*globals(), *__all__])
