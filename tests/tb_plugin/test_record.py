import gzip
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def read_back(blobs, sample=0, head=0):
    return record.decode_map(record.decode_header(blobs[0]), blobs, sample, head)


@pytest.mark.parametrize("sharpness", [0.0, 0.1, 1.0, 10.0, 50.0])
def test_every_weight_comes_back_within_the_stated_bound(sharpness):
    """|w' - w| ≤ √(w m) / 255 + m / 510² for every sample and head, in its own place."""
    weights = random_weights(11, sharpness)
    blobs = encode(weights)
    header = record.decode_header(blobs[0])
    for sample in range(SAMPLES):
        for head in range(HEADS):
            w = weights[sample, head].astype(np.float64)
            read = record.decode_map(header, blobs, sample, head)
            bound = np.sqrt(w * w.max()) / 255 + w.max() / 510**2
            assert read.dtype == np.float32
            assert (np.abs(read - w) <= bound + 1e-6 * w.max()).all()


def test_the_bound_is_reached_nowhere_above_its_maximum():
    """The error comes within 1% of m (1/255 - 1/510²), and never above it."""
    w = np.linspace(0, 1, 509 * 512).reshape(1, 1, 509, 512)
    axes = {"queries": STEPS | {"length": 509}, "keys": STEPS | {"length": 512}}
    blobs = encode(w, **axes)
    error = np.abs(record.decode_map(record.decode_header(blobs[0]), blobs, 0, 0) - w[0, 0]).max()
    highest = 1 / 255 - 1 / 510**2
    assert 0.99 * highest < error <= highest + 1e-6


def test_a_diffuse_map_keeps_its_rows_sums():
    """Rows of 512 almost equal weights still sum to 1 within 1%, where a linear byte would lose them."""
    weights = random_weights(5, 0.1, (1, 1, QUERIES, 512))
    blobs = encode(weights, keys=STEPS | {"length": 512})
    read = record.decode_map(record.decode_header(blobs[0]), blobs, 0, 0)
    np.testing.assert_allclose(1, read.sum(-1), atol=0.01)


def test_header_says_what_was_given():
    """Every field of a header stands as the wire format names it."""
    labels = [[f"{sample}:{query}" for query in range(QUERIES)] for sample in range(SAMPLES)]
    weights = random_weights(3, 1)
    seen = {"entropy": np.array([[0.25, 0.5, 0.75], [np.nan, 0, 1]])}
    blobs = encode(
        weights, queries=STEPS | {"labels": labels}, full=(13, 17), normalised=False, statistics=seen
    )
    assert record.decode_header(blobs[0]) == {
        "format": 2,
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
        "statistics": {"entropy": [[0.25, 0.5, 0.75], [None, 0, 1]]},
        "thumbnail": [QUERIES, KEYS],
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
    read = record.decode_map(header, blobs, 1, 2)
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
    read = record.decode_map(record.decode_header(blobs[0]), blobs, 0, 0)
    np.testing.assert_array_equal(np.full((QUERIES, KEYS), value, np.float32), read)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((QUERIES, KEYS), "none of the lengths 0"),
        ((1, 0, QUERIES, KEYS), "none of the lengths 0"),
        ((257, 1, QUERIES, KEYS), "257 samples × 1 heads"),
        ((1, 1, 4097, KEYS), "4097 × 7: pool it first"),
        ((1, 1, QUERIES, 4099), "5 × 4099: pool it first"),
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
    assert len(blobs) == 2 + 256
    assert read_back(blobs, 63, 3).shape == (QUERIES, KEYS)


def test_a_header_too_large_to_be_read_is_not_written():
    """Labels of more than a megabyte are refused when they are logged, not when they are looked at."""
    labels = [["x" * 1000] * KEYS for _ in range(211)]
    with pytest.raises(ValueError, match="at most 1,000,000 are read: log fewer samples or shorter labels"):
        encode(np.zeros((211, 1, QUERIES, KEYS)), keys=DAYS | {"labels": labels})


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
    """Too short, too long, cut off, followed by more, or with a wrong sum; the others are read."""
    blobs = encode(random_weights(0, 1))
    blobs[3] = blob
    with pytest.raises(record.RecordError, match="sample 0, head 1 of 'decoder/attention' is damaged"):
        read_back(blobs, 0, 1)
    assert (QUERIES, KEYS) == read_back(blobs, 0, 2).shape


def test_gzip_bomb_is_not_unpacked():
    """256 MB of zeros in a small blob are refused with less than 2 MB of memory."""
    blobs = encode(random_weights(0, 1))
    blobs[2] = gzip.compress(bytes(256 << 20), compresslevel=1)
    tracemalloc.start()
    try:
        with pytest.raises(record.RecordError, match="is damaged"):
            read_back(blobs)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("sample", "head"), [(SAMPLES, 0), (0, HEADS), (-1, 0), (0, -1)])
def test_a_map_that_is_not_there_is_a_record_error(sample, head):
    """A sample or head beyond the record, and one below 0, are named."""
    with pytest.raises(record.RecordError, match=f"2 samples and 3 heads.*sample {sample}, head {head}"):
        read_back(encode(random_weights(0, 1)), sample, head)


def test_a_part_that_is_missing_is_a_record_error():
    """A record that ends early is damaged where it ends."""
    with pytest.raises(record.RecordError, match="sample 1, head 2 .* is damaged"):
        read_back(encode(random_weights(0, 1))[:-1], 1, 2)


@given(st.binary(max_size=200), st.integers(0, 1), st.booleans())
def test_any_bytes_of_a_map_are_read_or_refused(data, packed, exact):
    """Fuzzed: what stands for a map is weights between 0 and the maximum, or a RecordError."""
    blobs = encode(random_weights(0, 1), exact=exact)
    blobs[2] = gzip.compress(data) if packed else data
    try:
        read = read_back(blobs)
    except record.RecordError:
        return
    assert ((read >= 0) & (read <= random_weights(0, 1)[0, 0].max())).all()


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 50.0])
def test_exact_weights_come_back_to_the_last_bit(sharpness):
    """`exact` keeps float32, its smallest and largest numbers too."""
    weights = random_weights(13, sharpness)
    weights[0, 0, 0, :3] = 1e-45, 3.4e38, 0
    blobs = encode(weights, exact=True)
    assert "exact" == record.decode_header(blobs[0])["scale"]
    for sample, head in np.ndindex(SAMPLES, HEADS):
        np.testing.assert_array_equal(weights[sample, head], read_back(blobs, sample, head), strict=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 2.0])
def test_exact_weights_that_no_writer_wrote_are_damaged(bad):
    """What lies beyond 0 and the header's maximum is refused, NaN too."""
    blobs = encode(random_weights(13, 1), exact=True)
    weights = random_weights(13, 1)[0, 0]
    weights[1, 2] = bad
    planes = np.frombuffer(weights.tobytes(), np.uint8).reshape(-1, 4).T
    blobs[2] = gzip.compress(planes.tobytes())
    with pytest.raises(record.RecordError, match="sample 0, head 0 .* is damaged"):
        read_back(blobs)


def test_a_record_of_format_1_is_read():
    """Written by hand as format 1 was: a header and the maps, no thumbnails, no statistics."""
    levels = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
    old = {"format": 1, "kind": "map", "layer": "old", "samples": 1, "shape": [1, 5, 7], "full": [5, 7]}
    old |= {
        "normalised": True,
        "scale": "sqrt",
        "max": [[0.5]],
        "queries": STEPS,
        "keys": DAYS,
        "repaired": 0,
    }
    blobs = [json.dumps(old).encode(), gzip.compress(levels.tobytes())]
    np.testing.assert_allclose(0.5 * (levels / 255) ** 2, read_back(blobs), rtol=1e-6)


def thumbnails_of(blobs):
    header = record.decode_header(blobs[0])
    return np.frombuffer(gzip.decompress(blobs[1]), np.uint8).reshape(-1, *header["thumbnail"])


def test_a_small_map_is_its_own_thumbnail():
    """Up to 32 × 32 a thumbnail has every cell, on the root scale of its maximum."""
    weights = random_weights(3, 1)
    expected = np.rint(255 * np.sqrt(weights / weights.max((2, 3), keepdims=True)))
    thumbnails = thumbnails_of(encode(weights)).reshape(expected.shape)
    np.testing.assert_array_equal(expected, thumbnails)


def test_thumbnails_are_pooled_as_maps_are():
    """Each bin is the mean over its queries of the sum over its keys."""
    weights = random_weights(3, 1, (1, 2, 67, 101))
    blobs = encode(weights, queries=STEPS | {"length": 67}, keys=STEPS | {"length": 101})
    pooled = np.array(
        [
            [
                [
                    one[i * 67 // 32 : (i + 1) * 67 // 32, j * 101 // 32 : (j + 1) * 101 // 32].sum(1).mean()
                    for j in range(32)
                ]
                for i in range(32)
            ]
            for one in weights[0]
        ]
    )
    expected = 255 * np.sqrt(pooled / pooled.max((1, 2), keepdims=True))
    assert [32, 32] == record.decode_header(blobs[0])["thumbnail"]
    np.testing.assert_allclose(expected, thumbnails_of(blobs), atol=0.501)


def test_thumbnails_of_the_largest_numbers_are_whole():
    """Sums beyond float32 do not spoil a thumbnail; a map of zeros has one of zeros."""
    weights = np.full((1, 2, 41, 43), 3e38, np.float32)
    weights[0, 1] = 0
    blobs = encode(weights, queries=STEPS | {"length": 41}, keys=STEPS | {"length": 43})
    large, empty = thumbnails_of(blobs)
    assert (255, 0) == (large.max(), empty.max())


@pytest.mark.parametrize("weights", [np.ones((1, 1, 5, 7), complex), np.full((1, 1, 5, 7), "a")])
def test_weights_that_are_no_real_numbers_are_refused(weights):
    """The data type that was found is in the sentence."""
    with pytest.raises(record.RecordError, match=f"real numbers .* found {weights.dtype}"):
        encode(weights)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64])
def test_other_real_numbers_are_weights(dtype):
    """They are kept as float32."""
    weights = np.eye(5, 7, dtype=dtype)[None, None]
    np.testing.assert_array_equal(np.eye(5, 7, dtype=np.float32), read_back(encode(weights)), strict=True)


def test_pictures_come_back():
    """Each picture is a part of its own, packed, in the order of the samples."""
    pixels = np.random.default_rng(7).integers(0, 256, (2, 11, 13, 3), np.uint8)
    pictures = [
        {"kind": "image", "pixels": pixels[0]},
        None,
        {"kind": "spectrogram", "pixels": pixels[1, ..., :1]},
    ]
    blobs = record.encode_inputs([{"label": None, "series": [], "picture": one} for one in pictures])
    described = [sample["picture"] for sample in record.decode_header(blobs[0])["samples"]]
    assert [
        {"kind": "image", "shape": [11, 13, 3], "part": 1},
        None,
        {"kind": "spectrogram", "shape": [11, 13, 1], "part": 2},
    ] == described
    assert [pixels[0].tobytes(), pixels[1, ..., :1].tobytes()] == [gzip.decompress(one) for one in blobs[1:]]


def test_inputs_come_back_with_gaps():
    """Values that are not finite are null; names, roles and labels stand as given."""
    values = np.array([2695.8, np.nan, np.inf], np.float32)
    close = {"name": "S&P 500 close", "role": "input", "labels": ["Mon", "Tue", "Wed"], "values": values}
    forecast = {"name": "forecast", "role": "forecast", "labels": ["Thu"], "values": [None]}
    [blob] = record.encode_inputs(
        [{"label": None, "series": [close, forecast]}, {"label": "b", "series": []}]
    )
    assert record.decode_header(blob) == {
        "format": 2,
        "kind": "inputs",
        "samples": [
            {
                "label": None,
                "series": [close | {"values": [float(np.float32(2695.8)), None, None]}, forecast],
                "picture": None,
            },
            {"label": "b", "series": [], "picture": None},
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
