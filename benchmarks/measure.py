"""How the benchmarks measure: in fresh processes, times in turns, memory as the rise of one call.

A module of rows has a tuple `ROWS` and a function `ready(which, *case)`, which makes inputs, models and
traced graphs and returns the function without arguments to be measured; `which` is "ours", "peer", or,
for a row with a bound, "least time" or "least memory".
"""

import ctypes
import gc
import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table. Goals are ratios to the peer at most, such as "1/20"; None is not measured."""

    what: str
    against: str
    case: tuple
    time: str | None = None
    memory: str | None = None
    # What "least time" and "least memory" do, where there is such a bound: {"time": words, "memory": words}.
    bound: Mapping[str, str] = MappingProxyType({})
    cpu: bool = False  # processor seconds of all threads, not the wall clock's
    repeats: int = 9


def paired_times(module: str, number: int, kinds: list[str], repeats: int) -> list[tuple[float, float]]:
    """`(seconds, ratio to the peer)` of each kind: the medians of `repeats` rounds.

    In a round they take turns, so that whatever else the machine does falls on all. A first call of each,
    which traces and compiles, does not count. TensorFlow's calls on the CPU return with their results.

    Args:
        module: name of a module of rows beside this one.
        number: which of its rows, from 0.
        kinds: "ours", "peer" and perhaps "least time".
        repeats: how many rounds.
    """
    return [tuple(pair) for pair in _in_fresh_process("times", module, number, repeats, *kinds)]


def peak_memory(module: str, number: int, which: str) -> float:
    """MB by which resident memory rises, at its peak, during one call."""
    return _in_fresh_process("memory", module, number, which)


def _in_fresh_process(*arguments):
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"measuring {' '.join(map(str, arguments))} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _times(module, row, repeats, *kinds):
    clock = time.process_time if row.cpu else time.perf_counter
    calls = [module.ready(which, *row.case) for which in kinds]
    for call in calls:
        call()
    rounds = [[_seconds(call, clock) for call in calls] for _ in range(int(repeats))]
    peers = [one[kinds.index("peer")] for one in rounds]
    return [
        (statistics.median(column), statistics.median(a / b for a, b in zip(column, peers, strict=True)))
        for column in zip(*rounds, strict=True)
    ]


def _memory(module, row, which):
    call = module.ready(which, *row.case)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or what the small run has freed would be there for the call
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _resident("VmRSS")
    call()
    return _resident("VmHWM") - before


def _seconds(f, clock):
    began = clock()
    f()
    return clock() - began


def _resident(field):
    """MB that Linux keeps for this process: now (VmRSS), or at most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


if __name__ == "__main__":
    figure, name, number, *rest = sys.argv[1:]
    module = importlib.import_module(name)
    print(json.dumps({"times": _times, "memory": _memory}[figure](module, module.ROWS[int(number)], *rest)))
