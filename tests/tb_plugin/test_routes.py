"""The routes themselves, in this process."""

import numpy as np
import pytest
import werkzeug.test
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin

from tb_plugin import event_file, record, server

TAG = record.map_tag("forecast", "decoder")
AXIS = {"kind": "step", "length": 5, "labels": None, "grid": None}


def maps_at(step):
    weights = np.random.default_rng(step).uniform(size=(2, 3, 5, 5))
    return record.encode_maps(weights, queries=AXIS, keys=AXIS, layer="decoder")


def served(logs):
    """TensorBoard's own reader of `logs`, and a client of our routes over it."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={record.PLUGIN: 0})
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(logs))
    plugin = server.AttentionPlugin(base_plugin.TBContext(data_provider=provider))
    apps = plugin.get_plugin_apps()

    def by_route(environ, start_response):
        return apps[environ["PATH_INFO"]](environ, start_response)

    return multiplexer, werkzeug.test.Client(by_route)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client over three good steps."""
    logs = tmp_path_factory.mktemp("logs")
    with event_file.EventFile(logs / "run") as file:
        for step in range(3):
            file.write([event_file.blob_value(TAG, maps_at(step))], step)
    multiplexer, client = served(logs)
    multiplexer.AddRunsFromDirectory(str(logs))
    multiplexer.Reload()
    return client


VALUES = {
    "run": st.just("run") | st.text(max_size=7),
    "tag": st.just(TAG) | st.text(max_size=7),
    "step": st.sampled_from(["0", "2", "all", "-1", "1e9", "9" * 400]) | st.integers().map(str),
    "parts": st.sampled_from(["maps", "header,maps", "thumbnails", ",", ""]) | st.text(max_size=7),
    "sample": st.integers().map(str) | st.text(max_size=3),
    "heads": st.lists(st.integers(-2, 5).map(str), max_size=5).map(",".join) | st.text(max_size=7),
    "most": st.integers().map(str) | st.text(max_size=3),
    "version": st.text(max_size=3),
}
QUERIES = st.lists(
    st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), VALUES[name])), max_size=12
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["/tags", "/steps", "/records"]), QUERIES, st.booleans())
@example("/records", [("run", "run"), ("tag", TAG), ("step", "0"), ("heads", "-1"), ("sample", "-1")], False)
def test_any_question_is_answered_or_refused_in_a_sentence(client, route, query, sound):
    """Fuzzed: 200, or a status from 400 to 499 with one sentence in JSON; never a traceback."""
    if sound:
        query = [("run", "run"), ("tag", TAG), ("step", "0"), *query]
    answer = client.get(route, query_string=werkzeug.datastructures.MultiDict(query))
    if answer.status_code == 200:
        return
    assert 400 <= answer.status_code < 500
    assert ["error"] == list(answer.json)
    assert 0 < len(answer.json["error"]) < 300 and "\n" not in answer.json["error"]


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("step", "5", 400),
        ("tag", "x", 400),
        ("heads", "1", 200),
        ("sample", "1", 200),
        ("run", "x" * 99, 404),
    ],
)
def test_ten_thousand_of_anything_cost_nothing(client, name, value, status):
    """10,000 steps or tags in one question are refused before anything is read; doubled heads come once."""
    query = {"run": "run", "tag": [TAG], "step": ["0"]}
    if name in ("step", "tag"):
        query[name] = [f"{value}{i}" for i in range(10_000)]
    elif name == "heads":
        query[name] = ",".join([value] * 10_000)
    else:
        query[name] = [value] * 10_000
    answer = client.get("/records", query_string=query)
    assert status == answer.status_code
    assert len(answer.data) < 20_000


def test_more_bytes_than_one_answer_holds_are_refused(client, monkeypatch):
    """What is read is counted, and reading stops."""
    size = sum(map(len, maps_at(0)))
    query = {"run": "run", "tag": TAG, "step": "all"}
    monkeypatch.setattr(server, "MOST_BYTES", 3 * size + 100)
    assert 200 == client.get("/records", query_string=query).status_code
    monkeypatch.setattr(server, "MOST_BYTES", 2 * size)
    answer = client.get("/records", query_string=query)
    assert 400 == answer.status_code
    assert "bytes or more were asked for" in answer.json["error"] and "ask for fewer" in answer.json["error"]


def page_answer(plugin):
    return werkzeug.test.Client(plugin.get_plugin_apps()["/index.js"]).get("/index.js")


def test_new_step_is_found_while_older_keys_are_kept(tmp_path, monkeypatch):
    """The inputs of a new step are read at once, though nobody asked for their list of steps again."""
    monkeypatch.setattr(server, "KEYS_KEPT_SECONDS", 1e9)
    multiplexer, client = served(tmp_path)
    with event_file.EventFile(tmp_path / "run") as file:
        for step in range(3):
            file.write([event_file.blob_value(TAG, maps_at(step))], step)
            multiplexer.AddRunsFromDirectory(str(tmp_path))
            multiplexer.Reload()
            answer = client.get("/records", query_string={"run": "run", "tag": TAG, "step": step})
            assert 200 == answer.status_code
            assert b"error" not in answer.data


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
