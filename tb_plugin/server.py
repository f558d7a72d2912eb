"""The HTTP routes of the Attention tab; `http_api.md` beside this file describes them."""

import hashlib
import logging
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.data import provider
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from tb_plugin.record import MAX_MAPS, PLUGIN, RecordError, decode_header

PAGE = Path(__file__).parent / "static" / "index.js"
ALL_STEPS = 2**31 - 1
# A step is read some moments after the list of steps, or after its neighbour on the slider.
KEYS_KEPT_SECONDS = 5.0
# TensorBoard's data server stalls 40 ms on any blob over some hundred bytes; side by side they stall once.
READERS = 16

logger = logging.getLogger("tensorboard")


class AttentionPlugin(base_plugin.TBPlugin):
    """Serves the page and the records that `tb_plugin.event_file` wrote."""

    plugin_name = PLUGIN

    def __init__(self, context: base_plugin.TBContext):
        self._data = context.data_provider
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=PLUGIN)
        self._kept = {}
        self._lock = threading.Lock()
        try:
            self._page = PAGE.read_bytes()
        except FileNotFoundError:
            self._page = None
            logger.warning("The page of the Attention tab is not built: type `make page`.")
        # The browser keeps a module for its address, so a new page needs a new one.
        version = hashlib.sha256(self._page or b"").hexdigest()[:16]
        self._frontend = base_plugin.FrontendMetadata(
            es_module_path=f"/index.js?v={version}", tab_name="Attention"
        )

    def get_plugin_apps(self) -> dict[str, Callable]:
        """The routes, relative to `data/plugin/attention`."""
        return {
            "/index.js": self._route(self._index_js),
            "/tags": self._route(self._tags),
            "/steps": self._route(self._steps),
            "/step": self._route(self._step),
        }

    def is_active(self) -> bool:
        """False: TensorBoard itself finds out whether there are data, and only asks where there are none."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """A constant, since an error here would take all tabs away."""
        return self._frontend

    def _route(self, answer):
        """A WSGI application that turns what `answer` returns, or raises, into a response."""

        @wrappers.Request.application
        def application(request):
            if request.method not in ("GET", "HEAD"):
                return _refusal(request, 405, f"This route answers GET; found {request.method}.")
            try:
                return answer(request)
            except errors.PublicError as error:
                return _refusal(request, error.http_code, str(error))
            except RecordError as error:
                return _refusal(request, 422, str(error))
            except Exception as error:
                # Records are other people's files; on bad ones the data providers raise all sorts of errors.
                logger.warning("Attention tab: %s: %s: %s", request.path, type(error).__name__, error)
                return _refusal(
                    request, 422, "The record is damaged, or TensorBoard failed: its own output says more."
                )

        return application

    def _index_js(self, request):
        if self._page is None:
            raise errors.NotFoundError("the page is not built, type `make page`")
        return http_util.Respond(request, self._page, "text/javascript", expires=86400)

    def _tags(self, request):
        try:
            runs = self._listed(request)
        except Exception:
            # One bad record spoils the listing of everything: leave out only the runs that hold one.
            runs = {}
            for run in self._data.list_runs(
                plugin_util.context(request.environ),
                experiment_id=plugin_util.experiment_id(request.environ),
            ):
                try:
                    runs |= self._listed(request, runs=[run.run_name])
                except Exception as error:
                    logger.warning("Attention tab: run %r: %s: %s", run.run_name, type(error).__name__, error)
        tags = {run: sorted(series) for run, series in sorted(runs.items()) if series}
        return http_util.Respond(request, {"runs": tags}, "application/json")

    def _steps(self, request):
        steps = [
            {"step": datum.step, "wall_time": datum.wall_time} for datum in self._sequences(request).values()
        ]
        return http_util.Respond(request, {"steps": steps}, "application/json")

    def _step(self, request):
        try:
            step = int(_argument(request, "step"))
        except ValueError:
            raise errors.InvalidArgumentError("step is a whole number") from None
        key = (plugin_util.experiment_id(request.environ), *_run_and_tag(request))
        with self._lock:
            until, sequences = self._kept.get(key, (0, {}))
        if time.monotonic() > until or step not in sequences:
            sequences = self._sequences(request)
        if step not in sequences:
            raise errors.NotFoundError(f"step {step}")
        context = plugin_util.context(request.environ)
        keys = [reference.blob_key for reference in sequences[step].values]
        try:
            blobs = list(self._readers.map(lambda key: self._data.read_blob(context, blob_key=key), keys))
        except errors.InvalidArgumentError:
            # It does not understand the keys that it made where JSON has to escape a run or a tag.
            raise RecordError(
                "TensorBoard's data server cannot read a run or tag with a quote, a backslash or a control "
                "character: start tensorboard with --load_fast=false."
            ) from None
        _check_blobs(blobs)
        lengths = struct.pack(f"<{1 + len(blobs)}I", len(blobs), *map(len, blobs))
        return http_util.Respond(request, b"".join([lengths, *blobs]), "application/octet-stream")

    def _sequences(self, request):
        """{step: where its blobs are} of the run and the tag of a request, read now and kept for a moment."""
        run, tag = _run_and_tag(request)
        listed = self._listed(request, runs=[run], tags=[tag]).get(run, {})
        if tag not in listed:
            raise errors.NotFoundError(f"run {run!r}, tag {tag!r}")
        if (listed[tag].max_length or 0) > 1 + MAX_MAPS:
            # Before the keys are read: a tensor that claims a million strings is given a million keys.
            raise RecordError(f"A record of this tag claims {listed[tag].max_length:,} parts: it is damaged.")
        experiment = plugin_util.experiment_id(request.environ)
        read = self._data.read_blob_sequences(
            plugin_util.context(request.environ),
            experiment_id=experiment,
            plugin_name=PLUGIN,
            downsample=ALL_STEPS,
            run_tag_filter=provider.RunTagFilter(runs=[run], tags=[tag]),
        )
        sequences = {datum.step: datum for datum in read.get(run, {}).get(tag, [])}
        now = time.monotonic()
        with self._lock:
            self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
            self._kept[experiment, run, tag] = (now + KEYS_KEPT_SECONDS, sequences)
        return sequences

    def _listed(self, request, runs=None, tags=None):
        return self._data.list_blob_sequences(
            plugin_util.context(request.environ),
            experiment_id=plugin_util.experiment_id(request.environ),
            plugin_name=PLUGIN,
            run_tag_filter=provider.RunTagFilter(runs=runs, tags=tags),
        )


def _argument(request, name):
    value = request.args.get(name)
    if value is None:
        raise errors.InvalidArgumentError(f"{name} is missing")
    return value


def _run_and_tag(request):
    return _argument(request, "run"), _argument(request, "tag")


def _check_blobs(blobs):
    """Refuse what the page could not show; what the maps unpack to, the page bounds itself."""
    if not blobs or not all(isinstance(blob, bytes) for blob in blobs):
        raise RecordError("The record cannot be read: it is not a list of byte strings.")
    header = decode_header(blobs[0])
    wanted = 1 + (header["samples"] * header["shape"][0] if header["kind"] == "map" else 0)
    if len(blobs) != wanted:
        raise RecordError(f"The record has {len(blobs)} parts, its header names {wanted}: it is damaged.")


def _refusal(request, code, sentence):
    headers = [("Allow", "GET, HEAD")] if code == 405 else None
    return http_util.Respond(request, {"error": sentence}, "application/json", code=code, headers=headers)
