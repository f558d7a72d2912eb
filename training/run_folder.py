"""The folder of a run: whose it is, and how its files are written."""

import json
import os
import shutil
from contextlib import contextmanager

from zoo.errors import InputError
from zoo.whole_file import whole_file


def claim(run, settings, restart):
    """Make the folder `run` that of a training with these settings, or say why it cannot be.

    Raises InputError where it holds a training with other settings; `restart` forgets that one.
    """
    path = os.path.join(run, "settings.json")
    if restart and os.path.exists(path):
        shutil.rmtree(run)
    if os.path.exists(path):
        with open(path) as file:
            earlier = json.load(file)
        for name in sorted(name for name in settings if earlier.get(name) != settings[name]):
            raise InputError(
                f"{run} was trained with {name}={earlier.get(name)!r}, now {settings[name]!r} is asked for: "
                "give the new training another folder with --run NAME, or forget the old one with --restart."
            )
    write_json(path, settings)


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
            f"{path} could not be written ({error.strerror or error}): free space or choose another folder "
            "with --logdir, then type the same command again and the training goes on."
        ) from None
