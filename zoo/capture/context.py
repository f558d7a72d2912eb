"""The attention of a model, around the user's own calls of it."""

from numbers import Integral

import keras

from zoo.capture.findings import missing
from zoo.capture.hooks import recording
from zoo.capture.maps import Maps, to_map
from zoo.capture.recorder import Recorder, current, is_traced


class Capture:
    """`with zoo.capture(model) as seen:` what `model` attends to, each time it is called inside.

    After a call `seen.maps` is `{layer path: AttentionMap}` of that call, and `seen.weights` the same as
    tensors `(batch, heads, queries, keys)`. The model is left as it was; what it compiled for itself (`fit`,
    `predict`) stays untouched, so call the model itself: `model(x)`. Inside a compiled function of yours,
    open the context there and return `seen.weights`.

    Args:
        model: a built `keras.Model`.
        layers: paths to capture, as the maps name them (`mh`, and `mh#2` for a second call); all by default.
        heads, samples: which to keep, by number; all by default.
        resolution: at most so many queries and keys, a number or a pair. Larger maps are pooled (the
            mean over queries, the sum over keys), and those of fused attention never exist in full.
        exact: leave fused kernels in their place, for outputs that are the model's to the last bit, and
            compute the weights beside them.
        replace: `{path: f}`; `f(weights)` takes the place of the layer's weights, `(batch, heads, queries,
            keys)`. Those of a recurrent layer are the weights of all its steps as they were before.
        differentiable: compute the layer's output from `seen.weights`, so that gradients by them exist. The
            gradient by a pooled weight is that of its row's queries all changing by as much, shared evenly
            among its column's keys. Whole matrices exist then, whatever the resolution.

    A model whose weights are to be changed is called twice on inputs of new shapes: before, to learn what
    they meet.

    Raises:
        ValueError: a model that is not built or has no attention; an unknown path; heads, samples or a
            resolution that do not fit; weights replaced by others of another shape.

    >>> import numpy as np
    >>> x = keras.Input((5, 3))
    >>> model = keras.Model(x, keras.layers.MultiHeadAttention(2, 7, name="mh")(x, x))
    >>> with Capture(model, replace={"mh": keras.ops.zeros_like}) as seen:
    ...     y = model(np.ones((1, 5, 3), "float32"))
    >>> float(seen.maps["mh"].weights.max())
    0.0
    """

    def __init__(
        self,
        model,
        *,
        layers=None,
        heads=None,
        samples=None,
        resolution=None,
        exact=False,
        replace=None,
        differentiable=False,
    ):
        check_model(model)
        options = checked(layers, heads, samples, resolution, exact)
        self._arguments = options | {"replace": _functions(replace), "differentiable": bool(differentiable)}
        self._model, self._recorder, self._open = model, None, None

    def __enter__(self):
        if current.get() is not None:
            raise ValueError("A capture is open here already: leave it before you open the next.")
        self._recorder = Recorder(self._model, **self._arguments)
        self._open = recording(self._recorder)
        self._open.__enter__()
        return self

    def __exit__(self, *error):
        opened, self._open = self._open, None
        return opened.__exit__(*error)

    @property
    def weights(self):
        """`{path: tensor}` of the last call, float32 or as the layer computes them."""
        self._check_called()
        return {one.about["path"]: one.weights for one in self._recorder.entries if one.weights is not None}

    @property
    def missing(self):
        """`{path: why it has no map}` of the last call."""
        self._check_called()
        return missing(self._recorder)

    @property
    def maps(self):
        """`{path: AttentionMap}` of the last call."""
        self._check_called()
        if any(is_traced(tensor) for tensor in self.weights.values()):
            raise ValueError(
                "Inside a compiled function there are no numbers yet: return `seen.weights` from it instead "
                "of `seen.maps`."
            )
        entries = [entry for entry in self._recorder.entries if entry.weights is not None]
        found = {entry.about["path"]: to_map(entry.weights, entry.full, entry.about) for entry in entries}
        return Maps(found, self.missing)

    def _check_called(self):
        if self._recorder is None or not self._recorder.called:
            raise ValueError(
                f"No call of the model {self._model.name!r} was seen: call it inside the context as "
                "model(x); fit, predict and your compiled functions run without it, unless they open it."
            )


def check_model(model):
    """A built Keras model, or a sentence."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Attention is captured of a keras.Model; found {type(model).__name__}: wrap the layer in one."
        )
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built, so its layers do not exist yet: call it once on your "
            "data, model(x)."
        )


def checked(layers, heads, samples, resolution, exact):
    """The options of a `Recorder`, hashable."""
    paths, size = _several(layers), _several(resolution)
    if paths is not None and not (paths and all(isinstance(path, str) for path in paths)):
        raise ValueError(
            f"layers are paths as the maps name them; found {layers!r}: pass such as layers=['mh'], or leave "
            "them out for all."
        )
    if size is not None:
        size = size * 2 if isinstance(resolution, Integral) else size
        if len(size) != 2 or not _whole(size, 1):
            raise ValueError(
                "A resolution is a whole number of at least 1, or a pair of them; found "
                f"{resolution!r}: pass such as resolution=64, or (64, 32) for queries and keys."
            )
    chosen = {}
    for name, given in (("heads", heads), ("samples", samples)):
        numbers = _several(given)
        if numbers is not None and not (numbers and _whole(numbers, 0)):
            raise ValueError(
                f"{name} are whole numbers from 0 on; found {given!r}: pass such as {name}=[0, 2], or leave "
                "them out for all."
            )
        chosen[name] = numbers if numbers is None else tuple(map(int, numbers))
    return chosen | {
        "layers": paths,
        "resolution": None if size is None else tuple(map(int, size)),
        "exact": bool(exact),
    }


def _several(given):
    """One or several as a tuple; None if nothing was given."""
    if given is None:
        return None
    try:
        return (given,) if isinstance(given, str) else tuple(given)
    except TypeError:
        return (given,)


def _whole(numbers, least):
    return all(isinstance(n, Integral) and not isinstance(n, bool) and n >= least for n in numbers)


def _functions(replace):
    """`replace` as a dict of functions."""
    if replace is not None and not (isinstance(replace, dict) and all(map(callable, replace.values()))):
        raise ValueError(
            "What replaces weights is a function of them for each path; found "
            f"replace={replace!r}: pass such as replace={{'mh': keras.ops.zeros_like}}."
        )
    return dict(replace or {})
