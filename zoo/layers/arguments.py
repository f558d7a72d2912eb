"""What a caller can get wrong, said in one sentence each."""

import math
from numbers import Integral, Real

from keras import ops

# Where JAX traces, a tensor keeps its mask elsewhere than in an attribute.
from keras.src.backend import get_keras_mask


def positive_integer(owner, name, value):
    """`value` as an int, if it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{owner} got {name}={value!r}; pass a whole number of at least 1.")
    return int(value)


def non_negative(owner, name, value, below=None):
    """`value`, if it is a number of at least 0 and, where there is a bound, below that."""
    if not isinstance(value, Real) or not 0 <= value < (math.inf if below is None else below):
        wanted = "0 or more" if below is None else f"a number from 0 to below {below}"
        raise ValueError(f"{owner} got {name}={value!r}; pass {wanted}.")
    return value


def one_of(owner, name, value, choices):
    """`value`, if it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{owner} got {name}={value!r}; pass one of {', '.join(map(repr, choices))}.")
    return value


def divisor(owner, name, value, of, total):
    """`value`, if it divides `total`."""
    if total % value:
        raise ValueError(f"{owner} got {name}={value} and {total} {of}; pass a {name} that divides them.")
    return value


def feature_map(owner, shape):
    """`shape` as a tuple, if it is that of a feature map of known depth."""
    shape = tuple(shape)
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"{owner} got an input of shape {shape}; pass a feature map of shape (batch, rows, columns, "
            "channels), its channels known."
        )
    return shape


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
    if not (fit(query[:1], value[:1]) and fit(query[:1], key[:1])):
        raise ValueError(
            f"{owner} got a query of shape {query} and a value of shape {value}{_and_key(shapes)}; "
            "pass inputs of one batch size."
        )
    if not fit(value[:2], key[:2]):
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
        mask = [get_keras_mask(tensor) for tensor in inputs]
    if not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3):
        raise ValueError(f"{owner} got a mask that is not a list of two; pass mask=[query_mask, value_mask].")
    for name, shape, one in zip(("query", "value", "key"), shapes, mask, strict=False):
        check_mask(owner, f"{name} mask", one, f"a {name}", shape)
    return query, value, key, _valid(query, mask[:1]), _valid(value, mask[1:])


def check_mask(owner, name, mask, of, shape):
    """Check that a mask, if there is one, has the shape of its tensor `of`, but for the depth."""
    shape = tuple(shape)
    found = tuple(mask.shape) if hasattr(mask, "shape") else None
    if mask is None or (found is not None and len(found) == len(shape) - 1 and fit(found, shape[:-1])):
        return
    got = f"of shape {found}" if found is not None else f"of type {type(mask).__name__}"
    raise ValueError(f"{owner} got a {name} {got} for {of} of shape {shape}; pass one of shape {shape[:-1]}.")


def check_depth(owner, name, shape, built):
    """Check that an input has the depth that the layer was built for."""
    if shape[-1] != built:
        raise ValueError(
            f"{owner} got a {name} of shape {tuple(shape)} and was built for a depth of {built}; pass that "
            "depth, or make another layer."
        )


def _valid(tensor, masks):
    valid = ops.ones_like(tensor[:, :, 0], dtype="bool")
    for mask in masks:
        if mask is not None:
            valid = ops.logical_and(valid, ops.cast(mask, "bool"))
    return valid


def fit(sizes, others):
    """Whether sizes agree, pair by pair; None, unknown before the call, agrees with any."""
    return all(None in pair or pair[0] == pair[1] for pair in zip(sizes, others, strict=True))


def _and_key(shapes):
    return f" and a key of shape {shapes[2]}" if len(shapes) == 3 else ""


def series(owner, shape):
    """`shape` as a tuple, if it is that of one series of known depth."""
    shape = tuple(shape) if hasattr(shape, "__len__") else (shape,)
    if len(shape) != 3 or any(isinstance(size, (list, tuple)) for size in shape) or shape[-1] is None:
        raise ValueError(
            f"{owner} got an input of shape {shape}; pass one tensor of shape (batch, length, depth), its "
            "depth known."
        )
    return shape


def series_mask(owner, inputs, mask):
    """The mask of one series as booleans `(batch, length)`, or None."""
    several = isinstance(inputs, (list, tuple))
    shape = series(owner, [tuple(x.shape) for x in inputs] if several else inputs.shape)
    check_mask(owner, "mask", mask, "an input", shape)
    return None if mask is None else ops.cast(mask, "bool")
