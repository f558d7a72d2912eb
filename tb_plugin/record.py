"""Format 1 of an attention record: a JSON header and one compressed map for each sample and head.

A record is a list of byte strings. The first, the header, says what the others hold. The maps of one layer
at one step are one record; what the model was shown (dates, prices, forecasts) is a record of its own, a
header alone, so that it is stored once for all layers.
"""

import gzip
import json
import math
import re
import zlib
from collections.abc import Sequence

import numpy as np

FORMAT = 1
PLUGIN = "attention"
AXIS_KINDS = ("step", "time", "token", "patch", "feature", "channel")
ROLES = ("input", "forecast", "target")
MAX_MAPS = 256
MAX_LENGTH = 512
MAX_HEADER_BYTES = 1_000_000


class RecordError(ValueError):
    """A record that cannot be read or written, in one sentence."""


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
) -> list[bytes]:
    """The record of one layer's weights `(samples, heads, queries, keys)`.

    With m the maximum of a map, a weight w is stored as one byte `u = round(255 √(w / m))` and read back as
    `w' = m (u / 255)²`. The root keeps small weights apart, where a linear byte would lose a diffuse map.
    Since u is off by at most half a unit, up to float32 rounding

        |w' - w| ≤ √(w m) / 255 + m / 510²,   and nowhere above   m (1 / 255 - 1 / 510²).

    Blob 0 is the header; the map of a sample and a head is blob `1 + sample * heads + head`, gzip of the
    bytes row by row. NaN, infinite and negative weights become 0 and are counted in the header's `repaired`.

    `queries` and `keys` are `{"kind", "length", "labels", "grid"}`: kind is one of `AXIS_KINDS`, labels None,
    a list of strings, or a list of such lists for each sample, grid None or `[rows, columns]`. `full` is
    `[queries, keys]` before pooling.

    A record holds at most 256 maps of at most 512 × 512; beyond that `RecordError` (a ValueError) is raised.

    >>> days = {"kind": "time", "length": 2, "labels": ["Mon", "Tue"], "grid": None}
    >>> blobs = encode_maps(np.eye(2)[None, None], queries=days, keys=days, layer="attention")
    >>> decode_map(decode_header(blobs[0]), blobs[1], sample=0, head=0).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    with np.errstate(over="ignore"):
        weights = np.asarray(weights, dtype=np.float32)
    if weights.ndim != 4 or 0 in weights.shape:
        raise RecordError(
            f"A record holds weights (samples, heads, queries, keys), none of them 0; found {weights.shape}."
        )
    samples, heads, *stored = weights.shape
    _check_size(samples, heads, *stored)

    repaired, maxima, blobs = 0, [], []
    for one in weights.reshape(-1, *stored):
        sound = (one >= 0) & (one < np.inf)
        repaired += one.size - int(sound.sum())
        one = np.where(sound, one, 0)
        maximum = one.max()
        share = one / maximum if maximum > 0 else one
        bytes_ = np.rint(255 * np.sqrt(share)).astype(np.uint8).tobytes()
        blobs.append(gzip.compress(bytes_, compresslevel=1, mtime=0))
        maxima.append(float(maximum))

    header = _encode_header(
        {
            "format": FORMAT,
            "kind": "map",
            "layer": layer,
            "samples": samples,
            "shape": [heads, *stored],
            "full": [int(length) for length in full or stored],
            "normalised": bool(normalised),
            "scale": "sqrt",
            "max": [maxima[first : first + heads] for first in range(0, len(maxima), heads)],
            "queries": queries,
            "keys": keys,
            "repaired": repaired,
        }
    )
    return [header, *blobs]


def encode_inputs(samples: Sequence[dict]) -> list[bytes]:
    """The record of what the model was shown: for each sample a label and its series.

    A sample is `{"label": str or None, "series": [...]}`, a series `{"name", "role", "labels", "values"}`
    with role `input`, `forecast` or `target`, and as many text labels as values. A value that is not finite
    is a gap.

    >>> price = {"name": "close", "role": "input", "labels": ["Mon", "Tue"], "values": [2695.8, None]}
    >>> [header] = encode_inputs([{"label": "2018-01-02", "series": [price]}])
    >>> decode_header(header)["samples"][0]["series"][0]["values"]
    [2695.8, None]
    """
    return [
        _encode_header(
            {
                "format": FORMAT,
                "kind": "inputs",
                "samples": [
                    {
                        "label": sample.get("label"),
                        "series": [
                            series | {"values": _gaps(series["values"])} for series in sample["series"]
                        ],
                    }
                    for sample in samples
                ],
            }
        )
    ]


def decode_header(blob: bytes) -> dict:
    """The header of a record, every field of it checked.

    Fields that format 1 does not know are kept and ignored. `RecordError` is raised for a newer format and
    for anything that is not a header.
    """
    if len(blob) > MAX_HEADER_BYTES:
        raise RecordError(
            f"The record's header has {len(blob):,} bytes, at most {MAX_HEADER_BYTES:,} are read: log fewer "
            "samples or shorter labels."
        )
    try:
        header = json.loads(blob.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RecordError(
            "The record's header is not JSON; it is damaged, or not an attention record."
        ) from None
    if not isinstance(header, dict) or not _is_count(header.get("format")):
        raise RecordError("The record's header names no format; it is not an attention record.")
    if header["format"] > FORMAT:
        raise RecordError(
            f"The record is of format {header['format']}, written by a newer version than this one, which "
            f"reads format {FORMAT}: upgrade attention-zoo."
        )
    if header.get("kind") == "map":
        _check_map(header)
    elif header.get("kind") == "inputs":
        _check_inputs(header)
    else:
        raise RecordError(f"A record is a map or inputs; found {_shown(header.get('kind'))}.")
    return header


def decode_map(header: dict, blob: bytes, sample: int, head: int) -> np.ndarray:
    """The weights `(queries, keys)` of a sample and a head, float32, from blob `1 + sample * heads + head`.

    Never more than `queries * keys + 1` bytes are unpacked, whatever the blob claims.
    """
    _, queries, keys = header["shape"]
    unpacker = zlib.decompressobj(wbits=31)
    try:
        levels = unpacker.decompress(blob, queries * keys + 1)
    except zlib.error:
        levels = b""
    if len(levels) != queries * keys or not unpacker.eof or unpacker.unused_data:
        raise RecordError(f"The map of sample {sample}, head {head} of {_shown(header['layer'])} is damaged.")
    root = np.frombuffer(levels, np.uint8).reshape(queries, keys) / np.float32(255)
    return np.float32(header["max"][sample][head]) * root**2


def _readable(tag):
    # TensorBoard's data server cannot read a blob whose tag JSON has to escape.
    return re.sub(r'["\\\x00-\x1f]', "_", tag)


def _encode_header(header):
    blob = json.dumps(header, separators=(",", ":")).encode()
    decode_header(blob)
    return blob


def _check_map(header):
    shape = header.get("shape")
    if not (_is_count(header.get("samples")) and _is_counts(shape, 3)):
        raise RecordError("A map's header wants samples and shape [heads, queries, keys], none of them 0.")
    samples, (heads, *stored) = header["samples"], shape
    _check_size(samples, heads, *stored)
    full = header.get("full")
    if not _is_counts(full, 2) or full[0] < stored[0] or full[1] < stored[1]:
        raise RecordError(
            f"A map of {stored} comes from at least as many queries and keys; found {_shown(full)}."
        )
    if not isinstance(header.get("layer"), str):
        raise RecordError(f"A map's layer is text; found {_shown(header.get('layer'))}.")
    if type(header.get("normalised")) is not bool:
        raise RecordError(f"A map is normalised or not; found {_shown(header.get('normalised'))}.")
    if header.get("scale") != "sqrt":
        raise RecordError(
            f"A map of format 1 is stored on the scale sqrt; found {_shown(header.get('scale'))}."
        )
    if type(header.get("repaired")) is not int or header["repaired"] < 0:
        raise RecordError(f"A map counts repaired weights; found {_shown(header.get('repaired'))}.")
    maxima = header.get("max")
    if not (
        _is_list(maxima, samples)
        and all(_is_list(row, heads) and all(_is_number(one) and one >= 0 for one in row) for row in maxima)
    ):
        raise RecordError(
            f"A map wants a maximum, 0 or more, for each of {samples} samples and {heads} heads."
        )
    for name, length in zip(("queries", "keys"), stored, strict=True):
        _check_axis(name, header.get(name), length, samples)


def _check_axis(name, axis, length, samples):
    if not isinstance(axis, dict) or axis.get("kind") not in AXIS_KINDS:
        raise RecordError(f"The {name} of a map are one of {', '.join(AXIS_KINDS)}.")
    if axis.get("length") != length:
        raise RecordError(f"The map has {length} {name}, their axis has length {_shown(axis.get('length'))}.")
    labels, grid = axis.get("labels"), axis.get("grid")
    if grid is not None and not (_is_counts(grid, 2) and grid[0] * grid[1] == length):
        raise RecordError(f"A grid of {length} {name} is [rows, columns]; found {_shown(grid)}.")
    if labels is None or _is_texts(labels, length):
        return
    if not (_is_list(labels, samples) and all(_is_texts(row, length) for row in labels)):
        raise RecordError(
            f"{length} {name} want {length} text labels, or as many for each of {samples} samples."
        )


def _check_inputs(header):
    samples = header.get("samples")
    if not isinstance(samples, list) or not 1 <= len(samples) <= MAX_MAPS:
        raise RecordError(f"A record of inputs holds 1 to {MAX_MAPS} samples.")
    for sample in samples:
        if not isinstance(sample, dict) or not isinstance(sample.get("series"), list):
            raise RecordError("A sample of a record of inputs wants a list of series.")
        if not isinstance(sample.get("label"), str | None):
            raise RecordError(f"A sample's label is text or null; found {_shown(sample['label'])}.")
        for series in sample["series"]:
            if not isinstance(series, dict) or not isinstance(series.get("name"), str):
                raise RecordError("A series wants a name.")
            if series.get("role") not in ROLES:
                raise RecordError(
                    f"A series is one of {', '.join(ROLES)}; found {_shown(series.get('role'))}."
                )
            values = series.get("values")
            if not isinstance(values, list) or not all(one is None or _is_number(one) for one in values):
                raise RecordError(f"The values of the series {_shown(series['name'])} are numbers or null.")
            if not _is_texts(series.get("labels"), len(values)):
                raise RecordError(f"The series {_shown(series['name'])} wants {len(values)} text labels.")


def _check_size(samples, heads, queries, keys):
    if samples * heads > MAX_MAPS:
        raise RecordError(
            f"A record holds at most {MAX_MAPS} maps; found {samples} samples × {heads} heads: log fewer."
        )
    if max(queries, keys) > MAX_LENGTH:
        raise RecordError(
            f"A map has at most {MAX_LENGTH} queries and keys; found {queries} × {keys}: pool it first."
        )


def _gaps(values):
    return [one if math.isfinite(one) else None for one in np.asarray(values, dtype=float).ravel().tolist()]


def _refuse_constant(name):
    raise ValueError(name)  # json.loads would take NaN and Infinity, which no browser reads


def _is_list(value, length):
    return isinstance(value, list) and len(value) == length


def _is_texts(value, length):
    return _is_list(value, length) and all(isinstance(one, str) for one in value)


def _is_count(value):
    return type(value) is int and value >= 1


def _is_counts(value, length):
    return _is_list(value, length) and all(map(_is_count, value))


def _is_number(value):
    # JSON may hold 1e999, which is read as infinity
    return type(value) in (int, float) and -1.7e308 < value < 1.7e308


def _shown(value):
    """A value of somebody's file as it may stand in a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
