"""In the place of `Layer.__call__`: who is being called, and who has to be asked."""

import inspect
import math
from contextlib import contextmanager, nullcontext

import keras
from keras import ops

from zoo.capture.changes import Passage, undone
from zoo.capture.families import follows_convention, reader
from zoo.capture.findings import check_found
from zoo.capture.recorder import current


def called(recorder, original, layer, *args, **kwargs):
    """In the place of `Layer.__call__`: remember who is called, and ask those who have to be asked."""
    tensors = keras.tree.flatten((args, kwargs))
    if any(keras.backend.is_keras_tensor(x) for x in tensors):
        return original(layer, *args, **kwargs)
    if recorder.idle:
        if layer is not recorder.model or not recorder.at_home():
            return original(layer, *args, **kwargs)
        recorder.forgotten = []
        shapes = tuple(tuple(getattr(x, "shape", ())) for x in tensors)
        if (recorder.replace or recorder.differentiable) and shapes not in recorder.tried:
            # Once in vain: where weights meet values of their own shape is known only afterwards.
            with recorder.one_call(_batch(tensors)), undone(recorder):
                original(layer, *args, **kwargs)
                recorder.conclude()
            recorder.tried.add(shapes)
        with recorder.one_call(_batch(tensors)):
            outputs = original(layer, *args, **kwargs)
            recorder.conclude()
            check_found(recorder)
            return outputs
    if isinstance(layer, keras.layers.TimeDistributed):
        with recorder.inside(layer), _heard(recorder, layer.layer):
            return original(layer, *args, **kwargs)
    with recorder.inside(layer):
        return _read(recorder, layer, lambda *a, **k: original(layer, *a, **k), args, kwargs)


def _read(recorder, layer, call, args, kwargs):
    path, read = recorder.paths.get(id(layer)), reader(layer)
    if path is None or not recorder.listens() or _is_below(recorder, path):
        return call(*args, **kwargs)
    if read is not None:
        context = {"training": kwargs.pop("training")} if "training" in kwargs else {}
        return _ask(
            recorder,
            layer,
            path,
            lambda: read(layer, lambda *a, **k: call(*a, **k, **context), *args, **kwargs),
        )
    if not follows_convention(layer):
        return call(*args, **kwargs)
    asks_itself = kwargs.get("return_attention_scores", False) or getattr(layer, "return_attention", False)
    speaks, axes = _speaks(layer), _axes(layer, args, kwargs)
    if id(layer) not in recorder.asked:
        with recorder.collected() as inside, recorder.speaking(path, layer) if speaks else nullcontext():
            outputs = call(*args, **kwargs)
        if _tells_all(speaks, inside, outputs[0] if asks_itself else outputs):
            for entry in inside:
                entry.about["axes"] = entry.about["axes"] or axes
            recorder.keep(inside)
            return outputs
        recorder.asked.add(id(layer))

    def ask():
        outputs, weights, *rest = results = call(*args, **kwargs | {"return_attention_scores": True})
        return (results if asks_itself else (outputs, *rest) if rest else outputs), weights

    # Weights that the caller or a loss also wants stay whole.
    wanted = asks_itself or getattr(layer, "attention_regularizer_weight", False)
    batch = None if wanted else _batch(keras.tree.flatten((args, kwargs)))
    return _ask(recorder, layer, path, ask, batch, axes)


def _tells_all(speaks, inside, outputs):
    """Whether what the hooks found is the layer's attention: one map, of as many queries as it answers."""
    if not speaks:
        return bool(inside)
    shape = tuple(getattr(outputs, "shape", None) or ())
    if len(inside) != 1 or None in shape[1:]:
        return False
    return inside[0].full[:1] in ((), (math.prod(shape[1:-1]),))


def _ask(recorder, layer, path, ask, batch=None, axes=None):
    speaker = recorder.speaker or (path, layer)
    changes = recorder.replaces(speaker[0])
    with recorder.asks(None if changes else batch):
        outputs, weights = _changed(recorder, speaker[0], ask) if changes else ask()
        shape, full = weights.shape, recorder.pooled_from
        if len(shape) > 4:
            recorder.miss(f"its weights have the shape {tuple(shape)}; a map has four axes", path)
        else:
            recorder.add(_four_axes(weights), *speaker, full=full, axes=axes)
    return outputs


def _changed(recorder, path, ask):
    """What a layer returns with other weights in it, and these."""
    with undone(recorder), recorder.passing(Passage()) as passage:
        _, weights = ask()
    origin = passage.origin(weights)
    if origin is None or len(weights.shape) > 4:
        recorder.problems.append(
            f"The weights that {recorder.next_name(path)} returns come from no operation of Keras that could "
            "return others, so nothing can take their place and no gradient passes; leave it out."
        )
        return ask()
    number, there, back = origin
    kept = []

    def change(result):
        weights = there(result)
        kept.append(recorder.replaced(_four_axes(weights), path))
        other = ops.cast(ops.reshape(kept[0], ops.shape(weights)), weights.dtype)
        return ops.cast(back(other), result.dtype)

    with recorder.passing(Passage(number, change)):
        outputs, _ = ask()
    return outputs, kept[0]


def _four_axes(weights):
    """`(batch, keys)` or `(batch, queries, keys)` as `(batch, heads, queries, keys)`."""
    rank = len(weights.shape)
    return weights if rank > 3 else weights[:, None] if rank == 3 else weights[:, None, None]


def _is_below(recorder, path):
    """Whether somebody wants a layer inside this one, which would speak for it."""
    chosen = [*(recorder.layers or ()), *recorder.replace]
    return any(one.startswith(f"{path}/") for one in chosen)


def _speaks(layer):
    """Whether a layer's attention has its name, and not those of the layers inside that attend."""
    return hasattr(layer, "normalised") and sum(map(follows_convention, layer._layers)) < 2


def _axes(layer, args, kwargs):
    if not hasattr(layer, "attention_axes"):
        return None
    signature = inspect.signature(layer.call)
    known = {name: value for name, value in kwargs.items() if name in signature.parameters}
    given = signature.bind(*args, **known).arguments.values()
    count = len(inspect.signature(layer.attention_axes).parameters)
    shapes = [keras.tree.map_structure(lambda x: tuple(x.shape), one) for one in list(given)[:count]]
    return layer.attention_axes(*shapes)


@contextmanager
def _heard(recorder, layer):
    """Calls of `layer.call`, which pass by `layer.__call__`, are calls of the layer too."""
    call = layer.call

    def heard(*args, **kwargs):
        if current.get() is not recorder:  # another thread's call
            return call(*args, **kwargs)
        return called(recorder, lambda _, *a, **k: call(*a, **k), layer, *args, **kwargs)

    own = "call" in vars(layer)
    # Past Layer.__setattr__, which refuses changes to a built layer.
    object.__setattr__(layer, "call", heard)
    try:
        yield
    finally:
        if own:
            object.__setattr__(layer, "call", call)
        else:
            object.__delattr__(layer, "call")


def _batch(tensors):
    shapes = [x.shape for x in tensors if len(getattr(x, "shape", None) or ()) > 0]
    return shapes[0][0] if shapes else None
