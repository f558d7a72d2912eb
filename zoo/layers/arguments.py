"""What a caller can get wrong, said in one sentence each."""

from numbers import Integral

from keras import ops


def positive_integer(owner, name, value):
    """`value` as an int, if it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{owner} got {name}={value!r}; pass a whole number of at least 1.")
    return int(value)


def one_of(owner, name, value, choices):
    """`value`, if it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{owner} got {name}={value!r}; pass one of {', '.join(map(repr, choices))}.")
    return value


def check_shapes(owner, shapes):
    """Check that `shapes` are those of [query, value] or [query, value, key], each `(batch, length, depth)`.

    Returns the shapes of query, value and key. A size of None, unknown before the call, fits any other.
    """
    wanted = "pass [query, value] or [query, value, key], each of shape (batch, length, depth)"
    if not isinstance(shapes, (list, tuple)) or not all(hasattr(shape, "__len__") for shape in shapes):
        raise ValueError(f"{owner} got one tensor where it wants a list; {wanted}.")
    shapes = [tuple(shape) for shape in shapes]
    if len(shapes) not in (2, 3) or any(len(shape) != 3 for shape in shapes):
        raise ValueError(f"{owner} got inputs of shapes {', '.join(map(str, shapes))}; {wanted}.")
    query, value, key = shapes[0], shapes[1], shapes[-1]
    if any(shape[-1] is None for shape in shapes):
        got = ", ".join(map(str, shapes))
        raise ValueError(f"{owner} got inputs of shapes {got}; pass inputs whose last size is known.")
    if not (_fit(query[:1], value[:1]) and _fit(query[:1], key[:1])):
        raise ValueError(
            f"{owner} got a query of shape {query} and a value of shape {value}{_and_key(shapes)}; "
            "pass inputs of one batch size."
        )
    if not _fit(value[:2], key[:2]):
        raise ValueError(
            f"{owner} got a value of shape {value} and a key of shape {key}; pass as many keys as values."
        )
    return query, value, key


def query_value_key(owner, inputs, mask):
    """Query, value, key, and boolean masks `(batch, queries)` and `(batch, keys)`, True if not given.

    Padding is a property of a position: a mask on the key counts for its value, and the other way round.
    """
    several = isinstance(inputs, (list, tuple))
    shapes = check_shapes(owner, [tensor.shape for tensor in inputs] if several else inputs.shape)
    query, value, key = inputs[0], inputs[1], inputs[-1]
    if mask is None:
        # Keras fills in the masks that inputs carry only where no other argument is a tensor.
        mask = [getattr(tensor, "_keras_mask", None) for tensor in inputs]
    if not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3):
        raise ValueError(f"{owner} got a mask that is not a list of two; pass mask=[query_mask, value_mask].")
    for name, shape, one in zip(("query", "value", "key"), shapes, mask, strict=False):
        if one is not None and not (len(one.shape) == 2 and _fit(tuple(one.shape), shape[:2])):
            raise ValueError(
                f"{owner} got a {name} mask of shape {tuple(one.shape)} for a {name} of shape {shape}; "
                f"pass one of shape {shape[:2]}."
            )
    return query, value, key, _valid(query, mask[:1]), _valid(value, mask[1:])


def _valid(tensor, masks):
    valid = ops.ones_like(tensor[:, :, 0], dtype="bool")
    for mask in masks:
        if mask is not None:
            valid = ops.logical_and(valid, ops.cast(mask, "bool"))
    return valid


def _fit(sizes, others):
    return all(None in pair or pair[0] == pair[1] for pair in zip(sizes, others, strict=True))


def _and_key(shapes):
    return f" and a key of shape {shapes[2]}" if len(shapes) == 3 else ""
