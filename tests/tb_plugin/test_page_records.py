"""What the page makes of records: older, newer, exact and damaged ones, and those of three writers."""

import functools
import gzip
import http.server
import json
import re
import threading

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo
from tb_plugin.event_file import EventFile, blob_value
from tb_plugin.record import encode_maps, map_tag

HEADS, QUERIES, KEYS = 3, 5, 13
WEIGHTS = np.random.default_rng(17).dirichlet(np.ones(KEYS), (1, HEADS, QUERIES)).astype("float32")


def axis(length):
    return {"kind": "step", "length": length, "labels": None, "grid": None}


def blobs_of(exact=False):
    return encode_maps(WEIGHTS, queries=axis(QUERIES), keys=axis(KEYS), layer="decoder", exact=exact)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Runs of one record each, named by what it is."""
    header, thumbnails, *maps = blobs_of()
    about = json.loads(header)
    old = {name: about[name] for name in about if name not in ("statistics", "thumbnail")}
    impossible = WEIGHTS[0, 0].copy()
    impossible[1, 2] = np.nan
    planes = np.frombuffer(impossible.tobytes(), "u1").reshape(-1, 4).T.tobytes()
    exact = blobs_of(exact=True)
    runs = {
        "format 1": [json.dumps(old | {"format": 1}).encode(), *maps],
        "format 3": [json.dumps(about | {"format": 3}).encode(), thumbnails, *maps],
        "exact floats": exact,
        "exact NaN": [*exact[:2], gzip.compress(planes), *exact[3:]],
        "bomb": [header, thumbnails, gzip.compress(bytes(100_000_000), compresslevel=9), *maps[1:]],
        "cut": [header, thumbnails, maps[0][:-9], *maps[1:]],
        "no header": [b"no json", thumbnails, *maps],
        "no thumbnails": [header, b"no gzip", *maps],
    }
    directory = tmp_path_factory.mktemp("logs")
    for run, blobs in runs.items():
        with EventFile(directory / run) as file:
            file.write([blob_value(map_tag("steps", "decoder"), blobs)], step=0)
    return directory


@pytest.fixture(scope="module")
def address(logs, start_tensorboard):
    """The address of a TensorBoard over `logs`."""
    with start_tensorboard(logs) as url:
        yield url


@pytest.fixture
def open_run(open_tab, address):
    """Opens the tab at a run and a head."""
    return lambda run, head: open_tab(
        f"{address}/#attention&p.attention.view=map&p.attention.run={run}&p.attention.head={head}"
    )


def weights_in(tab):
    """Every weight that the readout names, cell by cell."""
    canvas = tab.find("#heatmap")
    canvas.focus()
    read = np.empty((QUERIES, KEYS))
    for query in range(QUERIES):
        canvas.press("Home")
        for key in range(KEYS):
            read[query, key], *place = tab.read()
            assert [str(query), str(key)] == place
            canvas.press("ArrowRight")
        canvas.press("ArrowDown")
    return read


def bound(weights):
    """How far eight bits on a square-root scale may be off, as record.py states it."""
    return np.sqrt(weights * weights.max()) / 255 + weights.max() / 510**2 + 1e-7


def test_format_1_is_shown(open_run):
    """A record without thumbnails and statistics shows its weights."""
    tab = open_run("format 1", 2)
    tab.wait_for(step=0, head=2)
    assert (np.abs(weights_in(tab) - WEIGHTS[0, 2]) <= bound(WEIGHTS[0, 2])).all()


def test_format_3_is_refused_in_a_sentence(open_run):
    """The user is told to upgrade, and the way back works."""
    tab = open_run("format 3", 0)
    expect(tab.find(".notice.problem")).to_contain_text("newer version")
    tab.choose("format 1")
    tab.wait_for(step=0)
    expect(tab.find(".notice")).to_be_hidden()


def test_exact_weights_are_shown_to_the_last_bit(open_run):
    """A record of float32 is not rounded on the way."""
    tab = open_run("exact floats", 1)
    tab.wait_for(step=0, head=1)
    np.testing.assert_array_equal(WEIGHTS[0, 1], weights_in(tab).astype("float32"))


@pytest.mark.parametrize("run", ["bomb", "cut", "exact NaN"])
def test_damaged_map_hides_only_itself(open_run, run):
    """A gzip bomb, a cut blob and impossible numbers become a sentence; the other heads can be read."""
    tab = open_run(run, 0)
    expect(tab.find(".notice.problem")).to_have_text(re.compile("Head 1 of sample 1 is damaged"))
    tab.find("#head").select_option("1")
    tab.wait_for(head=1)
    tab.find("#heatmap").press("Home")
    weight = WEIGHTS[0, 1][0, 0]
    assert weight == pytest.approx(tab.read()[0], abs=float(bound(WEIGHTS[0, 1])[0, 0]))


def test_a_notebook_shows_it(open_tab, address, tmp_path):
    """`%tensorboard` puts TensorBoard into a frame of a page of another origin: the tab works there too."""
    (tmp_path / "notebook.html").write_text(
        f"<iframe width=1300 height=800 src='{address}/#attention'></iframe>"
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab = open_tab(f"http://127.0.0.1:{server.server_port}/notebook.html")
        tab.choose("exact floats")
        expect(tab.find("#readout")).to_have_attribute("data-step", "0")
        tab.find("button.view[data-view=overview]").click()
        expect(tab.find(".thumb-block canvas").first).to_be_visible()
        server.shutdown()


def test_record_without_a_header_is_a_sentence(open_run):
    """What is no record says so."""
    expect(open_run("no header", 0).find(".notice.problem")).to_contain_text("header is not JSON")


def test_damaged_thumbnails_hide_no_map(open_run):
    """The map itself is shown."""
    open_run("no thumbnails", 1).wait_for(step=0, head=1)


def test_keras_numpy_and_pytorch_show_the_same_numbers(open_tab, start_tensorboard, tmp_path):
    """The same arrays, logged by the Keras callback, from NumPy alone and from PyTorch tensors."""
    import keras
    import torch

    model, x = keras_model(keras)
    logger = zoo.AttentionLogger(tmp_path / "keras", x, name="same", exact=True)
    model.fit(x, x, epochs=1, verbose=0, callbacks=[logger])
    weights = zoo.attend(model, x)[1]["heads"].weights
    tensor = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    for run, array in (("numpy", weights), ("torch", np.asarray(tensor.detach()))):
        made = zoo.AttentionMap(array, layer="heads")
        zoo.summary.attention("same", made, 0, logdir=tmp_path / run, exact=True)
        zoo.summary.close(tmp_path / run)
    assert (1, HEADS, QUERIES, KEYS) == weights.shape
    with start_tensorboard(tmp_path) as url:
        for run in ("keras", "numpy", "torch"):
            chosen = f"p.attention.run={run}/attention&p.attention.head=1&p.attention.view=map"
            tab = open_tab(f"{url}/#attention&{chosen}")
            tab.wait_for(step=0, head=1)
            np.testing.assert_array_equal(weights[0, 1], weights_in(tab).astype("float32"))
            assert "heads" == tab.find("h1").inner_text()


def keras_model(keras):
    """Five queries to thirteen keys, which a step of training leaves as they are."""
    keras.utils.set_random_seed(19)
    inputs = keras.Input((KEYS, 7))
    attended = keras.layers.MultiHeadAttention(HEADS, 11, name="heads")(inputs[:, :QUERIES], inputs)
    padded = keras.layers.ZeroPadding1D((0, KEYS - QUERIES))(attended)
    model = keras.Model(inputs, padded)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model, np.random.default_rng(23).normal(size=(1, KEYS, 7)).astype("float32")
