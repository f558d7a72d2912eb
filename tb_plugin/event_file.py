"""TensorBoard event files, written without TensorFlow.

TensorBoard's own writer imports TensorFlow where it is installed (seconds) and checks its sums in pure
Python (megabytes a second), so the framing is written here: it is four fields.
"""

import contextlib
import itertools
import math
import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

from tb_plugin.record import PLUGIN

_FILE_NUMBER = itertools.count()


class EventFile:
    """An event file of its own in `directory`, made at the first write.

    Give attention a directory (a run) of its own: of two writers that append to files of one directory in
    turns, TensorBoard may read only the newest. The steps of a tag must increase.

    A record is written whole or not at all. Where that fails (full disk, no rights), the file is cut back to
    its last whole record, removed if it holds none, and OSError says so in one sentence; the next write then
    starts a new file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as logs, EventFile(logs) as file:
    ...     file.write([blob_value("attention/mine/layer", [b"{}"])], step=0)
    ...     print(len(os.listdir(logs)))
    1
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        self._path = None
        self._descriptor = None
        self.size = 0  # bytes of whole records
        self.full = False  # for whoever bounds it
        self._holds_records = False

    def write(
        self, values: Sequence[summary_pb2.Summary.Value], step: int, wall_time: float | None = None
    ) -> None:
        """Append one event; readers see it at once. `wall_time` is in seconds since 1970, now if None."""
        wall_time = time.time() if wall_time is None else wall_time
        if not math.isfinite(wall_time):
            # TensorBoard's readers give up the rest of the file
            raise ValueError(
                f"The wall time of an event is finite, in seconds since 1970; found {wall_time}."
            )
        event = event_pb2.Event(wall_time=wall_time, step=step, summary=summary_pb2.Summary(value=values))
        record = _framed(event)
        try:
            if self._descriptor is None:
                self._open(wall_time)
            self._append(record)
        except OSError as error:
            self._cut_back()
            raise OSError(
                f"Nothing more could be logged in {self.directory} ({error.strerror or error}): what stands "
                "there is whole, so free space or choose a log directory that you may write to, and go on."
            ) from error
        self._holds_records = True

    def close(self) -> None:
        """Close the file; a later write starts a new one."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "EventFile":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _open(self, wall_time):
        self.directory.mkdir(parents=True, exist_ok=True)
        number = f"{socket.gethostname()}.{os.getpid()}.{next(_FILE_NUMBER)}"
        self._path = self.directory / f"events.out.tfevents.{int(time.time()):010d}.{number}.{PLUGIN}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._path, flags, 0o666)
        self.size, self._holds_records = 0, False
        self._append(_framed(event_pb2.Event(wall_time=wall_time, file_version="brain.Event:2")))

    def _append(self, record):
        rest = memoryview(record)
        while rest:  # a write that meets the end of the disk takes a part, and only the next one fails
            rest = rest[os.write(self._descriptor, rest) :]
        self.size += len(record)

    def _cut_back(self):
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.truncate(self._descriptor, self.size)
        self.close()
        if not self._holds_records:
            with contextlib.suppress(OSError):
                self._path.unlink()


def blob_value(
    tag: str, blobs: Sequence[bytes], content: bytes = b'{"format":2}'
) -> summary_pb2.Summary.Value:
    """A record as a summary value that the Attention tab reads.

    >>> blob_value("attention/mine/layer", [b"header", b"map"]).tensor.string_val[1]
    b'map'
    """
    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN, content=content),
        data_class=summary_pb2.DATA_CLASS_BLOB_SEQUENCE,
    )
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=_strings(blobs))


def image_value(tag: str, png_list: Sequence[bytes], width: int, height: int) -> summary_pb2.Summary.Value:
    """PNG images, all of one size in pixels, as the summary value of TensorBoard's Images tab.

    >>> image_value("loss surface", [b"PNG"], width=640, height=480).tensor.string_val[0]
    b'640'
    """
    metadata = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="images")
    )
    strings = [str(width).encode(), str(height).encode(), *png_list]
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=_strings(strings))


def _strings(strings):
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=len(strings))])
    return tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=strings)


def _framed(event):
    """An event as a TFRecord: length, its sum, the bytes, their sum."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join([length, _masked_sum(length), data, _masked_sum(data)])


def _masked_sum(data):
    total = google_crc32c.value(data)
    return struct.pack("<I", (((total >> 15) | (total << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
