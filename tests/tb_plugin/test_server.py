import gzip
import json
import time
import urllib.request

import numpy as np
import pytest
from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

from tb_plugin import event_file, record

SAMPLES, HEADS, QUERIES, KEYS = 2, 3, 5, 7
AXES = {
    "queries": {"kind": "step", "length": QUERIES, "labels": None, "grid": None},
    "keys": {"kind": "step", "length": KEYS, "labels": None, "grid": None},
}
NAMES = '../odd & <b>"name"?x=1#y'
TAG = record.map_tag(NAMES, "decoder/../attention")
INPUTS = record.inputs_tag(NAMES)
ESCAPED = 'attention/"quoted"\\slash'
PRICE = {"name": "S&P 500 close", "role": "input", "labels": ["Mon", "Tue"], "values": [2695.8, None]}


def weights_at(step):
    return np.random.default_rng(step).uniform(size=(SAMPLES, HEADS, QUERIES, KEYS)).astype(np.float32)


def maps_at(step):
    return record.encode_maps(weights_at(step), **AXES, layer="decoder/../attention")


def with_header(**changed):
    header, *maps = maps_at(0)
    return [json.dumps(json.loads(header) | changed).encode(), *maps]


def value_with(tensor, data_class=summary_pb2.DATA_CLASS_BLOB_SEQUENCE):
    value = event_file.blob_value("attention/bad", [b"{}"])
    value.metadata.data_class = data_class
    value.tensor.CopyFrom(tensor)
    return value


def strings(blobs, *sizes):
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in sizes]
    shape = tensor_shape_pb2.TensorShapeProto(dim=dims)
    return tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=blobs)


def without_value():
    value = event_file.blob_value("attention/bad", [b"{}"])
    value.ClearField("tensor")
    return value


NUMBERS = tensor_pb2.TensorProto(
    dtype=types_pb2.DT_FLOAT, tensor_shape=strings([], 2).tensor_shape, float_val=[1, 2]
)
# What a record of each run is, and what is said of it; `None` where its tag is not even listed.
BAD = {
    "no value": (without_value(), None),
    "rank 0": (value_with(strings([b"{}"])), None),
    "rank 2": (value_with(strings(maps_at(0)[:4], 2, 2)), None),
    "numbers": (value_with(NUMBERS), None),
    "no data class": (value_with(strings(maps_at(0), 8), summary_pb2.DATA_CLASS_UNKNOWN), None),
    "no blobs": (event_file.blob_value("attention/bad", []), "is not a list of byte strings"),
    "no header": (event_file.blob_value("attention/bad", [b"no json"]), "is not JSON"),
    "long header": (event_file.blob_value("attention/bad", [b" " * 2_000_000]), "at most 1,000,000 are read"),
    "wrong field": (event_file.blob_value("attention/bad", with_header(repaired="none")), "counts repaired"),
    "map missing": (
        event_file.blob_value("attention/bad", maps_at(0)[:-1]),
        "has 7 parts, its header names 8",
    ),
    "newer format": (
        event_file.blob_value("attention/bad", [b'{"format": 3}']),
        "written by a newer version",
    ),
}


def format_1(step):
    """As format 1 was written: no thumbnails, no statistics, maps from the first part on."""
    header, _, *maps = maps_at(step)
    old = json.loads(header) | {"format": 1}
    del old["statistics"], old["thumbnail"]
    return [json.dumps(old).encode(), *maps]


PICTURE = {"kind": "image", "pixels": np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)}
SAMPLE = {"label": "a", "series": [PRICE], "picture": PICTURE}


def write_logs(logs):
    with event_file.EventFile(logs / "good" / "attention") as file:
        for step in range(200):
            maps = event_file.blob_value(TAG, maps_at(step))
            inputs = event_file.blob_value(INPUTS, record.encode_inputs([SAMPLE]))
            file.write([maps, inputs], step, wall_time=1.5e9 + step)
    with event_file.EventFile(logs / "sub & <i>") as file:
        file.write([event_file.blob_value(TAG, maps_at(0))], 0)
    for name, (value, _) in BAD.items():
        with event_file.EventFile(logs / "bad" / name) as file:
            file.write([value], 0)
    with event_file.EventFile(logs / "a million blobs") as file:
        file.write([value_with(strings(maps_at(0), 10**6))], 0)
    with event_file.EventFile(logs / "old") as file:
        file.write([event_file.blob_value(TAG, format_1(0), b'{"format":1}')], 0)
    with event_file.EventFile(logs / "mixed") as file:
        for step, blobs in enumerate((maps_at(0), [b"no json"], maps_at(2))):
            file.write([event_file.blob_value(TAG, blobs)], step)
    with event_file.EventFile(logs / "escaped") as file:
        file.write([event_file.blob_value(ESCAPED, maps_at(0))], 0)
    bomb = [*maps_at(0)[:2], *[gzip.compress(bytes(64 << 20))] * SAMPLES * HEADS]
    with event_file.EventFile(logs / "bomb") as file:
        file.write([event_file.blob_value(TAG, bomb)], 0)


@pytest.fixture(scope="module", params=[(), ("--load_fast=false",)], ids=["data server", "python"])
def client(request, tmp_path_factory, start_tensorboard, client_of):
    """A TensorBoard over good and bad logs, all of them read."""
    logs = tmp_path_factory.mktemp("logs")
    write_logs(logs)
    with start_tensorboard(logs, *request.param) as url:
        client = client_of(url)
        client.logs, client.python = logs, bool(request.param)
        client.wait_for(lambda: len(client.json("tags")["runs"].get("good/attention", [])), 2)
        client.wait_for(lambda: "bomb" in client.json("tags")["runs"], True)
        client.wait_for(lambda: "sub & <i>" in client.json("tags")["runs"], True)
        client.wait_for(lambda: len(client.json("steps", run="good/attention", tag=TAG)["steps"]), 200)
        yield client


def test_runs_and_tags_are_listed_beside_bad_records(client):
    """A bad record hides at most its own run; hostile names come back as they are."""
    runs = client.json("tags")["runs"]
    assert [INPUTS, TAG] == runs["good/attention"]
    assert [TAG] == runs["sub & <i>"] == runs["bomb"]
    assert [ESCAPED] == runs["escaped"]
    assert {"bad/newer format", "bad/no header", "bad/map missing"} <= set(runs)


def test_all_200_steps_are_kept(client):
    """Nothing that was written is sampled away, and the wall times are those of the writer."""
    steps = client.json("steps", run="good/attention", tag=TAG)["steps"]
    assert [{"step": step, "wall_time": 1.5e9 + step} for step in range(200)] == steps


def test_a_record_comes_back_as_it_was_written(client):
    """The parts of a step are the same bytes, whichever step is asked for."""
    for step in (0, 3, 199):
        assert maps_at(step) == client.record(run="good/attention", tag=TAG, step=step)


def test_several_records_come_in_the_order_of_tags_and_steps(client):
    """One answer has all tags × all steps, each with its wall time; a doubled one comes once."""
    found = client.records(run="good/attention", tag=[TAG, INPUTS, TAG], step=[7, 2, 7], parts="header")
    assert [(TAG, 7), (TAG, 2), (INPUTS, 7), (INPUTS, 2)] == [(one["tag"], one["step"]) for one in found]
    assert [1.5e9 + 7, 1.5e9 + 2] * 2 == [one["wall_time"] for one in found]
    assert maps_at(2)[0] == found[1]["parts"][0]


def test_all_steps_of_a_tag_are_one_answer(client):
    """`step=all` gives every header, and nothing else where nothing else is asked for."""
    found = client.records(run="good/attention", tag=TAG, step="all", parts="header")
    assert list(range(200)) == [one["step"] for one in found]
    assert [len(maps_at(113)[0])] + [0] * 7 == list(map(len, found[113]["parts"]))


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ({"parts": "header"}, {0}),
        ({"parts": "thumbnails"}, {0, 1}),
        ({"parts": "maps", "sample": 1, "heads": "0,2"}, {0, 5, 7}),
        ({"parts": "header,maps", "heads": "1"}, {0, 3, 6}),
        ({"sample": 0}, {0, 1, 2, 3, 4}),
        ({"sample": 0, "heads": "2,2,2", "parts": "maps"}, {0, 4}),
        ({"sample": 9, "heads": "99,-1", "parts": "maps"}, {0}),
        ({"sample": -1, "parts": "maps"}, {0}),
        ({"parts": "maps", "sample": 1, "most": 3 * 5 * 7}, {0, 5, 6, 7}),
        ({"parts": "maps", "sample": 1, "most": 3 * 5 * 7 - 1}, {0, 5}),
        ({"parts": "maps", "sample": 1, "heads": "1,2", "most": 0}, {0, 6}),
    ],
    ids=str,
)
def test_only_the_parts_that_were_asked_for_are_sent(client, asked, there):
    """The others are empty; the header always comes."""
    expected = [blob if part in there else b"" for part, blob in enumerate(maps_at(5))]
    assert expected == client.record(run="good/attention", tag=TAG, step=5, **asked)


def test_a_weight_comes_back_over_http(client):
    """A decoded map lies within the stated bound of the array that was logged."""
    blobs = client.record(run="good/attention", tag=TAG, step=113)
    w = weights_at(113)[1, 2]
    read = record.decode_map(record.decode_header(blobs[0]), blobs, 1, 2)
    assert (np.abs(read - w) <= np.sqrt(w * w.max()) / 255 + w.max() / 510**2 + 1e-6).all()


def test_inputs_use_the_same_route(client):
    """A record of inputs is a header and its pictures."""
    header, picture = client.record(run="good/attention", tag=INPUTS, step=7)
    [sample] = record.decode_header(header)["samples"]
    assert [PRICE] == sample["series"]
    assert PICTURE["pixels"].tobytes() == gzip.decompress(picture)
    assert [header, b""] == client.record(run="good/attention", tag=INPUTS, step=7, parts="thumbnails")


def test_format_1_is_still_served(client):
    """A record of an older writer comes as it is, and its parts are found where that format has them."""
    assert format_1(0) == client.record(run="old", tag=TAG, step=0)
    chosen = client.record(run="old", tag=TAG, step=0, parts="thumbnails,maps", sample=1, heads=0)
    assert [bool(part) for part in chosen] == [True, False, False, False, True, False, False]


def test_a_bad_record_spoils_no_other(client):
    """Of three steps the second is damaged: it says so, and the others are answered."""
    first, second, third, fourth = client.records(run="mixed", tag=TAG, step=[0, 1, 2, 3])
    assert (maps_at(0), maps_at(2)) == (first["parts"], third["parts"])
    assert "is not JSON" in second["error"] and not second["parts"]
    assert "There is nothing at step 3." == fourth["error"]


def test_only_whole_answers_are_kept_by_the_browser(client):
    """With a version and without an error, for a month; else not at all."""
    asked = {"run": "mixed", "tag": TAG, "version": "1"}
    for step, kept in ((0, "private, max-age=2592000"), (1, "no-cache, must-revalidate")):
        assert kept == client.ask("records", **asked, step=step)[1]["Cache-Control"]
    del asked["version"]
    assert "no-cache, must-revalidate" == client.ask("records", **asked, step=0)[1]["Cache-Control"]


def test_tags_say_where_each_is_newest(client):
    """So that the newest record may be asked for before all steps are listed."""
    newest = client.json("tags")["newest"]["good/attention"]
    assert {TAG: {"step": 199, "wall_time": 1.5e9 + 199}} | {INPUTS: newest[TAG]} == newest


def test_routes_answer_below_an_experiment(client):
    """TensorBoard's experiment prefix reaches the same routes."""
    status, _, body = client.ask("tags", prefix="/experiment/defaultExperimentId")
    assert (200, client.json("tags")) == (status, json.loads(body))


def test_records_written_while_tensorboard_runs_appear(client):
    """A new run, and each further step of it, is answered without a restart."""
    with event_file.EventFile(client.logs / "live" / str(time.time_ns())) as file:
        run = str(file.directory.relative_to(client.logs))
        for step in range(3):
            file.write([event_file.blob_value(TAG, maps_at(step))], step)
            client.wait_for(lambda: client.json("tags")["runs"].get(run), [TAG])
            client.wait_for(
                lambda: [one["step"] for one in client.json("steps", run=run, tag=TAG)["steps"]],
                list(range(step + 1)),
            )
            assert maps_at(step) == client.record(run=run, tag=TAG, step=step)


@pytest.mark.parametrize("name", BAD)
def test_bad_record_is_one_sentence(client, name):
    """Each kind of bad record is refused as such, with no trace of Python in the answer."""
    status, headers, body = client.ask("records", run=f"bad/{name}", tag="attention/bad", step=0)
    if status == 200:
        [one] = client.records(run=f"bad/{name}", tag="attention/bad", step=0)
        sentence = one["error"]
        assert BAD[name][1] is None or BAD[name][1] in sentence
    else:
        assert BAD[name][1] is None and status in (404, 422)
        assert headers["Content-Type"] == "application/json"
        sentence = json.loads(body)["error"]
    assert 0 < len(sentence) < 250 and "Traceback" not in sentence and "\n" not in sentence


def test_a_million_blobs_are_not_believed(client):
    """A tensor that claims a million strings is refused, or read as the eight that it is."""
    status, _, body = client.ask("records", run="a million blobs", tag="attention/bad", step=0)
    if status == 200:
        assert maps_at(0) == client.record(run="a million blobs", tag="attention/bad", step=0)
    else:
        assert 422 == status and "claims 1,000,000 parts" in json.loads(body)["error"]


def test_tag_that_the_data_server_cannot_read_names_the_way_out(client):
    """Quotes and backslashes are read with --load_fast=false; the data server's own failure says so."""
    [one] = client.records(run="escaped", tag=ESCAPED, step=0)
    if "error" in one:
        assert not client.python
        assert "start tensorboard with --load_fast=false" in one["error"]
    else:
        assert maps_at(0) == one["parts"]


def test_bomb_is_passed_on_packed(client):
    """The server does not unpack maps, so 64 MB of zeros cost it nothing."""
    blobs = client.record(run="bomb", tag=TAG, step=0)
    assert sum(map(len, blobs)) < 1 << 20
    with pytest.raises(record.RecordError, match="is damaged"):
        record.decode_map(record.decode_header(blobs[0]), blobs, 0, 0)


GOOD = {"run": "good/attention", "tag": TAG}


@pytest.mark.parametrize(
    ("status", "route", "arguments"),
    [
        (400, "steps", {}),
        (400, "steps", {"run": "good/attention"}),
        (400, "records", {}),
        (400, "records", {"run": "good/attention", "step": 0}),
        (400, "records", GOOD),
        (400, "records", GOOD | {"step": "three"}),
        (400, "records", GOOD | {"step": "9" * 5000}),
        (400, "records", GOOD | {"step": ["all", 3]}),
        (400, "records", GOOD | {"step": "1e3"}),
        (400, "records", GOOD | {"step": 0, "parts": "everything"}),
        (400, "records", GOOD | {"step": 0, "sample": "first"}),
        (400, "records", GOOD | {"step": 0, "heads": "1,,2"}),
        (400, "records", GOOD | {"step": 0, "most": "few"}),
        (400, "records", GOOD | {"step": list(range(2001))}),
        (400, "records", {"run": "good/attention", "tag": [TAG, *"abcdefghijk"], "step": list(range(200))}),
        (404, "steps", {"run": "nowhere", "tag": TAG}),
        (404, "steps", {"run": "good/attention", "tag": "attention/nothing"}),
        (404, "records", {"run": "good/attention", "tag": ["x" * 10_000, TAG], "step": 0}),
        (404, "records", {"run": "nowhere", "tag": TAG, "step": "all"}),
    ],
    ids=lambda one: str(one)[:60],
)
def test_wrong_question_is_refused(client, status, route, arguments):
    """Missing, malformed and too many arguments are 400, unknown runs and tags 404, each with a sentence."""
    found, _, body = client.ask(route, **arguments)
    answer = json.loads(body)
    assert (status, ["error"]) == (found, list(answer))
    assert len(answer["error"]) < 250 and "\n" not in answer["error"]


@pytest.mark.parametrize("route", ["tags", "steps", "records", "index.js"])
def test_only_get_and_head_are_answered(client, route):
    """Other methods are 405 and name those that work; HEAD has no body."""
    status, headers, _ = client.ask(route, method="POST")
    assert (405, "GET, HEAD") == (status, headers["Allow"])
    status, _, body = client.ask(route, method="HEAD", run="good/attention", tag=TAG, step=0)
    assert (b"", True) == (body, status in (200, 404))


def test_tensorboard_lists_the_tab_as_active(client):
    """The plugin is enabled by its data, under its name and with its module."""
    with urllib.request.urlopen(f"{client.url}/data/plugins_listing", timeout=60) as answer:
        listed = json.load(answer)["attention"]
    assert ("Attention", True) == (listed["tab_name"], listed["enabled"])
    assert listed["loading_mechanism"]["module_path"].startswith("/data/plugin/attention/index.js?v=")
