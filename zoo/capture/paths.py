"""Where a layer stands in its model: names that stay the same from call to call."""

import keras


def layer_paths(model):
    """`(path, layer)` of every layer below `model`; a shared layer keeps its first path, siblings differ.

    Keras' own `layer.path` will not do: it is the path of the layer's first call, wherever that was.

    >>> inner = keras.Sequential([keras.layers.Dense(2, name="a")], name="inner")
    >>> [path for path, _ in layer_paths(keras.Sequential([inner]))]
    ['inner', 'inner/a']
    """
    return list(_below(model, "", {id(model)}))


def _below(layer, above, seen):
    taken = set()
    for child in layer._layers:
        if id(child) in seen:
            continue
        seen.add(id(child))
        name, number = child.name, 1
        while name in taken:
            number += 1
            name = f"{child.name}_{number}"
        taken.add(name)
        path = f"{above}/{name}" if above else name
        yield path, child
        yield from _below(child, path, seen)


def owner(stack, paths):
    """Path and layer that attend, among the layers that are being called.

    The softmax of a `keras.layers.MultiHeadAttention` is a layer of its own, which belongs to it.
    """
    for layer in reversed(stack):
        path = paths.get(id(layer))
        if path is None:
            continue
        if isinstance(layer, (keras.layers.Softmax, keras.layers.Activation)) and "/" in path:
            path = path.rsplit("/", 1)[0]
            layer = next((one for one in stack if paths.get(id(one)) == path), None)
        return path, layer
    return "attention", None
