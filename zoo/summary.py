"""Writing attention where TensorBoard's Attention tab finds it; NumPy is enough, no backend is loaded."""

import atexit
import os
import struct
import warnings
from collections.abc import Mapping

import numpy as np

from tb_plugin import event_file, record
from zoo.analysis import statistics
from zoo.attention_map import AttentionMap

# Of one directory, so that what TensorBoard keeps in memory has an end.
MAX_BYTES = 2 * 2**30
MAX_NAME = 500

_files: dict[str, event_file.EventFile] = {}


def attention(
    name,
    maps,
    step,
    *,
    logdir,
    series=None,
    forecast=None,
    target=None,
    pictures=None,
    titles=None,
    resolution=512,
    exact=False,
    images=False,
) -> bool:
    """Write attention maps for one step of training.

    They go to a run of their own, `<logdir>/attention`: TensorBoard reads only the newest file of a
    directory, so a file shared with scalars would hide one or the other. Weights are kept as bytes on a
    square-root scale of each head's maximum (`tb_plugin.record` states the error bound), or as they are.
    NumPy is enough: arrays and tensors, PyTorch's and JAX' too, become maps with `zoo.AttentionMap(weights)`.

    Args:
        name: what was attended over, for the tab's list ("validation").
        maps: an `AttentionMap`, or `{layer: AttentionMap}` as `zoo.attend` returns them.
        step: of training; steps of one name must grow.
        logdir: the directory of the run.
        series: what the keys saw, drawn above the map: `{name: (batch, keys)}`; under patches of a picture of
            the series, as many values as the grid has columns, or a multiple.
        forecast, target: what was foretold and what came: `(batch, queries)`, in the units of `series`.
        pictures: what patches were cut from: images `(batch, rows, columns)` or `(batch, rows, columns, 1 or
            3)`, numbers 0 to 255 or 0.0 to 1.0; or `{"spectrogram": (batch, frequencies, times)}`, low
            frequencies first, in any unit.
        titles: what to call each sample.
        resolution: longer maps are pooled to so many queries and keys before they are written.
        exact: keep float32.
        images: also write plain image summaries (mean over heads), for readers without the plugin.

    Returns:
        Whether it was written: a directory holds 2 GB at most, and then says so once.

    Raises:
        ValueError: lengths that do not fit the maps; more than 256 samples × heads.
        OSError: nothing could be written; no half-written record is left behind.

    >>> import tempfile, numpy as np, zoo
    >>> seen = zoo.AttentionMap(np.full((1, 1, 2, 4), 0.25), layer="mine")
    >>> with tempfile.TemporaryDirectory() as logs:
    ...     zoo.summary.attention("demo", seen, step=0, logdir=logs, series={"price": [[1, 2, 3, 4]]})
    ...     zoo.summary.close(logs)
    True
    """
    if not isinstance(step, (int, np.integer)):
        raise ValueError(f"`step` is a whole number of training steps or epochs; found {step!r}.")
    beside = {"series": series, "forecast": forecast, "target": target, "pictures": pictures}
    values = encode(name, maps, titles=titles, resolution=resolution, exact=exact, images=images, **beside)
    directory = os.path.join(os.fspath(logdir), record.PLUGIN)
    if directory not in _files:
        _files[directory] = event_file.EventFile(directory)
    file = _files[directory]
    if file.size > MAX_BYTES:
        if not file.full:
            file.full = True
            warnings.warn(
                f"{directory} holds {file.size / 2**30:.1f} GB of attention, as much as the tab should be "
                f"asked to show: step {step} and later ones are left out. Log fewer layers, samples or "
                "steps, or a lower resolution.",
                stacklevel=2,
            )
        return False
    file.write(values, step)
    return True


def encode(
    name,
    maps,
    *,
    series=None,
    forecast=None,
    target=None,
    pictures=None,
    titles=None,
    resolution=512,
    exact=False,
    images=False,
) -> list:
    """What `attention` would write for one step, or the error it would raise."""
    if isinstance(maps, AttentionMap):
        maps = {maps.layer or "attention": maps}
    if not isinstance(maps, Mapping) or not all(isinstance(one, AttentionMap) for one in maps.values()):
        found = sorted({type(one).__name__ for one in maps.values()}) if isinstance(maps, Mapping) else []
        raise ValueError(
            f"`maps` is a zoo.AttentionMap or a dict of them, found {type(maps).__name__}"
            f"{' of ' + ', '.join(found) if found else ''}: make one of an array with "
            "zoo.AttentionMap(weights), weights being (batch, heads, queries, keys)."
        )
    if not maps:
        raise ValueError("There is no attention to write: `maps` is empty.")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"`name` is a text of 1 to {MAX_NAME} letters; found {name!r:.99}.")
    tags = {layer: record.map_tag(name, layer) for layer in maps}
    if len(set(tags.values())) < len(tags):
        raise ValueError(
            "Two layers would have one tag, since quotes, backslashes and control characters become _: "
            f"{list(maps)!r:.999}."
        )
    if series is not None and not isinstance(series, Mapping):
        raise ValueError(f"`series` is {{name: (batch, keys)}}, found {type(series).__name__}.")
    first = next(iter(maps.values()))
    counts = {layer: len(one.weights) for layer, one in maps.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"The maps of one step show the same samples, found {counts} samples.")
    drawn = [(title, "input", first.keys, values) for title, values in (series or {}).items()]
    drawn += [
        ("forecast", "forecast", first.queries, forecast),
        ("what came", "target", first.queries, target),
    ]
    count, drawn = len(first.weights), [one for one in drawn if one[3] is not None]
    blobs = [record.inputs_tag(name), record.encode_inputs(_samples(count, drawn, pictures, titles))]
    values = [event_file.blob_value(*blobs)]
    for layer, attention_map in maps.items():
        stored = attention_map.pooled(resolution, resolution)
        blobs = record.encode_maps(
            stored.weights,
            queries=stored.queries.as_dict(),
            keys=stored.keys.as_dict(),
            layer=layer,
            normalised=stored.normalised,
            full=list(stored.full),
            statistics=_statistics(attention_map),
            exact=exact,
        )
        values.append(event_file.blob_value(tags[layer], blobs))
        if images:
            values.append(_image(name, layer, attention_map))
    return values


def close(logdir) -> None:
    """Close the file of `logdir`; the next summary opens a new one."""
    file = _files.pop(os.path.join(os.fspath(logdir), record.PLUGIN), None)
    if file:
        file.close()


@atexit.register
def _close_all():
    while _files:
        _files.popitem()[1].close()


def _samples(count, drawn, pictures, titles):
    """What the model was shown: of every sample its series and its picture."""
    if titles is not None and (isinstance(titles, str) or len(titles) != count):
        found = repr(titles) if isinstance(titles, str) else len(titles)
        raise ValueError(f"{count} samples want as many titles, found {found}.")
    samples = [
        {"label": titles[i] if titles else None, "series": [], "picture": picture}
        for i, picture in enumerate(_pictures(count, pictures))
    ]
    for title, role, axis, values in drawn:
        values = np.asarray(values, "float64")
        over = values.ndim == 2 and role == "input" and axis.grid and values.shape[1] % axis.grid[1] == 0
        length = values.shape[1] if over else axis.length
        if values.shape != (count, length):
            raise ValueError(f"{title!r} wants the shape {(count, axis.length)}, found {values.shape}.")
        for i, sample in enumerate(samples):
            own = axis.of_sample(i) if length == axis.length else None
            labels = own or [str(position) for position in range(length)]
            sample["series"].append(
                {"name": title, "role": role, "labels": list(labels), "values": values[i].tolist()}
            )
    return samples


def _pictures(count, pictures):
    """Pixels as bytes, row 0 at the top."""
    if pictures is None:
        return [None] * count
    kind = "image"
    if isinstance(pictures, Mapping) and len(pictures) == 1:
        [(kind, pictures)] = pictures.items()
    pixels = np.asarray(pictures)
    shape = (*pixels.shape, 1) if pixels.ndim == 3 else pixels.shape
    if (
        kind not in record.PICTURES
        or pixels.dtype.kind not in "fiub"
        or len(shape) != 4
        or shape[0] != count
        or shape[3] not in (1, 3)
        or 0 in shape
    ):
        raise ValueError(
            f"{count} samples want pictures (batch, rows, columns) or (batch, rows, columns, 1 or 3), or "
            f'{{"spectrogram": …}} of them; found {kind!r} of {pixels.dtype} {pixels.shape}.'
        )
    shares = pixels.dtype.kind in "fb" and np.nanmax(pixels, initial=0) <= 1
    pixels = pixels.reshape(shape).astype("float64")
    if kind == "spectrogram":
        pixels = _brightness(pixels)[:, ::-1]
    elif shares:
        pixels = 255 * pixels
    pixels = np.rint(np.nan_to_num(pixels).clip(0, 255)).astype("uint8")
    return [{"kind": kind, "pixels": one} for one in pixels]


def _brightness(levels):
    """0 to 255 between each picture's lowest and highest finite level; silence, -∞ decibels, is 0."""
    finite = np.isfinite(levels)
    low = np.min(levels, (1, 2, 3), keepdims=True, where=finite, initial=np.inf)
    low = np.where(low < np.inf, low, 0)
    high = np.max(levels, (1, 2, 3), keepdims=True, where=finite, initial=-np.inf)
    span = np.where(high > low, high - low, 1)
    return 255 * (np.where(finite, levels, np.where(levels == np.inf, high, low)) - low) / span


def _statistics(attention_map):
    """Of the whole map, for the tab's overview."""
    queries, keys = attention_map.queries, attention_map.keys
    places = None
    if keys.grid:
        places = np.stack(np.unravel_index(np.arange(np.prod(keys.grid)), keys.grid), axis=1)
    found = {name: [] for name in record.STATISTICS}
    for i, sample in enumerate(attention_map.weights):
        for weights in sample:  # one by one, since a copy of all in float64 may be too large
            weights = np.where(np.isfinite(weights), weights, 0).clip(0).astype("float64")
            key, share = statistics.sink(weights)
            found["entropy"].append(statistics.entropy(weights))
            found["sink"].append(share)
            found["sink_key"].append(key)
            if queries.kind == keys.kind and queries.length == keys.length:
                patches = weights[queries.class_tokens :, keys.class_tokens :]  # the others stand nowhere
                found["distance"].append(statistics.mean_distance(patches, places, places))
            if keys.kind == "token" and keys.labels:
                found["padding"].append(statistics.padding_mass(weights, keys.of_sample(i)))
    shape = attention_map.weights.shape[:2]
    return {name: np.reshape(values, shape) for name, values in found.items() if values}


def _image(name, layer, attention_map):
    from zoo import plot

    pictures = [plot.png(plot.heatmap(attention_map, sample)) for sample in range(len(attention_map.weights))]
    # A tag of its own: one that the maps already use would be read as theirs.
    width, height = struct.unpack(">II", pictures[0][16:24])  # as the head of a PNG file states them
    return event_file.image_value(f"attention_image/{name}/{layer}", pictures, width, height)
