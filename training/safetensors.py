"""Weights in the safetensors format: a JSON header, then raw numbers. Nothing of such a file is executed."""

import json
import math
import os

import numpy as np

from zoo.errors import InputError

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
}
MAX_HEADER_BYTES = 10_000_000


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """`{name: array}` of a safetensors file (https://github.com/huggingface/safetensors).

    The file is `<Q length>`, JSON `{name: {"dtype", "shape", "data_offsets": [begin, end]}}`, the numbers. It
    is mapped, not read: an array costs memory only where it is looked at, and cannot be written to.

    Raises InputError for anything else: a header longer than 10 MB, one that is no such JSON, a type other
    than those of `DTYPES`, numbers that do not lie in the file or do not fill their shape.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(MAX_HEADER_BYTES, size - 8):
            raise InputError(f"{path} is not a safetensors file, or is cut short: download it again.")
        header = file.read(length)
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        numbers = np.memmap(path, "u1", "r", offset=8 + length) if size > 8 + length else np.zeros(0, "u1")
        return {name: _array(entry, numbers) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"The header of {path} is damaged: download the file again.") from None


def _array(entry, numbers):
    dtype, shape, (begin, end) = np.dtype(DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
    counts = [*shape, begin, end]
    if not all(type(count) is int and count >= 0 for count in counts) or not begin <= end <= len(numbers):
        raise ValueError(counts)
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(shape)
    return numbers[begin:end].view(dtype).reshape(shape)
