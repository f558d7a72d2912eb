"""TensorBoard's Attention tab in headless Chromium, and its clocks."""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from playwright.sync_api import sync_playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")

# `onScreen`: ms from the start of the frame until something has been seen and two animation frames passed.
CLOCK = """
(() => {
  const seen = () => %s;
  const look = () =>
    seen()
      ? requestAnimationFrame(() => requestAnimationFrame(() => (window.onScreen = performance.now())))
      : requestAnimationFrame(look);
  requestAnimationFrame(look);
})();
"""
MAP = """(document.querySelector("#readout")?.dataset.step !== undefined &&
  [...document.querySelectorAll("main canvas")].some((one) => one.getClientRects().length > 0))"""
BYTES = """performance.getEntries().reduce((sum, one) => sum + (one.transferSize || 0), 0)"""

# Frames while something happens: `frames.stop()` gives their lengths in ms.
FRAMES = """
() => {
  const lengths = [];
  let last, running = true;
  const tick = (now) => {
    if (last !== undefined) lengths.push(now - last);
    last = now;
    if (running) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  window.frames_ = { stop: () => ((running = false), lengths) };
}
"""
SCRUB = """
async () => {
  const slider = document.querySelector("#step"), readout = document.querySelector("#readout");
  const lengths = [], shown = new Set();
  let last = await new Promise(requestAnimationFrame);
  for (let at = 0; at <= Number(slider.max); at++) {
    slider.value = String(at);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const now = await new Promise(requestAnimationFrame);
    lengths.push(now - last);
    shown.add(readout.dataset.step);
    last = now;
  }
  return { lengths, shown: shown.size };
}
"""


@contextlib.contextmanager
def tensorboard(logdir, *flags):
    """The address of a TensorBoard over `logdir`."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--host", "127.0.0.1"]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*command, "--port", "0", "--reload_interval", "1", *flags],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            for _ in range(1200):
                if found := re.search(rb"at (http://[^/ ]+)/", os.pread(output.fileno(), 100_000, 0)):
                    break
                time.sleep(0.1)
            yield found[1].decode()
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def ask(url, route, **arguments):
    """What a route of the plugin answers, and in how many seconds."""
    address = f"{url}/data/plugin/attention/{route}?{urllib.parse.urlencode(arguments)}"
    began = time.perf_counter()
    with urllib.request.urlopen(address) as answer:
        body = answer.read()
    return json.loads(body), time.perf_counter() - began


def wait_for_records(url, run, records):
    """Until TensorBoard has read so many steps of each of a run's tags."""
    while True:
        tags = ask(url, "tags")[0]["runs"].get(run, [])
        if tags and all(len(ask(url, "steps", run=run, tag=tag)[0]["steps"]) >= records for tag in tags):
            return
        time.sleep(0.5)


@contextlib.contextmanager
def chromium():
    """A headless browser."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("Chromium was not found: type `sudo apt-get install chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, address, seen=MAP, routes=()):
    """A page with nothing in its cache, and its frame that showed what was to be `seen`."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.add_init_script(CLOCK % seen)
    for pattern, fulfil in routes:
        page.route(pattern, fulfil)
    page.goto(address, wait_until="commit")
    frame = page.main_frame
    if "#attention" in address and "plugin_entry" not in address:
        while not (found := [one for one in page.frames if "plugin_entry" in one.url]):
            page.wait_for_timeout(20)
        [frame] = found
    frame.wait_for_function("window.onScreen")
    yield page, frame
    context.close()


def on_screen(browser, address, seen=MAP, routes=()):
    """`(ms, bytes)`: from the frame's start until it is on screen, and what was sent for it."""
    with opened(browser, address, seen, routes) as (_, frame):
        return frame.evaluate("window.onScreen"), frame.evaluate(BYTES)


@contextlib.contextmanager
def served(folder):
    """The address of a plain web server over `folder`."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def tab(url, run, view="map", direct=False, **selection):
    """The address of the tab; `direct` is the plugin's page without TensorBoard's around it."""
    chosen = {"run": run, "view": view, **selection}
    parts = [f"p.attention.{name}={urllib.parse.quote(str(value))}" for name, value in chosen.items()]
    page = "data/plugin_entry.html?name=attention" if direct else ""
    return f"{url}/{page}#attention&{'&'.join(parts)}"


def frames_while(frame, act):
    """Lengths in ms of the frames while `act()` moves the mouse."""
    frame.evaluate(FRAMES)
    act()
    return frame.evaluate("window.frames_.stop()")


def picture(frame):
    """What the map's canvas shows."""
    return frame.evaluate("document.querySelector('#heatmap').toDataURL()")


def percentile(values, share):
    """The value below which a share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def frames_a_second(lengths):
    """By the median frame."""
    return 1000 / statistics.median(lengths)
