"""The figures of the Attention tab beside their goals: one table, measured in headless Chromium.

Times are the best of five, each with an empty cache, beside the time of a blank page in the same run: a page
of a plain web server on this machine, from its start until two animation frames have passed.
"""

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tab_bertviz
import tab_browser
import tab_logs

HERE = Path(__file__).parent
TABLE = "| what | measured | blank page | goal | verdict |\n| --- | --- | --- | --- | --- |"
PAGE = """# The Attention tab in figures

Written by `python benchmarks/attention_tab.py --output docs/attention_tab.md` (`--help` lists the rows,
`--row N` measures one) on {cores} CPU cores, in Chromium {chromium}.

Times are the best of {repeats}, each with an empty cache, beside the time of a blank page in the same run.
They run from the start of the plugin's frame until what is named is there and two animation frames have
passed. Softmax maps are those of random queries and keys, `softmax(s · q kᵀ / √64)`: nearly uniform
(s = 0.1), diffuse (0.5), medium (2), banded (1, and less with the distance), causal (2), sharp (4).
A map of more than 0.9 of the greatest entropy counts as nearly uniform (at 2,464², diffuse does). Errors are
judged by their mean over rows; the worst row stands in brackets.

{table}
"""


class Bench:
    """What the rows share: logs, a TensorBoard over them, and a browser."""

    def __init__(self, repeats, node_modules, stack):
        self.repeats, self.node_modules, self.stack = repeats, node_modules, stack

    @functools.cached_property
    def folder(self):
        """A folder of this run."""
        return self.stack.enter_context(tempfile.TemporaryDirectory())

    @functools.cached_property
    def browser(self):
        """Chromium."""
        return self.stack.enter_context(tab_browser.chromium())

    @functools.cached_property
    def web(self):
        """A plain web server with a blank page."""
        folder = os.path.join(self.folder, "web")
        os.mkdir(folder)
        Path(folder, "blank.html").write_text("<!doctype html>")
        return self.stack.enter_context(tab_browser.served(folder))

    @functools.cached_property
    def url(self):
        """A TensorBoard over the large logs, which has read them."""
        logs = os.path.join(self.folder, "logs")
        tab_logs.write_training(logs)
        tab_logs.write_one(os.path.join(logs, "long"), tab_logs.maps("medium", 1, 2464))
        tab_logs.write_one(os.path.join(logs, "heads"), tab_logs.maps(tab_bertviz.KIND, 12, 256))
        url = self.stack.enter_context(tab_browser.tensorboard(logs))
        tab_browser.wait_for_records(url, "training/attention", tab_logs.STEPS)
        return url

    def best(self, address, seen=tab_browser.MAP, routes=()):
        """`(ms, bytes)`, and ms of a blank page, which takes turns with it."""
        rounds = [
            (
                tab_browser.on_screen(self.browser, address, seen, routes),
                tab_browser.on_screen(self.browser, f"{self.web}/blank.html", "document.body !== null"),
            )
            for _ in range(self.repeats)
        ]
        return min(one for one, _ in rounds), min(ms for _, (ms, _) in rounds)


def first_map(bench):
    """200 steps × 12 layers × 12 heads × 128² are logged: first map on screen."""
    (ms, _), blank = bench.best(tab_browser.tab(bench.url, "training/attention"))
    yield f"{ms:.0f} ms", f"{blank:.0f} ms", "< 400 ms", ms < 400


def against_bertviz(bench):
    """12 heads × 256² of one layer: first map of all heads, beside BertViz 1.4.1 on the same array."""
    goals = "≤ 1/50 of its time, ≤ 1/20 of its bytes"
    if not (importlib.util.find_spec("bertviz") and bench.node_modules):
        yield "not measured: BertViz is not installed (see --node-modules)", "", goals, False
        return
    page = os.path.join(bench.folder, "web", "bertviz.html")
    address = f"{bench.web}/bertviz.html"
    subprocess.run([sys.executable, HERE / "tab_bertviz.py", "12", "256", page], check=True)
    (theirs, _), _ = bench.best(address, tab_bertviz.lines(12, 256), tab_bertviz.routes(bench.node_modules))
    heads = {"head": ",".join(map(str, range(12)))}
    (ours, sent), blank = bench.best(tab_browser.tab(bench.url, "heads/attention", direct=True, **heads))
    size = os.path.getsize(page)
    said = f"1/{theirs / ours:.0f} of its time ({ours:.0f} ms of {theirs / 1000:.1f} s), "
    said += f"1/{size / sent:.0f} of its bytes ({sent / 1e6:.2f} of {size / 1e6:.1f} MB)"
    yield said, f"{blank:.0f} ms", goals, ours <= theirs / 50 and sent <= size / 20


def scrubbing(bench):
    """Scrubbing those 200 steps after load, a step a frame: 95th percentile of the frames."""
    runs = []
    for _ in range(bench.repeats):
        with tab_browser.opened(bench.browser, tab_browser.tab(bench.url, "training/attention")) as (
            page,
            frame,
        ):
            page.wait_for_timeout(5000)
            runs.append(frame.evaluate(tab_browser.SCRUB))
    best = min(runs, key=lambda one: tab_browser.percentile(one["lengths"], 0.95))
    p95 = tab_browser.percentile(best["lengths"], 0.95)
    yield f"{p95:.1f} ms; {best['shown']} of {tab_logs.STEPS} steps seen on the way", "", "< 33 ms", p95 < 33


def long_map(bench):
    """One 2,464² map: first paint."""
    (ms, _), blank = bench.best(tab_browser.tab(bench.url, "long/attention"))
    yield f"{ms:.0f} ms", f"{blank:.0f} ms", "< 900 ms", ms < 900


def zoom_and_pan(bench):
    """One 2,464² map: zoom by the wheel, pan by dragging, median of the frames."""
    rates, changed = {"zoom": [], "pan": []}, {"zoom": False, "pan": False}
    for _ in range(bench.repeats):
        with tab_browser.opened(bench.browser, tab_browser.tab(bench.url, "long/attention")) as (page, frame):
            page.wait_for_timeout(1000)
            box = frame.locator("#heatmap").bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + min(box["height"], 600) / 2
            page.mouse.move(x, y)

            def zoom(page=page):
                for i in range(60):
                    page.mouse.wheel(0, -60 if i < 40 else 60)

            def pan(page=page, x=x, y=y):
                for i in range(60):
                    page.mouse.move(x + 3 * (30 - abs(30 - i)), y + 2 * i)

            for name, act in (("zoom", zoom), ("pan", pan)):
                before = tab_browser.picture(frame)
                if name == "pan":
                    page.mouse.down()
                rates[name].append(tab_browser.frames_a_second(tab_browser.frames_while(frame, act)))
                changed[name] |= tab_browser.picture(frame) != before
    for name, all_ in rates.items():
        said = f"{name} {max(all_):.0f} frames a second" + (
            "" if changed[name] else "; the map did not change"
        )
        yield said, "", "≥ 55", max(all_) >= 55 and changed[name]


def nodes(bench):
    """DOM nodes, the most of all views on those two logs."""
    counts = {}
    for run in ("training/attention", "long/attention"):
        with tab_browser.opened(bench.browser, tab_browser.tab(bench.url, run)) as (page, frame):
            for button in frame.locator("button.view:visible").all():
                button.click()
                page.wait_for_timeout(3000)
                view = f"{button.get_attribute('data-view')} of {run.split('/')[0]}"
                counts[view] = frame.evaluate("document.querySelectorAll('*').length")
    most = max(counts, key=counts.get)
    yield f"{counts[most]:,} ({most})", "", "< 3,000", counts[most] < 3000


def bytes_on_disk(bench):
    """Bytes on disk a weight, default encoding; L1 error of a row, mean (worst)."""
    for heads, length, most_bytes, most_error in ((12, 128, 0.9, 0.02), (1, 2464, 0.6, 0.06)):
        for kind in tab_logs.KINDS:
            size, error, worst, entropy = tab_logs.encoded(kind, heads, length)
            # nearly uniform: an entropy above 0.9 of the greatest there is
            most = 0.85 if length > 128 and entropy > 0.9 else most_bytes
            said = f"{kind}, {length:,}²: {size:.2f} bytes, error {error:.3f} ({worst:.3f})"
            yield said, "", f"≤ {most} bytes, error ≤ {most_error}", size <= most and error <= most_error


def logger_cost(bench):
    """`AttentionLogger` once an epoch: time spent in it, of that of training; the least of the runs."""
    for which in ("forecaster", "transformer"):
        command = [sys.executable, HERE / "tab_logger.py", which]
        runs = []
        for _ in range(min(bench.repeats, 3)):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        training, logging = min(runs, key=lambda one: one[1] / one[0])
        said = f"{which}: {100 * logging / training:.1f} % ({logging:.2f} s in 4 epochs of {training:.1f} s)"
        yield said, "", "≤ 3 %", logging <= 0.03 * training


def listing(bench):
    """10,000 records in 20 runs: listing of all tags."""
    logs = os.path.join(bench.folder, "many")
    tab_logs.write_many_runs(logs)
    for flags in ((), ("--load_fast=false",)):
        with tab_browser.tensorboard(logs, *flags) as url:
            tab_browser.wait_for_records(url, "run_19", 20)
            best = min(tab_browser.ask(url, "tags")[1] for _ in range(bench.repeats))
        said = f"{1000 * best:.0f} ms{' with --load_fast=false' if flags else ''}"
        yield said, "", "< 1 s", best < 1


ROWS = (
    first_map,
    against_bertviz,
    scrubbing,
    long_map,
    zoom_and_pan,
    nodes,
    bytes_on_disk,
    logger_cost,
    listing,
)


def main():
    """Print the rows as they are measured; write the page if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="rows:\n" + "\n".join(f"{i:4}  {row.__doc__}" for i, row in enumerate(ROWS, 1)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--row", type=int, nargs="+", metavar="N", help="only these rows")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="default %(default)s")
    parser.add_argument("--output", metavar="PATH", help="also write the page, such as docs/attention_tab.md")
    parser.add_argument(
        "--node-modules",
        metavar="DIR",
        help="for row 2: what `npm install d3@5.7.0 jquery@2.2.4 requirejs@2.3.6` made; BertViz itself is "
        "`pip install --no-deps bertviz==1.4.1` and `pip install ipython torch`",
    )
    options = parser.parse_args()
    if not set(options.row or []) <= set(range(1, len(ROWS) + 1)):
        parser.error(f"--row got {options.row}; pass numbers from 1 to {len(ROWS)}.")
    if options.repeats < 1:
        parser.error(f"--repeats got {options.repeats}; pass 1 or more.")

    table = [TABLE]
    print(TABLE, flush=True)
    with contextlib.ExitStack() as stack:
        bench = Bench(options.repeats, options.node_modules, stack)
        for i in options.row or range(1, len(ROWS) + 1):
            row = ROWS[i - 1]
            for *cells, met in row(bench):
                cells = [row.__doc__.rstrip("."), *cells, "met" if met else "missed"]
                table.append(f"| {' | '.join(cells)} |")
                print(table[-1], flush=True)
        version = bench.browser.version
    if options.output:
        page = PAGE.format(
            cores=os.cpu_count(), chromium=version, repeats=options.repeats, table="\n".join(table)
        )
        Path(options.output).write_text(page)


if __name__ == "__main__":
    main()
