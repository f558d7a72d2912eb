import os
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from tensorboard.backend.event_processing import data_provider, event_file_loader, plugin_event_multiplexer
from tensorboard.compat.proto import event_pb2
from tensorboard.context import RequestContext

from tb_plugin import event_file, record

TAG = "attention/forecast/decoder"


def events_in(path):
    """What TensorBoard's own reader finds; it checks every sum."""
    return [
        event_pb2.Event.FromString(data) for data in event_file_loader.RawEventFileLoader(str(path)).Load()
    ]


def whole_records(path):
    """How many records follow each other without a rest."""
    data, count = path.read_bytes(), 0
    while data:
        [length] = struct.unpack_from("<Q", data)
        assert len(data) >= length + 16
        data, count = data[length + 16 :], count + 1
    return count


def provider_of(logdir):
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={record.PLUGIN: 0})
    multiplexer.AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    return data_provider.MultiplexerDataProvider(multiplexer, str(logdir))


def in_a_process(code, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_tensorboard_reads_back_the_blobs(tmp_path):
    """The provider behind every tab lists the steps and gives back the same bytes."""
    with event_file.EventFile(tmp_path / "run" / "attention") as file:
        for step in (2, 3, 5):
            file.write([event_file.blob_value(TAG, [b"header", bytes([step])])], step, wall_time=1.5e9 + step)
    provider, context = provider_of(tmp_path), RequestContext()
    name = {"experiment_id": "", "plugin_name": record.PLUGIN}
    listed = provider.list_blob_sequences(context, **name)["run/attention"][TAG]
    read = provider.read_blob_sequences(context, **name, downsample=100)["run/attention"][TAG]
    assert (5, 1.5e9 + 5, 2, b'{"format":2}') == (
        listed.max_step,
        listed.max_wall_time,
        listed.max_length,
        listed.plugin_content,
    )
    assert [(2, 1.5e9 + 2), (3, 1.5e9 + 3), (5, 1.5e9 + 5)] == [(one.step, one.wall_time) for one in read]
    assert [b"header", b"\x05"] == [
        provider.read_blob(context, blob_key=one.blob_key) for one in read[-1].values
    ]


def test_layers_of_a_step_are_one_event(tmp_path):
    """The first event names the version; then all values of a step stand in one."""
    with event_file.EventFile(tmp_path) as file:
        file.write([event_file.blob_value(f"{TAG}/{layer}", [b"{}"]) for layer in range(3)], step=7)
    [path] = tmp_path.iterdir()
    first, second = events_in(path)
    assert first.file_version == "brain.Event:2"
    assert second.step == 7
    assert [f"{TAG}/{layer}" for layer in range(3)] == [value.tag for value in second.summary.value]
    assert abs(second.wall_time - os.stat(path).st_mtime) < 60


def test_a_record_is_on_the_disk_when_write_returns(tmp_path):
    """Nothing waits in a buffer: another reader sees each record at once."""
    file = event_file.EventFile(tmp_path)
    for step in range(3):
        file.write([event_file.blob_value(TAG, [b"{}"])], step)
        [path] = tmp_path.iterdir()
        assert step == events_in(path)[-1].step
    file.close()


def test_a_file_that_wrote_nothing_leaves_nothing(tmp_path):
    """Neither a directory nor a file is made before the first write."""
    with event_file.EventFile(tmp_path / "run"):
        pass
    assert [] == list(tmp_path.iterdir())


def test_two_files_of_one_second_have_two_names(tmp_path):
    """Two writers in one process do not write into each other's file."""
    with event_file.EventFile(tmp_path) as one, event_file.EventFile(tmp_path) as other:
        one.write([event_file.blob_value(TAG, [b"{}"])], 0)
        other.write([event_file.blob_value(TAG, [b"{}"])], 1)
    assert [2, 2] == [whole_records(path) for path in tmp_path.iterdir()]


@pytest.mark.parametrize("wall_time", [float("nan"), float("inf")])
def test_wall_time_that_is_no_number_is_refused(tmp_path, wall_time):
    """A NaN wall time would cost readers the rest of the file, so it is never written."""
    with (
        event_file.EventFile(tmp_path) as file,
        pytest.raises(ValueError, match="wall time of an event is finite"),
    ):
        file.write([event_file.blob_value(TAG, [b"{}"])], 0, wall_time)
    assert [] == list(tmp_path.iterdir())


def test_images_equal_what_tensorflow_writes(tmp_path):
    """The value of `tf.summary.image` and ours are the same protobuf."""
    import tensorflow as tf

    pixels = np.random.default_rng(2).integers(0, 256, (2, 3, 5, 3), np.uint8)
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        tf.summary.image("surface", pixels, step=3)
        tf.summary.flush()
    [path] = tmp_path.iterdir()
    [theirs] = events_in(path)[-1].summary.value
    pngs = [tf.io.encode_png(image).numpy() for image in pixels]
    assert theirs == event_file.image_value("surface", pngs, width=5, height=3)


FULL_DISK = """
    import resource, signal, sys
    from tb_plugin import event_file

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    directory, size, records = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    value = event_file.blob_value("attention/forecast/decoder", [bytes(10_000)])
    file = event_file.EventFile(directory)
    for step in range(records):
        file.write([value], step)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        file.write([value], records)
    except OSError as error:
        print(error)
    if records:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        file.write([value], records + 1)
"""


def test_full_disk_leaves_whole_records_and_a_new_file_goes_on(tmp_path):
    """Where 25 kB fit, two records of 10 kB stay whole; with space again, the next one is written."""
    said = in_a_process(FULL_DISK, tmp_path, 25_000, 2)
    first, second = sorted(tmp_path.iterdir(), key=lambda path: events_in(path)[-1].step)
    assert f"Nothing more could be logged in {tmp_path} (File too large)" in said
    assert "free space" in said and "\n" not in said
    assert [[0, 0, 1], [0, 3]] == [[event.step for event in events_in(path)] for path in (first, second)]
    assert [3, 2] == [whole_records(first), whole_records(second)]


@pytest.mark.parametrize("size", [0, 20, 5_000])
def test_full_disk_at_the_first_record_leaves_no_file(tmp_path, size):
    """A file that holds nothing but its version, or a part of it, is removed."""
    said = in_a_process(FULL_DISK, tmp_path, size, 0)
    assert "(File too large)" in said
    assert [] == list(tmp_path.iterdir())


def test_directory_below_a_file_is_one_sentence(tmp_path):
    """A log directory that cannot be made is named, with the cause."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"logged in .*file/run \(Not a directory\)"):
        event_file.EventFile(tmp_path / "file" / "run").write([event_file.blob_value(TAG, [b"{}"])], 0)
    with pytest.raises(OSError, match=r"logged in .*file \(File exists\)"):
        event_file.EventFile(tmp_path / "file").write([event_file.blob_value(TAG, [b"{}"])], 0)
    assert "" == (tmp_path / "file").read_text()


def test_directory_without_rights_is_one_sentence(tmp_path):
    """Where one may not write, the error names the directory, and nothing is left there."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    tmp_path.chmod(0o711)
    code = """
        import os, sys
        from tb_plugin import event_file

        value = event_file.blob_value("attention/forecast/decoder", [b"{}"])
        os.chdir(sys.argv[1])
        if os.geteuid() == 0:
            os.seteuid(65534)
        for directory in "closed", "closed/run":
            try:
                event_file.EventFile(directory).write([value], 0)
            except OSError as error:
                print(error)
    """
    first, second = in_a_process(code, tmp_path).splitlines()
    assert "logged in closed (Permission denied)" in first
    assert "logged in closed/run (Permission denied)" in second
    assert [] == list(closed.iterdir())
