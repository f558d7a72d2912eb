"""Format 2 of an attention record: a JSON header, thumbnails, and one compressed map a sample and head.

A record is a list of byte strings. The first, the header, says what the others hold. The maps of one layer
at one step are one record; what the model was shown (dates, prices, forecasts, pictures) is a record of its
own, so that it is stored once for all layers. Format 1, which had neither thumbnails, statistics, exact
weights nor pictures, is read too.
"""

import gzip
import json
import math
import re
import zlib
from collections.abc import Sequence

import numpy as np

from tb_plugin.header import (
    AXIS_KINDS,
    FORMAT,
    MAX_MAPS,
    PICTURES,
    PLUGIN,
    THUMBNAIL,
    RecordError,
    check_size,
    decode_header,
    part_of,
    shown,
)

__all__ = [
    "AXIS_KINDS",
    "MAX_MAPS",
    "PICTURES",
    "PLUGIN",
    "STATISTICS",
    "RecordError",
    "decode_header",
    "decode_map",
    "encode_inputs",
    "encode_maps",
    "inputs_tag",
    "map_tag",
]

# Of a map, one number each for every sample and head: how it looks before anybody has looked.
STATISTICS = ("entropy", "distance", "sink", "sink_key", "padding")


def map_tag(name: str, layer: str) -> str:
    """The tag of a layer's maps; the header of a record holds the layer's name untouched.

    >>> map_tag("forecast", "decoder/attention")
    'attention/forecast/decoder/attention'
    """
    return _readable(f"{PLUGIN}/{name}/{layer}")


def inputs_tag(name: str) -> str:
    """The tag of what the model was shown.

    >>> inputs_tag("forecast")
    'attention/forecast/__inputs__'
    """
    return _readable(f"{PLUGIN}/{name}/__inputs__")


def encode_maps(
    weights: np.ndarray,
    *,
    queries: dict,
    keys: dict,
    layer: str,
    normalised: bool = True,
    full: Sequence[int] | None = None,
    statistics: dict | None = None,
    exact: bool = False,
) -> list[bytes]:
    """The record of one layer's weights `(samples, heads, queries, keys)`.

    With m the maximum of a map, a weight w is stored as one byte `u = round(255 √(w / m))` and read back as
    `w' = m (u / 255)²`. The root keeps small weights apart, where a linear byte would lose a diffuse map.
    Since u is off by at most half a unit, up to float32 rounding

        |w' - w| ≤ √(w m) / 255 + m / 510²,   and nowhere above   m (1 / 255 - 1 / 510²).

    `exact` stores float32 instead: all first bytes of the numbers, then all second bytes, and so on.

    Blob 0 is the header, blob 1 the thumbnails of all maps (at most 32 × 32, pooled as maps are, bytes on the
    root scale of each one's own maximum); the map of a sample and a head is blob `2 + sample * heads + head`,
    row by row. All but the header are gzip. NaN, infinite and negative weights become 0 and are counted in
    the header's `repaired`.

    `queries` and `keys` are `{"kind", "length", "labels", "grid"}`: kind is one of `AXIS_KINDS`, labels None,
    a list of strings, or a list of such lists for each sample, grid None or `[rows, columns]`. `full` is
    `[queries, keys]` before pooling. `statistics` are some of `STATISTICS`, `(samples, heads)` each, NaN
    where there is none.

    A record holds at most 256 maps of at most 4096 × 4096; beyond that `RecordError` (a ValueError) is
    raised.

    >>> days = {"kind": "time", "length": 2, "labels": ["Mon", "Tue"], "grid": None}
    >>> blobs = encode_maps(np.eye(2)[None, None], queries=days, keys=days, layer="attention")
    >>> decode_map(decode_header(blobs[0]), blobs, sample=0, head=0).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    weights = np.asarray(weights)
    if weights.dtype.kind not in "fiu" or weights.ndim != 4 or 0 in weights.shape:
        raise RecordError(
            "A record holds weights (samples, heads, queries, keys), real numbers and none of the lengths 0; "
            f"found {weights.dtype} {weights.shape}."
        )
    with np.errstate(over="ignore"):
        weights = weights.astype(np.float32)
    samples, heads, *stored = weights.shape
    check_size(samples, heads, *stored)

    repaired, maxima, blobs, thumbnails = 0, [], [], []
    for one in weights.reshape(-1, *stored):
        sound = (one >= 0) & (one < np.inf)
        repaired += one.size - int(sound.sum())
        one = np.where(sound, one, np.float32(0))
        blobs.append(_packed(_planes(one) if exact else _levels(one)))
        maxima.append(float(one.max()))
        # sums of a map's weights may be beyond float32, those of their shares are not
        thumbnails.append(_levels(_thumbnail(one / (one.max() or 1))))

    header = _encode_header(
        {
            "format": FORMAT,
            "kind": "map",
            "layer": layer,
            "samples": samples,
            "shape": [heads, *stored],
            "full": [int(length) for length in full or stored],
            "normalised": bool(normalised),
            "scale": "exact" if exact else "sqrt",
            "max": [maxima[first : first + heads] for first in range(0, len(maxima), heads)],
            "queries": queries,
            "keys": keys,
            "repaired": repaired,
            "statistics": {
                name: [_gaps(row) for row in np.asarray(values)]
                for name, values in (statistics or {}).items()
            },
            "thumbnail": [min(length, THUMBNAIL) for length in stored],
        }
    )
    return [header, _packed(b"".join(thumbnails)), *blobs]


def _levels(one):
    """Bytes on the square-root scale of the greatest weight."""
    maximum = one.max()
    share = one / maximum if maximum > 0 else one
    return np.rint(255 * np.sqrt(share)).astype(np.uint8).tobytes()


def _planes(one):
    return np.ascontiguousarray(one.astype("<f4").view(np.uint8).reshape(-1, 4).T).tobytes()


def _packed(data):
    # Runs alone: in what looks like noise a search for longer matches costs time, and bytes too.
    packer = zlib.compressobj(1, wbits=31, strategy=zlib.Z_RLE)
    return packer.compress(data) + packer.flush()


def _thumbnail(one):
    for axis, length in enumerate(one.shape):
        if length > THUMBNAIL:
            starts = np.arange(THUMBNAIL) * length // THUMBNAIL
            one = np.add.reduceat(one, starts, axis=axis)
            if axis == 0:
                one = one / np.diff(starts, append=length)[:, None]
    return one


def encode_inputs(samples: Sequence[dict]) -> list[bytes]:
    """The record of what the model was shown: for each sample a label, its series, and perhaps a picture.

    A sample is `{"label": str or None, "series": [...], "picture": {...} or None}`. A series is `{"name",
    "role", "labels", "values"}` with role `input`, `forecast` or `target`, and as many text labels as values;
    a value that is not finite is a gap. A picture is `{"kind", "pixels"}`, kind `image` or `spectrogram`,
    pixels bytes `(rows, columns, channels)` with 1 or 3 channels; those of a sample are a blob of their own,
    gzip, which the header's `picture` names: `{"kind", "shape", "part"}`. Row 0 is at the top.

    >>> price = {"name": "close", "role": "input", "labels": ["Mon", "Tue"], "values": [2695.8, None]}
    >>> [header] = encode_inputs([{"label": "2018-01-02", "series": [price]}])
    >>> decode_header(header)["samples"][0]["series"][0]["values"]
    [2695.8, None]
    """
    blobs, described = [], []
    for sample in samples:
        series = [one | {"values": _gaps(one["values"])} for one in sample["series"]]
        picture = sample.get("picture")
        if picture is not None:
            pixels = np.ascontiguousarray(picture["pixels"], dtype=np.uint8)
            blobs.append(gzip.compress(pixels.tobytes(), compresslevel=6, mtime=0))
            picture = {"kind": picture["kind"], "shape": list(pixels.shape), "part": len(blobs)}
        described.append({"label": sample.get("label"), "series": series, "picture": picture})
    return [_encode_header({"format": FORMAT, "kind": "inputs", "samples": described}), *blobs]


def decode_map(header: dict, blobs: Sequence[bytes], sample: int, head: int) -> np.ndarray:
    """The weights `(queries, keys)` of a sample and a head, float32, from the parts of a record.

    Never more than the map's own bytes and one are unpacked, whatever the blob claims. `RecordError` is
    raised for what is damaged, and for a sample or a head that the record does not have.
    """
    heads, queries, keys = header["shape"]
    if not (0 <= sample < header["samples"] and 0 <= head < heads):
        raise RecordError(
            f"The record has {header['samples']} samples and {heads} heads, counted from 0; found sample "
            f"{sample}, head {head}."
        )
    part, maximum = part_of(header, sample, head), np.float32(header["max"][sample][head])
    exact = header["scale"] == "exact"
    data = _unpacked(blobs[part], queries * keys * (4 if exact else 1)) if part < len(blobs) else None
    if data is not None and exact:
        planes = np.frombuffer(data, np.uint8).reshape(4, -1)
        weights = np.ascontiguousarray(planes.T).view("<f4").reshape(queries, keys)
        if ((weights >= 0) & (weights <= maximum)).all():
            return weights
    elif data is not None:
        return maximum * (np.frombuffer(data, np.uint8).reshape(queries, keys) / np.float32(255)) ** 2
    raise RecordError(f"The map of sample {sample}, head {head} of {shown(header['layer'])} is damaged.")


def _unpacked(blob, size):
    """The `size` bytes that are packed in `blob`; None where it holds fewer, more, or no gzip at all."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(blob, size + 1)
    except zlib.error:
        return None
    return data if len(data) == size and unpacker.eof and not unpacker.unused_data else None


def _readable(tag):
    # TensorBoard's data server cannot read a blob whose tag JSON has to escape.
    return re.sub(r'["\\\x00-\x1f]', "_", tag)


def _encode_header(header):
    blob = json.dumps(header, separators=(",", ":")).encode()
    decode_header(blob)
    return blob


def _gaps(values):
    return [one if math.isfinite(one) else None for one in np.asarray(values, dtype=float).ravel().tolist()]
