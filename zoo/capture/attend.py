"""The tap: a model's outputs, and the attention of its layers beside them."""

import inspect
from contextlib import contextmanager

import keras

from zoo.attention_map import AttentionMap


def attend(model, inputs, *, layers=None):
    """Run `model` on `inputs` (inference mode) and return `(outputs, {layer path: AttentionMap})`.

    Any layer that follows Keras' convention `call(..., return_attention_scores=False)` is read: ours,
    Keras' own `MultiHeadAttention`, `Attention` and `AdditiveAttention`, and anybody's. Where such a layer
    holds others, the outermost speaks for them; a layer called more than once is numbered (`name`,
    `name#2`). The model is left as it was.

    Args:
        model: a `keras.Model`.
        inputs: what `model` takes: arrays `(batch, ...)`.
        layers: a path or paths to read, as the result names them; all by default.

    Raises:
        ValueError: the model has no such layer, or none of the chosen name.

    >>> import keras, numpy as np, zoo
    >>> x = keras.Input((5, 3))
    >>> model = keras.Model(x, keras.layers.MultiHeadAttention(2, 7, name="mh")(x, x))
    >>> outputs, maps = zoo.attend(model, np.ones((1, 5, 3), "float32"))
    >>> maps["mh"]
    AttentionMap(layer='mh', samples=1, heads=2, queries=5 step, keys=5 step)
    """
    found = dict(_layers_with_scores(model))
    if not found:
        raise ValueError(
            f"The model {model.name!r} has no layer whose call takes return_attention_scores, so there is no "
            "attention to read."
        )
    layers = [layers] if isinstance(layers, str) else layers
    if not model.built:  # its first call makes its weights from symbols, which are no attention
        model(inputs, training=False)
    records = []
    with _tapped(found, records):
        outputs = model(inputs, training=False)
    maps, calls = {}, {}
    for path, scores in records:
        calls[path] = calls.get(path, 0) + 1
        name = path if calls[path] == 1 else f"{path}#{calls[path]}"
        maps[name] = AttentionMap(
            _four_axes(keras.ops.convert_to_numpy(keras.ops.cast(scores, "float32"))),
            layer=name,
            normalised=getattr(found[path], "normalised", True),
        )
    unknown = ", ".join(sorted(set(layers or ()) - set(maps)))
    if unknown:
        raise ValueError(
            f"The model {model.name!r} has no attention at {unknown}, only at {', '.join(maps)}."
        )
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs), {
        name: attention for name, attention in maps.items() if layers is None or name in layers
    }


def _layers_with_scores(layer, path="", seen=None):
    """`(path, layer)` of every layer below `layer` that can return its scores; an outer one hides its own."""
    seen = set() if seen is None else seen
    for child in layer._layers:
        if id(child) in seen:  # a shared layer keeps its first path
            continue
        seen.add(id(child))
        child_path = f"{path}/{child.name}" if path else child.name
        if "return_attention_scores" in inspect.signature(child.call).parameters:
            yield child_path, child
        else:
            yield from _layers_with_scores(child, child_path, seen)


@contextmanager
def _tapped(layers, records):
    """Inside, each call of these layers also appends `(path, scores)` to `records`."""

    def tap(path, call):
        def tapped(*args, return_attention_scores=False, **kwargs):
            outputs, scores = call(*args, return_attention_scores=True, **kwargs)
            records.append((path, scores))
            return (outputs, scores) if return_attention_scores else outputs

        return tapped

    for path, layer in layers.items():
        # Past Layer.__setattr__, which refuses changes to a built layer.
        object.__setattr__(layer, "call", tap(path, layer.call))
    try:
        yield
    finally:
        for layer in layers.values():
            object.__delattr__(layer, "call")


def _four_axes(scores):
    """`(batch, keys)` or `(batch, queries, keys)` as `(batch, heads, queries, keys)`."""
    if scores.ndim == 2:
        return scores[:, None, None]
    if scores.ndim == 3:
        return scores[:, None]
    return scores
