import gzip
import itertools
import json
import struct
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
import werkzeug.test
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins import base_plugin

from tb_plugin import event_file, record, server

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
# what a record of each run is, and the status with which its step may be answered
BAD = {
    "no value": (without_value(), {404, 422}),
    "rank 0": (value_with(strings([b"{}"])), {404, 422}),
    "rank 2": (value_with(strings(maps_at(0)[:4], 2, 2)), {404, 422}),
    "numbers": (value_with(NUMBERS), {404, 422}),
    "no data class": (value_with(strings(maps_at(0), 7), summary_pb2.DATA_CLASS_UNKNOWN), {404}),
    "no blobs": (event_file.blob_value("attention/bad", []), {422}),
    "no header": (event_file.blob_value("attention/bad", [b"no json"]), {422}),
    "long header": (event_file.blob_value("attention/bad", [b" " * 2_000_000]), {422}),
    "wrong field": (event_file.blob_value("attention/bad", with_header(repaired="none")), {422}),
    "map missing": (event_file.blob_value("attention/bad", maps_at(0)[:-1]), {422}),
    "newer format": (event_file.blob_value("attention/bad", [b'{"format": 2}']), {422}),
}


def write_logs(logs):
    with event_file.EventFile(logs / "good" / "attention") as file:
        for step in range(200):
            maps = event_file.blob_value(TAG, maps_at(step))
            inputs = event_file.blob_value(INPUTS, record.encode_inputs([{"label": "a", "series": [PRICE]}]))
            file.write([maps, inputs], step, wall_time=1.5e9 + step)
    with event_file.EventFile(logs / "sub & <i>") as file:
        file.write([event_file.blob_value(TAG, maps_at(0))], 0)
    for name, (value, _) in BAD.items():
        with event_file.EventFile(logs / "bad" / name) as file:
            file.write([value], 0)
    with event_file.EventFile(logs / "a million blobs") as file:
        file.write([value_with(strings(maps_at(0), 10**6))], 0)
    with event_file.EventFile(logs / "escaped") as file:
        file.write([event_file.blob_value(ESCAPED, maps_at(0))], 0)
    bomb = [maps_at(0)[0], *[gzip.compress(bytes(64 << 20))] * SAMPLES * HEADS]
    with event_file.EventFile(logs / "bomb") as file:
        file.write([event_file.blob_value(TAG, bomb)], 0)


class Client:
    """Asks one TensorBoard."""

    def __init__(self, url, logs, python):
        self.url, self.logs, self.python = url, logs, python

    def ask(self, route, method="GET", prefix="", **arguments):
        address = f"{self.url}{prefix}/data/plugin/attention/{route}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers, refused.read()

    def json(self, route, **arguments):
        status, _, body = self.ask(route, **arguments)
        assert status == 200, body
        return json.loads(body)

    def record(self, **arguments):
        status, headers, body = self.ask("step", **arguments)
        assert status == 200, body
        assert headers["Content-Type"] == "application/octet-stream"
        [count] = struct.unpack_from("<I", body)
        lengths = struct.unpack_from(f"<{count}I", body, 4)
        starts = np.cumsum([4 + 4 * count, *lengths])
        assert starts[-1] == len(body)
        return [body[start:end] for start, end in itertools.pairwise(starts)]

    def wait_for(self, question, expected):
        """Ask until TensorBoard has read so far."""
        end = time.monotonic() + 60
        while (found := question()) != expected and time.monotonic() < end:
            time.sleep(0.1)
        assert found == expected


@pytest.fixture(scope="module", params=[(), ("--load_fast=false",)], ids=["data server", "python"])
def client(request, tmp_path_factory, start_tensorboard):
    """A TensorBoard over good and bad logs, all of them read."""
    logs = tmp_path_factory.mktemp("logs")
    write_logs(logs)
    with start_tensorboard(logs, *request.param) as url:
        client = Client(url, logs, python=bool(request.param))
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


def test_a_weight_comes_back_over_http(client):
    """A decoded map lies within the stated bound of the array that was logged."""
    header, *maps = client.record(run="good/attention", tag=TAG, step=113)
    w = weights_at(113)[1, 2]
    read = record.decode_map(record.decode_header(header), maps[1 * HEADS + 2], 1, 2)
    assert (np.abs(read - w) <= np.sqrt(w * w.max()) / 255 + w.max() / 510**2 + 1e-6).all()


def test_inputs_use_the_same_route(client):
    """A record of inputs is a header alone."""
    [header] = client.record(run="good/attention", tag=INPUTS, step=7)
    assert [{"label": "a", "series": [PRICE]}] == record.decode_header(header)["samples"]


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
    status, headers, body = client.ask("step", run=f"bad/{name}", tag="attention/bad", step=0)
    assert status in BAD[name][1]
    assert headers["Content-Type"] == "application/json"
    sentence = json.loads(body)["error"]
    assert 0 < len(sentence) < 250 and "Traceback" not in sentence and "\n" not in sentence


def test_newer_format_says_so(client):
    """The user is told to upgrade, not that the record is damaged."""
    _, _, body = client.ask("step", run="bad/newer format", tag="attention/bad", step=0)
    assert "written by a newer version" in json.loads(body)["error"]


def test_a_million_blobs_are_not_believed(client):
    """A tensor that claims a million strings is refused, or read as the seven that it is."""
    status, _, _ = client.ask("step", run="a million blobs", tag="attention/bad", step=0)
    if status == 200:
        assert maps_at(0) == client.record(run="a million blobs", tag="attention/bad", step=0)
    else:
        _, _, body = client.ask("steps", run="a million blobs", tag="attention/bad")
        assert 422 == status and "claims 1,000,000 parts" in json.loads(body)["error"]


def test_tag_that_the_data_server_cannot_read_names_the_way_out(client):
    """Quotes and backslashes are read with --load_fast=false; the data server's own failure says so."""
    status, _, body = client.ask("step", run="escaped", tag=ESCAPED, step=0)
    if status == 200:
        assert maps_at(0) == client.record(run="escaped", tag=ESCAPED, step=0)
    else:
        assert 422 == status and not client.python
        assert "start tensorboard with --load_fast=false" in json.loads(body)["error"]


def test_bomb_is_passed_on_packed(client):
    """The server does not unpack maps, so 64 MB of zeros cost it nothing."""
    header, *maps = client.record(run="bomb", tag=TAG, step=0)
    assert sum(map(len, maps)) < 1 << 20
    with pytest.raises(record.RecordError, match="is damaged"):
        record.decode_map(record.decode_header(header), maps[0], 0, 0)


@pytest.mark.parametrize(
    ("status", "route", "arguments"),
    [
        (400, "steps", {}),
        (400, "steps", {"run": "good/attention"}),
        (400, "step", {"run": "good/attention", "tag": TAG}),
        (400, "step", {"run": "good/attention", "tag": TAG, "step": "three"}),
        (400, "step", {"run": "good/attention", "tag": TAG, "step": "9" * 5000}),
        (404, "steps", {"run": "nowhere", "tag": TAG}),
        (404, "steps", {"run": "good/attention", "tag": "attention/nothing"}),
        (404, "step", {"run": "good/attention", "tag": TAG, "step": 200}),
        (404, "step", {"run": "good/attention", "tag": TAG, "step": 2**70}),
    ],
)
def test_wrong_question_is_refused(client, status, route, arguments):
    """Missing or malformed arguments are 400, unknown runs, tags and steps 404."""
    found, _, body = client.ask(route, **arguments)
    assert status == found
    assert ["error"] == list(json.loads(body))


@pytest.mark.parametrize("route", ["tags", "steps", "step", "index.js"])
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


def page_answer(plugin):
    return werkzeug.test.Client(plugin.get_plugin_apps()["/index.js"]).get("/index.js")


def test_new_step_is_found_while_older_keys_are_kept(tmp_path, monkeypatch):
    """The inputs of a new step are read at once, though nobody asked for their list of steps again."""
    monkeypatch.setattr(server, "KEYS_KEPT_SECONDS", 1e9)
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={record.PLUGIN: 0})
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    plugin = server.AttentionPlugin(base_plugin.TBContext(data_provider=provider))
    client = werkzeug.test.Client(plugin.get_plugin_apps()["/step"])
    with event_file.EventFile(tmp_path / "run") as file:
        for step in range(3):
            file.write([event_file.blob_value(TAG, maps_at(step))], step)
            multiplexer.AddRunsFromDirectory(str(tmp_path))
            multiplexer.Reload()
            answer = client.get("/step", query_string={"run": "run", "tag": TAG, "step": step})
            assert 200 == answer.status_code, answer.json


def test_page_is_served_under_the_hash_of_its_content(tmp_path, monkeypatch):
    """The browser may keep the page for a day, since another page has another address."""
    paths = []
    for text in ("export function render() {}", "export function render() { }"):
        monkeypatch.setattr(server, "PAGE", tmp_path / "index.js")
        server.PAGE.write_text(text)
        plugin = server.AttentionPlugin(base_plugin.TBContext())
        answer = page_answer(plugin)
        assert (200, text) == (answer.status_code, answer.text)
        assert "text/javascript" in answer.content_type and "max-age=86400" in answer.headers["Cache-Control"]
        paths.append(plugin.frontend_metadata().es_module_path)
    assert paths[0] != paths[1]


def test_page_that_is_not_built_is_said(tmp_path, monkeypatch, caplog):
    """Without the built file the server starts, and log and route name the command."""
    monkeypatch.setattr(server, "PAGE", tmp_path / "index.js")
    answer = page_answer(server.AttentionPlugin(base_plugin.TBContext()))
    assert 404 == answer.status_code
    assert "make page" in answer.json["error"] and "make page" in caplog.text
