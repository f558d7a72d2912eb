"""What TensorBoard makes of the files: damaged, cut off, growing, many, and of several directories."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tb_plugin import event_file, record

TAG = record.map_tag("forecast", "decoder")
AXIS = {"kind": "step", "length": 5, "labels": None, "grid": None}
SERVERS = pytest.mark.parametrize("flags", [(), ("--load_fast=false",)], ids=["data server", "python"])


def maps_at(step):
    weights = np.random.default_rng(step).uniform(size=(2, 3, 5, 5))
    return record.encode_maps(weights, queries=AXIS, keys=AXIS, layer="decoder")


def write(directory, steps):
    """An event file; where each of its records ends."""
    ends = []
    with event_file.EventFile(directory) as file:
        for step in steps:
            file.write([event_file.blob_value(TAG, maps_at(step))], step)
            ends.append(file.size)
    [path] = directory.iterdir()
    return path, ends


def steps_of(client, run):
    if run not in client.json("tags")["runs"]:
        return []
    return [one["step"] for one in client.json("steps", run=run, tag=TAG)["steps"]]


@SERVERS
def test_damaged_files_hide_no_more_than_themselves(tmp_path, start_tensorboard, client_of, flags):
    """What stands before the damage is shown, and all of the other runs."""
    write(tmp_path / "a sound one", range(5))
    path, ends = write(tmp_path / "cut off", range(5))
    path.write_bytes(path.read_bytes()[: ends[2] + 100])
    path, ends = write(tmp_path / "no length", range(5))
    data = bytearray(path.read_bytes())
    data[ends[2] : ends[2] + 8] = b"\xff" * 8
    path.write_bytes(data)
    path, ends = write(tmp_path / "wrong sum", range(5))
    data = bytearray(path.read_bytes())
    data[ends[3] - 1] ^= 255  # the last byte of the sum of step 3
    path.write_bytes(data)
    (tmp_path / "no event file").mkdir()
    (tmp_path / "no event file" / "events.out.tfevents.1.x").write_bytes(b"no event file at all")
    write(tmp_path / "z sound one", range(5))
    with start_tensorboard(tmp_path, *flags) as url:
        client = client_of(url)
        for run in ("a sound one", "z sound one"):
            client.wait_for(lambda run=run: steps_of(client, run), [0, 1, 2, 3, 4])
        for run in ("cut off", "no length"):
            client.wait_for(lambda run=run: steps_of(client, run), [0, 1, 2])
            assert maps_at(2) == client.record(run=run, tag=TAG, step=2)
        assert [0, 1, 2] == steps_of(client, "wrong sum")[:3]
        assert "no event file" not in client.json("tags")["runs"]


WRITER = """
    import sys, numpy, zoo

    for step in range(100):
        weights = numpy.random.default_rng(step).dirichlet(numpy.ones(7), (1, 2, 5))
        zoo.summary.attention("live", zoo.AttentionMap(weights, layer="decoder"), step, logdir=sys.argv[1])
        print(step, flush=True)
        sys.stdin.readline()
"""


@SERVERS
def test_another_process_writes_while_it_is_read(tmp_path, start_tensorboard, client_of, flags):
    """Each step that a training writes is there, whole, before it writes the next."""
    (tmp_path / "first").mkdir()
    command = [sys.executable, "-c", textwrap.dedent(WRITER), tmp_path / "first"]
    with (
        start_tensorboard(tmp_path, *flags) as url,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer,
    ):
        client, tag = client_of(url), record.map_tag("live", "decoder")
        for step in range(3):
            assert str(step) == writer.stdout.readline().strip()
            client.wait_for(lambda: tag in client.json("tags")["runs"].get("first/attention", []), True)
            listed = {"run": "first/attention", "tag": tag}
            client.wait_for(lambda: client.json("steps", **listed)["steps"][-1]["step"], step)  # noqa: B023
            blobs = client.record(**listed, step=step)
            expected = np.random.default_rng(step).dirichlet(np.ones(7), (1, 2, 5))[0, 1]
            read = record.decode_map(record.decode_header(blobs[0]), blobs, 0, 1)
            np.testing.assert_allclose(expected, read, atol=expected.max() / 255)
            writer.stdin.write("\n")
            writer.stdin.flush()
        writer.kill()


@SERVERS
def test_many_runs_are_listed(tmp_path, start_tensorboard, client_of, flags):
    """Forty-one runs in folders of folders, each with its own records."""
    names = [f"{i % 3}/{i}" for i in range(41)]
    for i, name in enumerate(names):
        write(tmp_path / name, [i])
    with start_tensorboard(tmp_path, *flags) as url:
        client = client_of(url)
        client.wait_for(lambda: sorted(client.json("tags")["runs"]), sorted(names))
        for i in (0, 17, 40):
            assert maps_at(i) == client.record(run=names[i], tag=TAG, step=i)


def test_runs_of_several_directories_have_their_names(tmp_path, start_tensorboard, client_of):
    """`--logdir_spec` names each directory, and the routes take the names."""
    write(tmp_path / "here" / "attention", [2])
    write(tmp_path / "there" / "attention", [3])
    spec = f"mine:{tmp_path / 'here'},yours:{tmp_path / 'there'}"
    with start_tensorboard("", "--logdir_spec", spec) as url:
        client = client_of(url)
        client.wait_for(lambda: sorted(client.json("tags")["runs"]), ["mine/attention", "yours/attention"])
        assert maps_at(2) == client.record(run="mine/attention", tag=TAG, step=2)
        assert maps_at(3) == client.record(run="yours/attention", tag=TAG, step=3)
