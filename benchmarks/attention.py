"""Time and memory of the attention layers and of capture beside their peers: one table, every figure a ratio.

Each line is printed when it is measured. Figures are ratios to the peer, measured in turns in one process;
memory is the peak of resident memory during one call less that before it, in a fresh process. A second table
has the bounds: what the arithmetic alone costs, measured in the same way.
"""

import argparse
import os
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import capture
import decoder
import multi_head_attention
import seq_self_attention
from measure import paired_times, peak_memory

LINES = [
    (module.__name__, number, row)
    for module in (seq_self_attention, multi_head_attention, decoder, capture)
    for number, row in enumerate(module.ROWS)
]
TABLE = (
    "| what | against | time | goal | memory | goal | verdict |\n| --- | --- | --- | --- | --- | --- | --- |"
)
BOUNDS = (
    "| what | figure | the arithmetic alone | its ratio | goal | our ratio | ours / its |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)
PAGE = """# Speed and memory

Written by `python benchmarks/attention.py --output docs/benchmarks.md` (`--help` lists the rows, `--row N`
measures one) on {cores} CPU cores, with {versions}.

Every figure is a ratio, ours / the peer's, measured in one run, and a goal is met at that ratio or below.
Times: calls of ours and of the peer take turns in one process, with graphs compiled by `tf.function` and
warm, and the median of the pairs' ratios counts; "CPU ms" is processor time of all threads, "ms" wall time.
Memory: peak resident memory during one call less that before it, each in a fresh process where a run at a
sixteenth of the length (of a series: at least 128 steps, and a loop) has loaded TensorFlow's code and
threads. In brackets: ours, and the peer's.

{table}

## Bounds

What the arithmetic alone costs, or holding the tensors that nobody can do without: measured in the same
run, in the same way, beside the same peer. A goal below its ratio cannot be reached on this machine; the
last column is how near we are.

{bounds}
"""


def figures(name, number, row, repeats):
    """`{"time": {kind: (figure, ratio)}, "memory": …}` of one row, in ms and MB."""
    measured = {}
    if row.time:
        kinds = ["ours", "peer", *["least time"] * ("time" in row.bound)]
        times = paired_times(name, number, kinds, repeats or row.repeats)
        measured["time"] = {kind: (s * 1e3, ratio) for kind, (s, ratio) in zip(kinds, times, strict=True)}
    if row.memory:
        kinds = ["ours", "peer", *["least memory"] * ("memory" in row.bound)]
        peaks = {kind: peak_memory(name, number, kind) for kind in kinds}
        measured["memory"] = {kind: (peak, peak / peaks["peer"]) for kind, peak in peaks.items()}
    return measured


def digits(x):
    """Three of them, and never an exponent."""
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def line(row, measured):
    """The row's line of the table."""
    cells, missed = [], []
    for figure, unit in (("time", "CPU ms" if row.cpu else "ms"), ("memory", "MB")):
        if figure not in measured:
            cells += ["", ""]
            continue
        goal = getattr(row, figure)
        (ours, ratio), (peer, _) = (measured[figure][kind] for kind in ("ours", "peer"))
        cells += [f"{ratio:.3g} ({digits(ours)} of {digits(peer)} {unit})", f"≤ {goal}"]
        over = ratio / Fraction(goal)
        if over > 1:
            missed.append(f"{figure} is {over:.4g} × its goal")
    verdict = f"missed: {', '.join(missed)}" if missed else "met"
    return f"| {' | '.join([row.what, row.against, *cells, verdict])} |"


def bound_lines(row, measured):
    """The row's lines of the table of bounds, one a figure."""
    for figure, bound in row.bound.items():
        ratio, ours = (measured[figure][kind][1] for kind in (f"least {figure}", "ours"))
        cells = (figure, bound, f"{ratio:.3g}", f"≤ {getattr(row, figure)}", f"{ours:.3g}")
        yield f"| {row.what} | {' | '.join(cells)} | {ours / ratio:.3g} |"


def main():
    """Print the rows, then the bounds; write the page if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="rows:\n" + "\n".join(f"{i:4}  {row.what}" for i, (*_, row) in enumerate(LINES, 1)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rows = range(1, len(LINES) + 1)
    parser.add_argument("--row", type=int, nargs="+", metavar="N", help="only these rows")
    parser.add_argument("--repeats", type=int, metavar="N", help="timed calls of each; 3 to 31 if not given")
    parser.add_argument("--output", metavar="PATH", help="also write the page, such as docs/benchmarks.md")
    options = parser.parse_args()
    if not set(options.row or []) <= set(rows):
        parser.error(f"--row got {options.row}; pass numbers from 1 to {len(LINES)}.")
    if options.repeats is not None and options.repeats < 1:
        parser.error(f"--repeats got {options.repeats}; pass 1 or more.")

    table, bounds = [TABLE], [BOUNDS]
    print(TABLE, flush=True)
    for i in options.row or rows:
        name, number, row = LINES[i - 1]
        measured = figures(name, number, row, options.repeats)
        table.append(line(row, measured))
        bounds += bound_lines(row, measured)
        print(table[-1], flush=True)
    if len(bounds) > 1:
        print("", *bounds, sep="\n")
    if options.output:
        versions = ", ".join(f"{p} {version(p)}" for p in ("tensorflow", "keras", "keras-self-attention"))
        page = PAGE.format(
            cores=os.cpu_count(), versions=versions, table="\n".join(table), bounds="\n".join(bounds)
        )
        Path(options.output).write_text(page)


if __name__ == "__main__":
    main()
