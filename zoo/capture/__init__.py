"""Reading the attention of Keras models without editing them."""

from zoo.capture.attend import attend

__all__ = ["attend"]
