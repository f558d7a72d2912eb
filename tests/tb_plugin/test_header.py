import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tb_plugin import header, record

SAMPLES, HEADS, QUERIES, KEYS = 2, 3, 5, 7
STEPS = {"kind": "step", "length": QUERIES, "labels": None, "grid": None}
DAYS = {"kind": "time", "length": KEYS, "labels": [f"2018-01-{day:02}" for day in range(2, 9)], "grid": None}
STATISTICS = {"entropy": [[0.5] * HEADS, [None] * HEADS]}


def header_of(**changed):
    """A sound header with some fields changed."""
    weights = np.full((SAMPLES, HEADS, QUERIES, KEYS), 1 / KEYS)
    blobs = record.encode_maps(weights, queries=STEPS, keys=DAYS, layer="decoder/attention")
    return json.loads(blobs[0]) | changed


def decode_changed(**changed):
    return header.decode_header(json.dumps(header_of(**changed)).encode())


def decode_inputs(samples, version=2):
    return header.decode_header(
        json.dumps({"format": version, "kind": "inputs", "samples": samples}).encode()
    )


def test_a_newer_format_is_refused_by_name():
    """Format 3 says that it is newer, not that it is damaged."""
    with pytest.raises(header.RecordError, match=r"format 3, written by a newer version .*: upgrade"):
        header.decode_header(b'{"format": 3, "anything": []}')


def test_fields_of_a_later_writer_are_ignored():
    """An unknown field does not make a record unreadable."""
    assert decode_changed(palette="viridis")["palette"] == "viridis"


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"no json",
        b"\xff\xfe",
        b"[1]",
        b"[" * 100_000,
        b'{"format": "1"}',
        b'{"format": true}',
        b'{"format": 0}',
        b'{"format": 2}',
        b'{"format": 2, "kind": "film"}',
        b'{"format": 2, "kind": "map"}',
        b'{"format": 2, "kind": "inputs"}',
        b'{"format": 2, "kind": "inputs", "samples": NaN}',
        b'{"format": ' + b"9" * 5000 + b"}",
        '{"format": 2, "kind": "map"}'.encode("utf-16"),
        b" " * 1_000_001,
    ],
)
def test_what_is_no_header_is_a_record_error(blob):
    """Whatever stands in blob 0, the error is one short sentence."""
    with pytest.raises(header.RecordError) as caught:
        header.decode_header(blob)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"samples": 0},
        {"samples": "2"},
        {"samples": 1_000_000},
        {"shape": [HEADS, QUERIES]},
        {"shape": [HEADS, QUERIES, 0]},
        {"shape": [HEADS, QUERIES, 10**9]},
        {"shape": [HEADS, QUERIES, 7.5]},
        {"full": [QUERIES - 1, KEYS]},
        {"full": None},
        {"layer": 5},
        {"normalised": 1},
        {"scale": "linear"},
        {"repaired": -1},
        {"max": [[0.5] * HEADS]},
        {"max": [[0.5] * HEADS, [0.5, 0.5, -1]]},
        {"max": [[0.5] * HEADS, [0.5, 0.5, "1"]]},
        {"max": [[0.5] * HEADS, [0.5, 0.5, 10**400]]},
        {"max": [[0.5] * HEADS, [0.5, 0.5, 1e39]]},
        {"statistics": None},
        {"statistics": []},
        {"statistics": {"entropy": [[0.5] * HEADS]}},
        {"statistics": {"entropy": [[0.5] * HEADS, [0.5, 0.5, "0.5"]]}},
        {"thumbnail": None},
        {"thumbnail": [QUERIES, KEYS + 1]},
        {"queries": None},
        {"queries": STEPS | {"kind": ["step"]}},
        {"queries": STEPS | {"length": QUERIES + 1}},
        {"keys": DAYS | {"labels": "1234567"}},
        {"keys": DAYS | {"labels": [1] * KEYS}},
        {"keys": DAYS | {"labels": [DAYS["labels"]]}},
        {"keys": DAYS | {"grid": [2, 4]}},
        {"keys": DAYS | {"grid": 7}},
    ],
    ids=str,
)
def test_every_wrong_field_of_a_map_is_a_record_error(changed):
    """One wrong field of an otherwise sound header is refused."""
    decode_changed()
    with pytest.raises(header.RecordError):
        decode_changed(**changed)


def test_infinite_number_in_a_header_is_refused():
    """1e999 is JSON that Python reads as infinity, but no maximum."""
    sound = json.dumps(header_of(max=[[0.125] * HEADS] * SAMPLES))
    header.decode_header(sound.encode())
    with pytest.raises(header.RecordError, match="a maximum, a float32 of 0 or more"):
        header.decode_header(sound.replace("0.125", "1e999").encode())


def test_a_grid_that_fits_is_kept():
    """Seven patches in one row are a grid, and so are six after a class token."""
    assert decode_changed(keys=DAYS | {"kind": "patch", "grid": [1, 7]})["keys"]["grid"] == [1, 7]
    assert decode_changed(keys=DAYS | {"kind": "patch", "grid": [2, 3]})["keys"]["grid"] == [2, 3]


@pytest.mark.parametrize("samples", [[], [5], [{"label": 5, "series": []}], [{"label": "a"}], "abc"], ids=str)
def test_wrong_samples_are_refused(samples):
    """A record of inputs is a list of samples, each with a list of series."""
    with pytest.raises(header.RecordError):
        decode_inputs(samples)


def test_values_that_are_no_numbers_are_refused():
    """A value is a number or null."""
    series = {"name": "close", "role": "input", "labels": ["Mon"], "values": ["2.0"]}
    with pytest.raises(header.RecordError, match="'close' are numbers or null"):
        decode_inputs([{"label": "a", "series": [series]}])


def test_statistics_come_back():
    """Numbers and nulls, of names that a later writer may add to."""
    assert (
        STATISTICS | {"tilt": [[1] * HEADS] * SAMPLES}
        == decode_changed(statistics=STATISTICS | {"tilt": [[1] * HEADS] * SAMPLES})["statistics"]
    )


def test_format_1_is_read_without_what_it_did_not_have():
    """Neither statistics nor thumbnails are asked of it, but exact weights are refused."""
    old = header_of(format=1)
    del old["statistics"], old["thumbnail"]
    found = header.decode_header(json.dumps(old).encode())
    assert (1 + SAMPLES * HEADS, 1) == (header.parts(found), header.part_of(found, 0, 0))
    with pytest.raises(header.RecordError, match="scale is sqrt; found 'exact'"):
        header.decode_header(json.dumps(old | {"scale": "exact"}).encode())
    assert 1 == header.parts(decode_inputs([{"label": None, "series": []}], version=1))


PICTURE = {"kind": "image", "shape": [5, 7, 3], "part": 1}


def test_pictures_are_parts_of_their_record():
    """Of three samples, two with a picture, the record has three parts."""
    samples = [
        {"label": None, "series": [], "picture": one} for one in (PICTURE, None, PICTURE | {"part": 2})
    ]
    assert 3 == header.parts(decode_inputs(samples))


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "film"},
        {"kind": ["image"]},
        {"part": 0},
        {"part": 2},
        {"part": None},
        {"shape": [5, 7]},
        {"shape": [5, 7, 2]},
        {"shape": [5, 0, 3]},
        {"shape": [2**20 + 1, 1, 1]},
    ],
    ids=str,
)
def test_wrong_picture_is_a_record_error(changed):
    """One wrong field of an otherwise sound picture is refused."""
    decode_inputs([{"label": None, "series": [], "picture": PICTURE}])
    with pytest.raises(header.RecordError):
        decode_inputs([{"label": None, "series": [], "picture": PICTURE | changed}])


def test_nesting_as_deep_as_json_goes_is_one_sentence():
    """A value that Python could read, but not show, is a RecordError at every depth."""
    for depth in range(900, 1000):
        blob = b'{"format": 2, "kind": ' + b"[" * depth + b"]" * depth + b"}"
        with pytest.raises(header.RecordError) as caught:
            header.decode_header(blob)
        assert len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=7,
)
SOUND = header_of()


def decoded_or_refused(blob):
    """Whatever is no RecordError fails the test."""
    try:
        found = header.decode_header(blob)
    except header.RecordError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
    else:
        assert header.parts(found) >= 1


@given(field=st.sampled_from(sorted(SOUND)), value=JSON)
def test_any_value_of_any_field_is_read_or_refused(field, value):
    """Fuzzed: no value of any field of a map's header is any other error than a RecordError."""
    decoded_or_refused(json.dumps(SOUND | {field: value}).encode())


@given(side=st.sampled_from(["queries", "keys"]), field=st.sampled_from(sorted(DAYS)), value=JSON)
def test_any_value_of_an_axis_is_read_or_refused(side, field, value):
    """Fuzzed: the same of the axes' fields."""
    decoded_or_refused(json.dumps(SOUND | {side: SOUND[side] | {field: value}}).encode())


@given(
    JSON,
    st.sampled_from([(), ("label",), ("series",), ("picture",), ("series", 0), ("picture", "shape")]),
)
def test_any_value_of_inputs_is_read_or_refused(value, path):
    """Fuzzed: the same of a sample, its series and its picture."""
    series = {"name": "close", "role": "input", "labels": ["Mon"], "values": [2.0]}
    sample = {"label": "a", "series": [series], "picture": dict(PICTURE)}
    inside = sample
    for key in path[:-1]:
        inside = inside[key]
    if path:
        inside[path[-1]] = value
    else:
        sample = value
    decoded_or_refused(json.dumps({"format": 2, "kind": "inputs", "samples": [sample]}).encode())


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(blob):
    """Fuzzed: bytes that are no header."""
    decoded_or_refused(blob)
    decoded_or_refused(b'{"format": 2, "kind": "map", ' + blob)


@given(st.integers(0, len(json.dumps(SOUND))), st.binary(max_size=5))
def test_a_damaged_header_is_read_or_refused(at, put):
    """Fuzzed: a sound header with some bytes put over it."""
    blob = json.dumps(SOUND).encode()
    decoded_or_refused(blob[:at] + put + blob[at + len(put) :])
