import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import pytest

START_SECONDS = 180


@pytest.fixture(scope="session")
def start_tensorboard():
    """`with start_tensorboard(logdir, *flags) as url:` is a TensorBoard process on a free port."""
    return tensorboard_process


@contextlib.contextmanager
def tensorboard_process(logdir, *flags):
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--host", "127.0.0.1"]
    with tempfile.TemporaryFile() as output:  # a pipe that nobody empties would stop the process in the end
        process = subprocess.Popen(
            [*command, "--port", "0", "--reload_interval", "1", *flags],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield _address(process, output)
        finally:
            _end(process)


def _address(process, output):
    """The URL that TensorBoard prints."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(rb"at (http://[^/ ]+)/", os.pread(output.fileno(), 100_000, 0)):
            return found[1].decode()
        time.sleep(0.1)
    printed = os.pread(output.fileno(), 100_000, 0).decode(errors="replace")
    raise RuntimeError(f"TensorBoard did not start: {printed}")


def _end(process):
    """End TensorBoard and its data server, which is a process of the same group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
