"""Writing attention where TensorBoard's Attention tab finds it; NumPy is enough, no backend is loaded."""

import atexit
import os
import struct
from collections.abc import Mapping

import numpy as np

from tb_plugin import event_file, record
from zoo.attention_map import AttentionMap

# The most queries and keys a record holds; longer maps are pooled before they are written.
LONGEST = 512

_files: dict[str, event_file.EventFile] = {}


def attention(
    name, maps, step, *, logdir, series=None, forecast=None, target=None, titles=None, images=False
) -> None:
    """Write attention maps for one step of training.

    They go to a run of their own, `<logdir>/attention`: TensorBoard reads only the newest file of a
    directory, so a file shared with scalars would hide one or the other. Weights are kept as bytes on a
    square-root scale of each head's maximum (`tb_plugin.record` states the error bound).

    Args:
        name: what was attended over, for the tab's list ("validation").
        maps: an `AttentionMap`, or `{layer: AttentionMap}` as `zoo.attend` returns them.
        step: of training; steps of one name must grow.
        logdir: the directory of the run.
        series: what the keys saw, drawn above the map: `{name: (batch, keys)}`.
        forecast, target: what was foretold and what came: `(batch, queries)`, in the units of `series`.
        titles: what to call each sample.
        images: also write plain image summaries (mean over heads), for readers without the plugin.

    Raises:
        ValueError: lengths that do not fit the maps; more than 256 samples × heads.
        OSError: nothing could be written; no half-written record is left behind.

    >>> import tempfile, numpy as np, zoo
    >>> seen = zoo.AttentionMap(np.full((1, 1, 2, 4), 0.25), layer="mine")
    >>> with tempfile.TemporaryDirectory() as logs:
    ...     zoo.summary.attention("demo", seen, step=0, logdir=logs, series={"price": [[1, 2, 3, 4]]})
    ...     zoo.summary.close(logs)
    """
    beside = {"series": series, "forecast": forecast, "target": target, "titles": titles}
    values = encode(name, maps, images=images, **beside)
    directory = os.path.join(os.fspath(logdir), record.PLUGIN)
    if directory not in _files:
        _files[directory] = event_file.EventFile(directory)
    _files[directory].write(values, step)


def encode(name, maps, *, series=None, forecast=None, target=None, titles=None, images=False) -> list:
    """What `attention` would write for one step, or the error it would raise."""
    if isinstance(maps, AttentionMap):
        maps = {maps.layer or "attention": maps}
    if not isinstance(maps, Mapping) or not all(isinstance(one, AttentionMap) for one in maps.values()):
        raise ValueError(
            f"`maps` is a zoo.AttentionMap or a dict of them, found {type(maps).__name__}: make one of an "
            "array with zoo.AttentionMap(weights), weights being (batch, heads, queries, keys)."
        )
    if not maps:
        raise ValueError("There is no attention to write: `maps` is empty.")
    first = next(iter(maps.values()))
    counts = {layer: len(one.weights) for layer, one in maps.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"The maps of one step show the same samples, found {counts} samples.")
    drawn = [(title, "input", first.keys, values) for title, values in (series or {}).items()]
    drawn += [
        ("forecast", "forecast", first.queries, forecast),
        ("what came", "target", first.queries, target),
    ]
    values = [_inputs(name, len(first.weights), [one for one in drawn if one[3] is not None], titles)]
    for layer, attention_map in maps.items():
        stored = attention_map.pooled(LONGEST, LONGEST)
        blobs = record.encode_maps(
            stored.weights,
            queries=stored.queries.as_dict(),
            keys=stored.keys.as_dict(),
            layer=layer,
            normalised=stored.normalised,
            full=list(stored.full),
        )
        values.append(event_file.blob_value(record.map_tag(name, layer), blobs))
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


def _inputs(name, count, drawn, titles):
    """The record of the series of every sample, drawn beside the maps."""
    if titles is not None and len(titles) != count:
        raise ValueError(f"{count} samples want as many titles, found {len(titles)}.")
    samples = [{"label": titles[i] if titles else None, "series": []} for i in range(count)]
    for title, role, axis, values in drawn:
        values = np.asarray(values, "float64")
        if values.shape != (count, axis.length):
            raise ValueError(f"{title!r} wants the shape {(count, axis.length)}, found {values.shape}.")
        for i, sample in enumerate(samples):
            labels = axis.of_sample(i) or [str(position) for position in range(axis.length)]
            sample["series"].append(
                {"name": title, "role": role, "labels": list(labels), "values": values[i].tolist()}
            )
    return event_file.blob_value(record.inputs_tag(name), record.encode_inputs(samples))


def _image(name, layer, attention_map):
    from zoo import plot

    pictures = [plot.png(plot.heatmap(attention_map, sample)) for sample in range(len(attention_map.weights))]
    # A tag of its own: one that the maps already use would be read as theirs.
    width, height = struct.unpack(">II", pictures[0][16:24])  # as the head of a PNG file states them
    return event_file.image_value(f"attention_image/{name}/{layer}", pictures, width, height)
