import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

START_SECONDS = 180
PLUGIN = Path(__file__).parents[1] / "tb_plugin"
PAGE = PLUGIN / "static" / "index.js"
AXE = PLUGIN / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def start_tensorboard():
    """`with start_tensorboard(logdir, *flags) as url:` is a TensorBoard process on a free port."""
    return tensorboard_process


@contextlib.contextmanager
def tensorboard_process(logdir, *flags, python=sys.executable):
    command = [python, "-m", "tensorboard.main", "--logdir", str(logdir), "--host", "127.0.0.1"]
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


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    if not PAGE.exists():
        pytest.fail("The page is not built: type `make page`.")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.fail("Chromium was not found: type `sudo apt-get install chromium`.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


class Tab:
    """The Attention tab in a page of its own; `errors`: what the console said, and requests elsewhere."""

    def __init__(self, browser, url):
        self.page = browser.new_page(viewport={"width": 1360, "height": 900})
        self.page.set_default_timeout(60_000)
        self.errors = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._see)
        self.page.goto(url)
        self.frame = self._frame()

    def _hear(self, said):
        # A page opened without TensorBoard's frame has no icon, and the browser asks for one.
        if said.type == "error" and not said.location["url"].endswith("/favicon.ico"):
            self.errors.append(said.text)

    def _see(self, request):
        address = urllib.parse.urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            self.errors.append(f"{request.url} is beyond this machine")

    def _frame(self):
        for _ in range(600):
            for frame in self.page.frames:
                if "plugin_entry" in frame.url and frame.query_selector("main"):
                    return frame
            self.page.wait_for_timeout(100)
        raise AssertionError(f"The Attention tab did not open: {[frame.url for frame in self.page.frames]}")

    def find(self, selector):
        """The element of a CSS selector."""
        return self.frame.locator(selector)

    def choose(self, run, layer=None):
        """Click a run, then a layer."""
        self.frame.get_by_role("button", name=run, exact=True).click()
        if layer is not None:
            self.frame.get_by_role("button", name=layer, exact=True).click()

    def wait_for(self, **shown):
        """Until the map of that step, sample or head is shown."""
        for name, value in shown.items():
            expect(self.find("#readout")).to_have_attribute(f"data-{name}", str(value), timeout=60_000)

    def darken(self, dark=True):
        """TensorBoard's own dark mode, or its light one."""
        self.page.evaluate("dark => document.body.classList.toggle('dark-mode', dark)", dark)
        expect(self.find("html")).to_have_class("dark" if dark else "")
        self.page.wait_for_timeout(300)  # colours fade

    def violations(self, region="html"):
        """What axe-core, the accessibility engine, complains of."""
        if not AXE.exists():
            pytest.fail("axe-core was not found: type `make page`.")
        if not self.frame.evaluate("'axe' in window"):
            self.frame.evaluate(AXE.read_text())
        found = "violations.map(({ id, nodes }) => [id, nodes[0].html])"
        return self.frame.evaluate(f"region => axe.run(region).then(({{ violations }}) => {found})", region)

    def hover(self, query, key, rows, columns):
        """Point at a cell of a map; with its inputs, its columns go on over the forecast days."""
        box = self.find("#heatmap").bounding_box()
        self.page.mouse.move(self.column(key, columns), box["y"] + (query + 0.5) * box["height"] / rows)

    def column(self, key, columns):
        """The x of a column's centre."""
        box = self.find("#heatmap").bounding_box()
        return box["x"] + (key + 0.5) * box["width"] / columns

    def read(self):
        """Weight, query label and key label under the cursor."""
        readout = self.find("#readout")
        return (
            float(readout.get_attribute("data-value")),
            readout.get_attribute("data-query"),
            readout.get_attribute("data-key"),
        )


@pytest.fixture
def open_tab(browser):
    """`open_tab(url)` opens a `Tab`; in the end all are closed, and no console may have complained."""
    tabs = []

    def open_(url):
        tabs.append(Tab(browser, url))
        return tabs[-1]

    yield open_
    errors = [error for tab in tabs for error in tab.errors]
    for tab in tabs:
        if not tab.page.is_closed():
            tab.page.close()
    assert [] == errors


def pytest_addoption(parser):
    parser.addoption("--pictures", metavar="DIR", help="keep the pictures that tests take, for the docs")


@pytest.fixture
def pictures(request, tmp_path):
    """Where a test puts its pictures: thrown away unless `--pictures` says otherwise."""
    return Path(request.config.getoption("--pictures") or tmp_path)
