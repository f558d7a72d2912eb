import gzip
import json
import tracemalloc

import numpy as np
import pytest

from tb_plugin import record

SAMPLES, HEADS, QUERIES, KEYS = 2, 3, 5, 7
STEPS = {"kind": "step", "length": QUERIES, "labels": None, "grid": None}
DAYS = {"kind": "time", "length": KEYS, "labels": [f"2018-01-{day:02}" for day in range(2, 9)], "grid": None}


def random_weights(seed, sharpness, shape=(SAMPLES, HEADS, QUERIES, KEYS)):
    scores = sharpness * np.random.default_rng(seed).normal(size=shape)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def encode(weights, **changed):
    return record.encode_maps(
        weights, **{"queries": STEPS, "keys": DAYS, "layer": "decoder/attention", **changed}
    )


def header_of(**changed):
    """A sound header with some fields changed."""
    return json.loads(encode(random_weights(0, 1))[0]) | changed


def decode_changed(**changed):
    return record.decode_header(json.dumps(header_of(**changed)).encode())


@pytest.mark.parametrize("sharpness", [0.0, 0.1, 1.0, 10.0, 50.0])
def test_every_weight_comes_back_within_the_stated_bound(sharpness):
    """|w' - w| ≤ √(w m) / 255 + m / 510² for every sample and head, in its own place."""
    weights = random_weights(11, sharpness)
    blobs = encode(weights)
    header = record.decode_header(blobs[0])
    for sample in range(SAMPLES):
        for head in range(HEADS):
            w = weights[sample, head].astype(np.float64)
            read = record.decode_map(header, blobs[1 + sample * HEADS + head], sample, head)
            bound = np.sqrt(w * w.max()) / 255 + w.max() / 510**2
            assert read.dtype == np.float32
            assert (np.abs(read - w) <= bound + 1e-6 * w.max()).all()


def test_the_bound_is_reached_nowhere_above_its_maximum():
    """The error comes within 1% of m (1/255 - 1/510²), and never above it."""
    w = np.linspace(0, 1, 509 * 512).reshape(1, 1, 509, 512)
    axes = {"queries": STEPS | {"length": 509}, "keys": STEPS | {"length": 512}}
    blobs = encode(w, **axes)
    error = np.abs(record.decode_map(record.decode_header(blobs[0]), blobs[1], 0, 0) - w[0, 0]).max()
    highest = 1 / 255 - 1 / 510**2
    assert 0.99 * highest < error <= highest + 1e-6


def test_a_diffuse_map_keeps_its_rows_sums():
    """Rows of 512 almost equal weights still sum to 1 within 1%, where a linear byte would lose them."""
    weights = random_weights(5, 0.1, (1, 1, QUERIES, 512))
    blobs = encode(weights, keys=STEPS | {"length": 512})
    read = record.decode_map(record.decode_header(blobs[0]), blobs[1], 0, 0)
    np.testing.assert_allclose(1, read.sum(-1), atol=0.01)


def test_header_says_what_was_given():
    """Every field of a header stands as the wire format names it."""
    labels = [[f"{sample}:{query}" for query in range(QUERIES)] for sample in range(SAMPLES)]
    weights = random_weights(3, 1)
    blobs = encode(weights, queries=STEPS | {"labels": labels}, full=(13, 17), normalised=False)
    assert record.decode_header(blobs[0]) == {
        "format": 1,
        "kind": "map",
        "layer": "decoder/attention",
        "samples": SAMPLES,
        "shape": [HEADS, QUERIES, KEYS],
        "full": [13, 17],
        "normalised": False,
        "scale": "sqrt",
        "max": weights.max((2, 3)).tolist(),
        "queries": STEPS | {"labels": labels},
        "keys": DAYS,
        "repaired": 0,
    }


def test_tags_hold_nothing_that_json_escapes():
    """Quotes, backslashes and control characters become _, all else stays."""
    assert "attention/../<b>_x_ __é/layer" == record.map_tag('../<b>"x" \n\\é', "layer")
    assert "attention/_/__inputs__" == record.inputs_tag('"')


def test_records_are_the_same_bytes_each_time():
    """Nothing of the clock stands in a record."""
    assert encode(random_weights(3, 1)) == encode(random_weights(3, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -0.25])
def test_impossible_weights_become_0_and_are_counted(bad):
    """NaN, infinite and negative weights are stored as 0, the others untouched."""
    weights = random_weights(7, 1)
    weights[1, 2, 3, 4] = weights[1, 2, 0, 0] = bad
    blobs = encode(weights)
    header = record.decode_header(blobs[0])
    read = record.decode_map(header, blobs[-1], 1, 2)
    assert header["repaired"] == 2
    assert read[3, 4] == read[0, 0] == 0
    np.testing.assert_allclose(read[1], weights[1, 2, 1], atol=1 / 255)


def test_a_weight_beyond_float32_is_repaired_without_a_warning():
    """1e300 is infinite in float32, so it counts as repaired."""
    weights = random_weights(7, 1).astype(np.float64)
    weights[0, 0, 0, 0] = 1e300
    assert record.decode_header(encode(weights)[0])["repaired"] == 1


@pytest.mark.parametrize("value", [0.0, 1e-45, 3.0e38])
def test_extreme_maxima_survive(value):
    """An empty map, the smallest and almost the largest float32 come back."""
    blobs = encode(np.full((1, 1, QUERIES, KEYS), value, np.float32))
    read = record.decode_map(record.decode_header(blobs[0]), blobs[1], 0, 0)
    np.testing.assert_array_equal(np.full((QUERIES, KEYS), value, np.float32), read)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((QUERIES, KEYS), "none of them 0"),
        ((1, 0, QUERIES, KEYS), "none of them 0"),
        ((257, 1, QUERIES, KEYS), "257 samples × 1 heads"),
        ((1, 1, 513, KEYS), "513 × 7: pool it first"),
        ((1, 1, QUERIES, 521), "5 × 521: pool it first"),
        ((1, 1, QUERIES, 11), "The map has 11 keys, their axis has length 7"),
    ],
)
def test_weights_that_no_record_holds_are_refused(shape, said):
    """Too many maps, too large maps and axes that do not fit are one sentence."""
    with pytest.raises(ValueError, match=said):
        encode(np.zeros(shape))


def test_largest_record_is_within_what_readers_take():
    """256 maps, the most a record may hold, are read back."""
    blobs = encode(random_weights(1, 1, (64, 4, QUERIES, KEYS)))
    assert len(blobs) == 257
    assert record.decode_map(record.decode_header(blobs[0]), blobs[256], 63, 3).shape == (QUERIES, KEYS)


def test_a_header_too_large_to_be_read_is_not_written():
    """Labels of more than a megabyte are refused when they are logged, not when they are looked at."""
    labels = [["x" * 1000] * KEYS for _ in range(211)]
    with pytest.raises(ValueError, match="at most 1,000,000 are read: log fewer samples or shorter labels"):
        encode(np.zeros((211, 1, QUERIES, KEYS)), keys=DAYS | {"labels": labels})


def test_a_newer_format_is_refused_by_name():
    """Format 2 says that it is newer, not that it is damaged."""
    with pytest.raises(record.RecordError, match=r"format 2, written by a newer version .*: upgrade"):
        record.decode_header(b'{"format": 2, "anything": []}')


def test_fields_of_a_later_writer_are_ignored():
    """An unknown field does not make a format 1 record unreadable."""
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
        b'{"format": 1}',
        b'{"format": 1, "kind": "film"}',
        b'{"format": 1, "kind": "map"}',
        b'{"format": 1, "kind": "inputs"}',
        b'{"format": 1, "kind": "inputs", "samples": NaN}',
        b'{"format": ' + b"9" * 5000 + b"}",
        '{"format": 1, "kind": "map"}'.encode("utf-16"),
        b" " * 1_000_001,
    ],
)
def test_what_is_no_header_is_a_record_error(blob):
    """Whatever stands in blob 0, the error is one short sentence."""
    with pytest.raises(record.RecordError) as caught:
        record.decode_header(blob)
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
        {"queries": None},
        {"queries": STEPS | {"kind": ["step"]}},
        {"queries": STEPS | {"length": QUERIES + 1}},
        {"keys": DAYS | {"labels": "1234567"}},
        {"keys": DAYS | {"labels": [1] * KEYS}},
        {"keys": DAYS | {"labels": [DAYS["labels"]]}},
        {"keys": DAYS | {"grid": [2, 3]}},
        {"keys": DAYS | {"grid": 7}},
    ],
    ids=str,
)
def test_every_wrong_field_of_a_map_is_a_record_error(changed):
    """One wrong field of an otherwise sound header is refused."""
    decode_changed()
    with pytest.raises(record.RecordError):
        decode_changed(**changed)


def test_infinite_number_in_a_header_is_refused():
    """1e999 is JSON that Python reads as infinity, but no maximum."""
    sound = json.dumps(header_of(max=[[0.125] * HEADS] * SAMPLES))
    record.decode_header(sound.encode())
    with pytest.raises(record.RecordError, match="a maximum, 0 or more"):
        record.decode_header(sound.replace("0.125", "1e999").encode())


def test_a_grid_that_fits_is_kept():
    """Seven patches in one row are a grid."""
    assert decode_changed(keys=DAYS | {"kind": "patch", "grid": [1, 7]})["keys"]["grid"] == [1, 7]


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"no gzip",
        gzip.compress(bytes(QUERIES * KEYS - 1), mtime=0),
        gzip.compress(bytes(QUERIES * KEYS + 1), mtime=0),
        gzip.compress(bytes(QUERIES * KEYS), mtime=0)[:-5],
        gzip.compress(bytes(QUERIES * KEYS), mtime=0) + b"more",
        gzip.compress(bytes(QUERIES * KEYS), mtime=0)[:-8] + bytes(8),
    ],
)
def test_damaged_map_is_a_record_error(blob):
    """Too short, too long, cut off, followed by more, or with a wrong sum."""
    with pytest.raises(record.RecordError, match="sample 0, head 1 of 'decoder/attention' is damaged"):
        record.decode_map(header_of(), blob, 0, 1)


def test_gzip_bomb_is_not_unpacked():
    """256 MB of zeros in a small blob are refused with less than 2 MB of memory."""
    bomb = gzip.compress(bytes(256 << 20), compresslevel=1)
    tracemalloc.start()
    try:
        with pytest.raises(record.RecordError, match="is damaged"):
            record.decode_map(header_of(), bomb, 0, 0)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_inputs_come_back_with_gaps():
    """Values that are not finite are null; names, roles and labels stand as given."""
    values = np.array([2695.8, np.nan, np.inf], np.float32)
    close = {"name": "S&P 500 close", "role": "input", "labels": ["Mon", "Tue", "Wed"], "values": values}
    forecast = {"name": "forecast", "role": "forecast", "labels": ["Thu"], "values": [None]}
    [blob] = record.encode_inputs(
        [{"label": None, "series": [close, forecast]}, {"label": "b", "series": []}]
    )
    assert record.decode_header(blob) == {
        "format": 1,
        "kind": "inputs",
        "samples": [
            {
                "label": None,
                "series": [close | {"values": [float(np.float32(2695.8)), None, None]}, forecast],
            },
            {"label": "b", "series": []},
        ],
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "price"},
        {"name": None},
        {"labels": ["Mon"]},
        {"labels": None},
        {"labels": [1, 2]},
    ],
    ids=str,
)
def test_wrong_series_is_refused(changed):
    """A series whose role, name or labels are wrong is not written."""
    series = {"name": "close", "role": "input", "labels": ["Mon", "Tue"], "values": [2.0, 3.0]}
    record.encode_inputs([{"label": "a", "series": [series]}])
    with pytest.raises(record.RecordError):
        record.encode_inputs([{"label": "a", "series": [series | changed]}])


@pytest.mark.parametrize("samples", [[], [5], [{"label": 5, "series": []}], [{"label": "a"}], "abc"], ids=str)
def test_wrong_samples_are_refused(samples):
    """A record of inputs is a list of samples, each with a list of series."""
    with pytest.raises(record.RecordError):
        record.decode_header(json.dumps({"format": 1, "kind": "inputs", "samples": samples}).encode())


def test_values_that_are_no_numbers_are_refused():
    """A value is a number or null."""
    series = {"name": "close", "role": "input", "labels": ["Mon"], "values": ["2.0"]}
    header = {"format": 1, "kind": "inputs", "samples": [{"label": "a", "series": [series]}]}
    with pytest.raises(record.RecordError, match="'close' are numbers or null"):
        record.decode_header(json.dumps(header).encode())
