"""Layers whose weights no hook can see are asked for them: each family in its own words."""

import inspect

_READERS = {}


def register(layer_class, read):
    """Say how the weights of a layer are read where they are not found without help.

    A layer that follows Keras' convention, `call(..., return_attention_scores=False)`, needs no reader.

    Args:
        layer_class: the class, or its dotted name; its module need not be loaded.
        read: `read(call, *args, **kwargs)` returns the layer's outputs and its weights, `(batch, keys)`,
            `(batch, queries, keys)` or `(batch, heads, queries, keys)`; `call` is a call of the layer. For
            `replace` and gradients they must be the tensor that the layer goes on with, or a reshape of it.

    >>> import keras
    >>> class Mean(keras.layers.Layer):
    ...     def call(self, x):
    ...         return keras.ops.mean(x, axis=1)
    >>> register(Mean, lambda call, x: (call(x), keras.ops.full(x.shape[:2], 1 / x.shape[1])))
    """
    name = layer_class if isinstance(layer_class, str) else _name(layer_class)
    _READERS[name] = lambda layer, call, *args, **kwargs: read(call, *args, **kwargs)


def follows_convention(layer):
    """Whether a layer, not one of Keras' own, can be asked with `return_attention_scores=True`."""
    call = getattr(type(layer), "call", None)
    if getattr(call, "__module__", "").split(".")[0] in ("keras", "keras_hub"):
        return False
    return "return_attention_scores" in inspect.signature(layer.call).parameters


def reader(layer):
    """What reads a layer of a registered class; None for others."""
    names = (_name(cls) for cls in type(layer).__mro__)
    return next((_READERS[name] for name in names if name in _READERS), None)


def looks_like_attention(layer):
    """Whether a layer says that it attends: by a reader, its arguments or its name."""
    name = type(layer).__name__.lower()
    if reader(layer) is not None or ("attention" in name and "mask" not in name):
        return True
    return "return_attention_scores" in inspect.signature(layer.call).parameters


def _name(layer_class):
    return f"{layer_class.__module__}.{layer_class.__qualname__}"


# --- keras-self-attention: normalises by hand, and returns its weights where an attribute says so ---


def _keras_self_attention(layer, call, *args, **kwargs):
    asked = layer.return_attention
    layer.return_attention = True
    try:
        outputs, *between, weights = call(*args, **kwargs)
    finally:
        layer.return_attention = asked
    return ([outputs, *between, weights] if asked else [outputs, *between] if between else outputs), weights


for _class in (
    "seq_self_attention.SeqSelfAttention",
    "seq_weighted_attention.SeqWeightedAttention",
    "scaled_dot_attention.ScaledDotProductAttention",
    "real_former.ResidualScaledDotProductAttention",
):
    _READERS[f"keras_self_attention.{_class}"] = _keras_self_attention
