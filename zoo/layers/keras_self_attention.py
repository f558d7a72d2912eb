"""Weights of models that were trained with the package keras-self-attention."""


def convert_keras_self_attention_weights(theirs, ours):
    """Copy the weights of a keras-self-attention layer, or of a whole model with such layers, into ours.

    Weights are taken in order, and must agree in name and shape; a layer's own name may differ, and is no
    part of a weight's name here (`my_attention_Add_Wt` is `Add_Wt`).

    Args:
        theirs: a built layer of the package, or a built Keras model that holds some.
        ours: the layer of the same arguments from `zoo.layers`, or the same model made with such layers, also
            built. Pass `legacy_masking=True` to them for the package's numbers where something is masked.

    Raises:
        ValueError: not two layers or models; a layer that is not built; another number of weights; a
            name or a shape that differs. Nothing is copied then.

    >>> import numpy as np
    >>> from zoo.layers import SeqWeightedAttention
    >>> theirs, ours = SeqWeightedAttention(name="first"), SeqWeightedAttention(name="second")
    >>> for layer in theirs, ours:
    ...     layer.build((None, None, 3))
    >>> convert_keras_self_attention_weights(theirs, ours)
    >>> bool(np.all(theirs.get_weights()[0] == ours.get_weights()[0]))
    True
    """
    for layer in (theirs, ours):
        if not (hasattr(layer, "built") and hasattr(layer, "weights")):
            raise ValueError(
                f"convert_keras_self_attention_weights got {layer!r}; pass two built layers, or two built "
                "models, (theirs, ours)."
            )
        if not layer.built:
            raise ValueError(f"{layer.name} has no weights yet; call it on a batch first.")
    if len(theirs.weights) != len(ours.weights):
        raise ValueError(
            f"{theirs.name} has {len(theirs.weights)} weights and {ours.name} has {len(ours.weights)}; pass "
            "layers of the same arguments."
        )
    for one, other in zip(theirs.weights, ours.weights, strict=True):
        found, wanted = (_name(one), tuple(one.shape)), (_name(other), tuple(other.shape))
        if found != wanted:
            raise ValueError(
                f"{theirs.name} has a weight {found[0]} of shape {found[1]} where {ours.name} has "
                f"{wanted[0]} of shape {wanted[1]}; pass layers of the same arguments."
            )
    ours.set_weights(theirs.get_weights())


def _name(weight):
    """The name of a weight without that of its layer."""
    *_, layer, name = weight.path.split("/")
    return name.removeprefix(layer + "_")
