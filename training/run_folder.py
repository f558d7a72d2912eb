"""The folder of a run: whose it is, and how its files are written."""

import errno
import json
import os
import shutil
import tempfile
from contextlib import contextmanager

from zoo.errors import InputError
from zoo.whole_file import whole_file

# A training of the defaults writes about half a megabyte.
ROOM = 2**20


def check_writable(folder, option):
    """Make `folder` and see that files can be written there, or say which option to change."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if shutil.disk_usage(folder).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}): choose another place with {option}."
        ) from None


def claim(run, settings, restart):
    """Make the folder `run` that of a training with these settings, or say why it cannot be.

    Raises InputError where it holds a training with other settings; `restart` forgets that one.
    """
    path = os.path.join(run, "settings.json")
    if restart and os.path.exists(path):
        shutil.rmtree(run)
    check_writable(run, "--logdir")
    if os.path.exists(path):
        with open(path, "rb") as file:
            try:
                earlier = dict(json.load(file))
            except (ValueError, TypeError) as error:
                raise damaged(path, error) from None
        for name in sorted(name for name in settings if earlier.get(name) != settings[name]):
            raise InputError(
                f"{run} was trained with {name}={earlier.get(name)!r}, now it is {settings[name]!r}: "
                "give the new training another folder with --run NAME, or forget the old one with --restart."
            )
    write_json(path, settings)


def damaged(path, error):
    """The exception for a file of the run that cannot be read back."""
    return InputError(f"{path} is damaged ({error}): forget this training and begin anew with --restart.")


def write_json(path, content):
    """Write a JSON file of a run, whole or not at all."""
    with run_file(path) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")


@contextmanager
def run_file(path):
    """`zoo.whole_file` for a file of a run, with what to type when it cannot be written."""
    try:
        with whole_file(path) as unfinished:
            yield unfinished
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror or error}): free space, then type the same "
            "command again and the training goes on."
        ) from None
