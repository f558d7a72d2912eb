"""Weights of the layers here."""

import keras


def add_weight(layer, name, shape):
    """Add a weight drawn from `layer.kernel_initializer`.

    From a copy of it: an initializer without a seed returns the same numbers at every call, so two weights of
    one shape (W and U of additive attention) would start out equal.
    """
    initializer = layer.kernel_initializer
    if isinstance(initializer, keras.initializers.Initializer):
        initializer = initializer.clone()
    return layer.add_weight(name=name, shape=shape, initializer=initializer)
