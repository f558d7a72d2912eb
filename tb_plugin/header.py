"""The header of an attention record: what each of its fields may be, and which part holds what."""

import json
import reprlib

FORMAT = 2
PLUGIN = "attention"
AXIS_KINDS = ("step", "time", "token", "patch", "feature", "channel")
ROLES = ("input", "forecast", "target")
PICTURES = ("image", "spectrogram")
SCALES = ("sqrt", "exact")
MAX_MAPS = 256
MAX_LENGTH = 4096
MAX_CLASS_TOKENS = 8
MAX_HEADER_BYTES = 1_000_000
MAX_PIXELS = 2**20
MAX_WEIGHT = 3.4028234663852886e38  # of float32
THUMBNAIL = 32  # rows and columns at most


class RecordError(ValueError):
    """A record that cannot be read or written, in one sentence."""


def decode_header(blob: bytes) -> dict:
    """The header of a record, every field of it checked.

    Fields that the format does not know are kept and ignored. `RecordError` is raised for a newer format and
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
            f"The record is of format {shown(header['format'])}, written by a newer version than this one, "
            f"which reads format {FORMAT}: upgrade attention-zoo."
        )
    if header.get("kind") == "map":
        _check_map(header)
    elif header.get("kind") == "inputs":
        _check_inputs(header)
    else:
        raise RecordError(f"A record is a map or inputs; found {shown(header.get('kind'))}.")
    return header


def part_of(header: dict, sample: int, head: int) -> int:
    """Which part of a record is the map of a sample and a head."""
    return (1 if header["format"] == 1 else 2) + sample * header["shape"][0] + head


def parts(header: dict) -> int:
    """How many parts a record has."""
    if header["kind"] == "map":
        return part_of(header, header["samples"], 0)
    return 1 + sum(sample.get("picture") is not None for sample in header["samples"])


def _check_map(header):
    shape = header.get("shape")
    if not (_is_count(header.get("samples")) and _is_counts(shape, 3)):
        raise RecordError("A map's header wants samples and shape [heads, queries, keys], none of them 0.")
    samples, (heads, *stored) = header["samples"], shape
    check_size(samples, heads, *stored)
    full = header.get("full")
    if not _is_counts(full, 2) or full[0] < stored[0] or full[1] < stored[1]:
        raise RecordError(
            f"A map of {stored} comes from at least as many queries and keys; found {shown(full)}."
        )
    if not isinstance(header.get("layer"), str):
        raise RecordError(f"A map's layer is text; found {shown(header.get('layer'))}.")
    if type(header.get("normalised")) is not bool:
        raise RecordError(f"A map is normalised or not; found {shown(header.get('normalised'))}.")
    scales = SCALES[: 1 if header["format"] == 1 else 2]
    if header.get("scale") not in scales:
        raise RecordError(f"A map's scale is {' or '.join(scales)}; found {shown(header.get('scale'))}.")
    if type(header.get("repaired")) is not int or header["repaired"] < 0:
        raise RecordError(f"A map counts repaired weights; found {shown(header.get('repaired'))}.")
    maxima = header.get("max")
    if not (
        _is_list(maxima, samples)
        and all(
            _is_list(row, heads) and all(_is_number(one) and 0 <= one <= MAX_WEIGHT for one in row)
            for row in maxima
        )
    ):
        raise RecordError(
            f"A map wants a maximum, a float32 of 0 or more, for each of {samples} samples and {heads} heads."
        )
    for name, length in zip(("queries", "keys"), stored, strict=True):
        _check_axis(name, header.get(name), length, samples)
    if header["format"] > 1:
        _check_statistics(header.get("statistics"), samples, heads)
        wanted = [min(length, THUMBNAIL) for length in stored]
        if header.get("thumbnail") != wanted:
            raise RecordError(f"Thumbnails are {wanted}; found {shown(header.get('thumbnail'))}.")


def _check_statistics(statistics, samples, heads):
    if not isinstance(statistics, dict):
        raise RecordError(f"Statistics are named; found {shown(statistics)}.")
    for name, rows in statistics.items():
        numbers = _is_list(rows, samples) and all(
            _is_list(row, heads) and all(one is None or _is_number(one) for one in row) for row in rows
        )
        if not numbers:
            raise RecordError(
                f"The statistic {shown(name)} wants a number or null for each of {samples} samples and "
                f"{heads} heads."
            )


def _check_axis(name, axis, length, samples):
    if not isinstance(axis, dict) or axis.get("kind") not in AXIS_KINDS:
        raise RecordError(f"The {name} of a map are one of {', '.join(AXIS_KINDS)}.")
    if axis.get("length") != length:
        raise RecordError(f"The map has {length} {name}, their axis has length {shown(axis.get('length'))}.")
    labels, grid = axis.get("labels"), axis.get("grid")
    if grid is not None and not (_is_counts(grid, 2) and 0 <= length - grid[0] * grid[1] <= MAX_CLASS_TOKENS):
        raise RecordError(
            f"A grid of {length} {name}, class tokens left out, is [rows, columns]; found {shown(grid)}."
        )
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
    if not all(isinstance(one, dict) and isinstance(one.get("series"), list) for one in samples):
        raise RecordError("A sample of a record of inputs wants a list of series.")
    pictures = parts(header) - 1
    for sample in samples:
        _check_picture(sample.get("picture"), pictures)
        if not isinstance(sample.get("label"), str | None):
            raise RecordError(f"A sample's label is text or null; found {shown(sample['label'])}.")
        for series in sample["series"]:
            if not isinstance(series, dict) or not isinstance(series.get("name"), str):
                raise RecordError("A series wants a name.")
            if series.get("role") not in ROLES:
                raise RecordError(
                    f"A series is one of {', '.join(ROLES)}; found {shown(series.get('role'))}."
                )
            values = series.get("values")
            if not isinstance(values, list) or not all(one is None or _is_number(one) for one in values):
                raise RecordError(f"The values of the series {shown(series['name'])} are numbers or null.")
            if not _is_texts(series.get("labels"), len(values)):
                raise RecordError(f"The series {shown(series['name'])} wants {len(values)} text labels.")


def _check_picture(picture, pictures):
    if picture is None:
        return
    if not isinstance(picture, dict) or picture.get("kind") not in PICTURES:
        raise RecordError(f"A picture is one of {', '.join(PICTURES)}.")
    if not _is_count(picture.get("part")) or picture["part"] > pictures:
        raise RecordError(
            f"A picture names one of {pictures} parts of its record; found {shown(picture.get('part'))}."
        )
    shape = picture.get("shape")
    if not _is_counts(shape, 3) or shape[0] * shape[1] > MAX_PIXELS or shape[2] not in (1, 3):
        raise RecordError(
            f"A picture is [rows, columns, 1 or 3 channels], of {MAX_PIXELS:,} pixels at most; found "
            f"{shown(shape)}."
        )


def check_size(samples: int, heads: int, queries: int, keys: int) -> None:
    """Refuse more maps, or larger ones, than a record holds."""
    if samples * heads > MAX_MAPS:
        raise RecordError(
            f"A record holds at most {MAX_MAPS} maps; found {samples} samples × {heads} heads: log fewer."
        )
    if max(queries, keys) > MAX_LENGTH:
        raise RecordError(
            f"A map has at most {MAX_LENGTH} queries and keys; found {queries} × {keys}: pool it first."
        )


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


def shown(value) -> str:
    """A value of somebody's file as it may stand in a sentence: shortened, however long or deep it is."""
    return reprlib.repr(value)
