"""What happens to weights between the softmax and the values: cast, masked, scaled, dropped out, transposed.

Every function gets the recorder and Keras' own function first, calls it, and lets its result carry the mark.
"""

from zoo.capture.contraction import substituted
from zoo.capture.marks import as_logit, as_matrix, carry, is_logit, is_matrix, is_tensor, marked, reported

# --- Element by element ---


def kept(recorder, original, *args, **kwargs):
    """cast, where, divide: still the weights."""
    operands = [*args, *kwargs.values()]
    position, mark = marked(recorder, operands)
    result = original(*args, **kwargs)
    if mark is None:
        if is_matrix(recorder, operands[0]):
            as_matrix(recorder, result)
        return _logits(recorder, operands, result)
    if getattr(result, "shape", None) == operands[position].shape:
        carry(recorder, mark, result, **reported(mark, result, mark.axis))
    return result


def logits(recorder, original, x, *args, **kwargs):
    """Functions of one tensor: outputs of a weight matrix stay such, also the largest of them."""
    result = original(x, *args, **kwargs)
    if is_logit(recorder, x):
        as_logit(recorder, result[0] if isinstance(result, (list, tuple)) else result)
    return result


def added(recorder, original, *args, **kwargs):
    """A bias added to logits."""
    return _logits(recorder, [*args, *kwargs.values()], original(*args, **kwargs))


def multiplied(recorder, original, x1, x2):
    """Another factor of the weights, or the first half of Σ_j a_j v_j: the sum that follows will tell."""
    position, mark = marked(recorder, (x1, x2))
    if mark is None:
        return _logits(recorder, (x1, x2), original(x1, x2))
    weights, other = ((x1, x2), (x2, x1))[position]
    factors = mark.factors + is_tensor(other)
    known = recorder.summed.get(recorder.next_name(mark.owner[0]))
    if mark.axis is not None and not mark.grown and (_grows(weights, other) or known == factors):
        mark, weights = substituted(recorder, mark, weights)
    result = original(*((weights, other), (other, weights))[position])
    if not hasattr(result, "shape"):
        return result
    values = mark.values if mark.grown else (mark.weights, mark.keys)
    if result.shape == weights.shape:
        changes = reported(mark, result, mark.axis) | {"factors": factors}
        return carry(recorder, mark, result, values=values if is_tensor(other) else mark.values, **changes)
    return carry(recorder, mark, result, values=values, grown=True)


def dropout(recorder, original, inputs, *args, **kwargs):
    """Weights are reported as they were before."""
    _, mark = marked(recorder, (inputs,))
    result = original(inputs, *args, **kwargs)
    return result if mark is None else carry(recorder, mark, result, dropped=True)


def repeated(recorder, original, x, *args, **kwargs):
    """repeat, tile, broadcast_to: the same weights several times."""
    _, mark = marked(recorder, (x,))
    result = original(x, *args, **kwargs)
    if mark is None or len(result.shape) != len(x.shape):
        return result
    return carry(recorder, mark, result, values=mark.values or (mark.weights, mark.keys), grown=True)


def _logits(recorder, operands, result):
    """Outputs of a weight matrix with a bias, a scale, noise or a mask are such."""
    shape = getattr(result, "shape", None)
    if any(is_logit(recorder, x) and x.shape == shape for x in operands):
        as_logit(recorder, result)
    return result


def _grows(weights, other):
    if not is_tensor(other):
        return False
    pairs = zip(reversed(weights.shape), reversed(other.shape), strict=False)
    return len(other.shape) > len(weights.shape) or any(a == 1 and b != 1 for a, b in pairs)


# --- Axes ---


def moved(goes_to):
    """A hook; `goes_to(keys, x, result, *args, **kwargs)` is where the keys' axis goes, None if nowhere."""

    def hook(recorder, original, x, *args, **kwargs):
        _, mark = marked(recorder, (x,))
        result = original(x, *args, **kwargs)
        if mark is None:
            return result
        keys = None if mark.axis is None else goes_to(mark.axis % len(x.shape), x, result, *args, **kwargs)
        axis = None if keys is None else keys - len(result.shape)
        return carry(recorder, mark, result, **reported(mark, result, axis))

    return hook


def _transposed(keys, x, result, axes=None):
    order = range(len(x.shape))[::-1] if axes is None else axes
    return [axis % len(x.shape) for axis in order].index(keys)


def _swapped(keys, x, result, axis1, axis2):
    one, other = axis1 % len(x.shape), axis2 % len(x.shape)
    return {one: other, other: one}.get(keys, keys)


def _axis_moved(keys, x, result, source, destination):
    if not (isinstance(source, int) and isinstance(destination, int)):
        return None
    order = [axis for axis in range(len(x.shape)) if axis != source % len(x.shape)]
    order.insert(destination % len(x.shape), source % len(x.shape))
    return order.index(keys)


def _expanded(keys, x, result, axis):
    if not isinstance(axis, int):
        return None
    return keys + (axis % len(result.shape) <= keys)


def _indexed(keys, x, result, index):
    """`w[..., None]`, or a part of the weights, as where an attention sink is cut off."""
    index = list(index) if isinstance(index, tuple) else [index]
    if any(one is not None and one is not Ellipsis and not isinstance(one, int | slice) for one in index):
        return None
    used = sum(one is not None and one is not Ellipsis for one in index)
    rest = [slice(None)] * (len(x.shape) - used)
    at = index.index(Ellipsis) if Ellipsis in index else len(index)
    index[at : at + 1] = rest
    axis = place = 0
    for one in index:
        if one is None:
            place += 1
            continue
        if axis == keys:
            return None if isinstance(one, int) else place
        axis += 1
        place += not isinstance(one, int)
    return None


def _squeezed(keys, x, result, axis=None):
    gone = [i for i, size in enumerate(x.shape) if size == 1] if axis is None else axis
    gone = [one % len(x.shape) for one in ([gone] if isinstance(gone, int) else gone)]
    return None if keys in gone else keys - sum(one < keys for one in gone)


def _reshaped(keys, x, result, *args, **kwargs):
    """The axis of as many keys with as many numbers before it, or after it, as there were."""
    old, new = list(x.shape), list(result.shape)
    for i, size in enumerate(new):
        if size == old[keys] and (_same(new[:i], old[:keys]) or _same(new[i + 1 :], old[keys + 1 :])):
            return i
    return None


def _same(sizes, others):
    if [one for one in sizes if one != 1] == [one for one in others if one != 1] and None not in sizes:
        return True
    return None not in sizes and None not in others and _product(sizes) == _product(others)


def _product(sizes):
    total = 1
    for size in sizes:
        total *= size
    return total


def reshape(recorder, original, x, *args, **kwargs):
    """Weights keep their keys where these are still an axis; logits remain logits where theirs is split."""
    result = moved(_reshaped)(recorder, original, x, *args, **kwargs)
    if is_logit(recorder, x):
        old, new = x.shape[-1], result.shape[-1]
        if isinstance(old, int) and isinstance(new, int) and new > 1 and old % new == 0:
            as_logit(recorder, result)
    return result


transpose = moved(_transposed)
swapaxes = moved(_swapped)
moveaxis = moved(_axis_moved)
expand_dims = moved(_expanded)
squeeze = moved(_squeezed)
getitem = moved(_indexed)
