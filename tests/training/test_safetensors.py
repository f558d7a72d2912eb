"""Judge: files written here by the format's description, sound and broken."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.safetensors import DTYPES, read_safetensors
from zoo.errors import InputError


def written(path, header, numbers=b""):
    """A file of that header, JSON or bytes."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + numbers)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_are_what_was_written(tmp_path, dtype):
    """Two arrays, one of them empty, of every type, among metadata."""
    array = np.arange(1, 16).reshape(3, 5).astype(DTYPES[dtype])
    header = {
        "__metadata__": {"format": "pt"},
        "b.weight": {"dtype": dtype, "shape": [3, 5], "data_offsets": [0, array.nbytes]},
        "none": {"dtype": dtype, "shape": [0, 7], "data_offsets": [array.nbytes, array.nbytes]},
    }
    read = read_safetensors(written(tmp_path / "a.safetensors", header, array.tobytes()))
    assert {"b.weight", "none"} == set(read)
    np.testing.assert_array_equal(array, read["b.weight"])
    assert (0, 7) == read["none"].shape
    with pytest.raises(ValueError, match="read-only"):
        read["b.weight"][0, 0] = 2


SOUND = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
BROKEN = {
    "no JSON": b"{",
    "a list": [],
    "an entry that is none": {"w": 7},
    "no shape": {"w": {"dtype": "F32", "data_offsets": [0, 24]}},
    "code for a type": {"w": SOUND | {"dtype": "O"}},
    "a type that is none": {"w": SOUND | {"dtype": ["F32"]}},
    "too many numbers": {"w": SOUND | {"shape": [2, 2]}},
    "too few numbers": {"w": SOUND | {"shape": [2**40, 2**40]}},
    "negative sizes": {"w": SOUND | {"shape": [-2, -3]}},
    "sizes that are none": {"w": SOUND | {"shape": [2.0, 3]}},
    "beyond the file": {"w": SOUND | {"data_offsets": [8, 32]}},
    "backwards": {"w": SOUND | {"data_offsets": [24, 0]}},
    "before the file": {"w": SOUND | {"data_offsets": [-24, 0]}},
    "nested without end": b"[" * 100_000,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_header_is_one_sentence(tmp_path, what):
    """Whatever the header says, an InputError tells which file it is."""
    path = written(tmp_path / "a.safetensors", BROKEN[what], bytes(24))
    with pytest.raises(InputError, match=r"The header of .*a\.safetensors is damaged: download"):
        read_safetensors(path)


@pytest.mark.parametrize("content", [b"", b"1234567", b"\xff" * 8, (2**40).to_bytes(8, "little") + b"{}"])
def test_what_is_cut_short_is_not_read(tmp_path, content):
    """A length that the file does not have allocates nothing."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a safetensors file, or is cut short"):
        read_safetensors(path)


@given(st.binary(max_size=99))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    """No bytes lead to another error than InputError."""
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    with contextlib.suppress(InputError):
        read_safetensors(path)
