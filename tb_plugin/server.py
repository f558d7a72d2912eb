"""The HTTP routes of the Attention tab; `http_api.md` beside this file describes them."""

import functools
import hashlib
import json
import logging
import math
import re
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

from tb_plugin.header import MAX_MAPS, PLUGIN, RecordError, decode_header, part_of, parts, shown

PAGE = Path(__file__).parent / "static" / "index.js"
ALL_STEPS = 2**31 - 1
# A step is read some moments after the list of steps, or after its neighbour on the slider.
KEYS_KEPT_SECONDS = 5.0
# TensorBoard's data server stalls 40 ms on any blob over some hundred bytes; side by side they stall once.
READERS = 16
MOST_RECORDS = 2000
MOST_BYTES = 256 * 2**20
KEPT_BY_BROWSERS_SECONDS = 30 * 86400
FAILED = "The record is damaged, or TensorBoard failed: its own output says more."

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
            "/records": self._route(self._records),
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
                return _refusal(request, 422, FAILED)

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
        tags = {run: sorted(listed) for run, listed in sorted(runs.items()) if listed}
        newest = {
            run: {tag: _at(listed[tag].max_step, listed[tag].max_wall_time) for tag in tags[run]}
            for run, listed in runs.items()
            if listed
        }
        return http_util.Respond(request, {"runs": tags, "newest": newest}, "application/json")

    def _steps(self, request):
        run, tag = _argument(request, "run"), _argument(request, "tag")
        sequences = self._sequences(request, run, [tag])[tag]
        steps = [_at(datum.step, datum.wall_time) for datum in sequences.values()]
        return http_util.Respond(request, {"steps": steps}, "application/json")

    def _records(self, request):
        """Records of one run, tags × steps, or of each the parts that were asked for."""
        run, wanted = _argument(request, "run"), _Wanted(request)
        sequences = self._kept_sequences(request, run, wanted.tags, wanted.steps)
        steps = {tag: wanted.steps or sorted(found) for tag, found in sequences.items()}
        _bound("records", sum(map(len, steps.values())), MOST_RECORDS)
        answers = [_Answer(tag, step, sequences[tag].get(step)) for tag in steps for step in steps[tag]]
        read = functools.partial(self._read, plugin_util.context(request.environ))
        # Headers first, of all records side by side, since they tell which parts are wanted.
        size = _total(self._readers.map(lambda one: one.take_header(read), answers))
        pieces = [(one, part) for one in answers for part in one.wanted(wanted)]
        _total(self._readers.map(lambda piece: piece[0].take(read, piece[1]), pieces), size)
        about = json.dumps([one.about() for one in answers], separators=(",", ":")).encode()
        blobs = [blob for one in answers for blob in one.blobs]
        body = b"".join([struct.pack("<I", len(about)), about, *blobs])
        # What was written at a step and a wall time never changes; the page names it by them.
        lasting = "version" in request.args and all(one.error is None for one in answers)
        expires = KEPT_BY_BROWSERS_SECONDS if lasting else 0
        return http_util.Respond(request, body, "application/octet-stream", expires=expires)

    def _read(self, context, key):
        try:
            return self._data.read_blob(context, blob_key=key)
        except errors.InvalidArgumentError:
            # It does not understand the keys that it made where JSON has to escape a run or a tag.
            raise RecordError(
                "TensorBoard's data server cannot read a run or tag with a quote, a backslash or a control "
                "character: start tensorboard with --load_fast=false."
            ) from None

    def _kept_sequences(self, request, run, tags, steps):
        """{tag: {step: where its blobs are}}, read now unless read a moment ago."""
        experiment, now = plugin_util.experiment_id(request.environ), time.monotonic()
        with self._lock:
            kept = {tag: self._kept.get((experiment, run, tag), (0, {})) for tag in tags}
        stale = [
            tag
            for tag, (until, sequences) in kept.items()
            if now > until or steps is None or not all(step in sequences for step in steps)
        ]
        read = self._sequences(request, run, stale) if stale else {}
        return {tag: read.get(tag, kept[tag][1]) for tag in tags}

    def _sequences(self, request, run, tags):
        """{tag: {step: where its blobs are}}, read now and kept for a moment."""
        listed = self._listed(request, runs=[run], tags=tags).get(run, {})
        for tag in tags:
            if tag not in listed:
                raise errors.NotFoundError(f"run {shown(run)}, tag {shown(tag)}")
            if (listed[tag].max_length or 0) > 2 + MAX_MAPS:
                # Before the keys are read: a tensor that claims a million strings is given a million keys.
                raise RecordError(
                    f"A record of this tag claims {listed[tag].max_length:,} parts: it is damaged."
                )
        experiment = plugin_util.experiment_id(request.environ)
        read = self._data.read_blob_sequences(
            plugin_util.context(request.environ),
            experiment_id=experiment,
            plugin_name=PLUGIN,
            downsample=ALL_STEPS,
            run_tag_filter=provider.RunTagFilter(runs=[run], tags=tags),
        ).get(run, {})
        found = {tag: {datum.step: datum for datum in read.get(tag, [])} for tag in tags}
        now = time.monotonic()
        with self._lock:
            self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
            self._kept |= {
                (experiment, run, tag): (now + KEYS_KEPT_SECONDS, sequences)
                for tag, sequences in found.items()
            }
        return found

    def _listed(self, request, runs=None, tags=None):
        return self._data.list_blob_sequences(
            plugin_util.context(request.environ),
            experiment_id=plugin_util.experiment_id(request.environ),
            plugin_name=PLUGIN,
            run_tag_filter=provider.RunTagFilter(runs=runs, tags=tags),
        )


class _Wanted:
    """Which records, and which parts of each, a request asks for; naming one twice changes nothing."""

    def __init__(self, request):
        self.tags = list(dict.fromkeys(request.args.getlist("tag")))
        steps = request.args.getlist("step")
        if not self.tags or not steps:
            raise errors.InvalidArgumentError("tag or step is missing: name one, several, or step=all")
        self.steps = None
        if steps != ["all"]:
            self.steps = list(dict.fromkeys(_whole("step", step) for step in steps))
            _bound("records", len(self.tags) * len(self.steps), MOST_RECORDS)
        kinds = request.args.get("parts", "thumbnails,maps").split(",")
        if not {"header", "thumbnails", "maps"}.issuperset(kinds):
            raise errors.InvalidArgumentError("parts are header, thumbnails and maps")
        self.thumbnails, self.maps = "thumbnails" in kinds, "maps" in kinds
        sample, heads = request.args.get("sample"), request.args.get("heads")
        self.sample = None if sample is None else _whole("sample", sample)
        self.heads = None if heads is None else {_whole("heads", head) for head in heads.split(",")}
        self.most = _whole("most", request.args.get("most", "9" * 18))

    def parts(self, header):
        """Those after the header."""
        if header["kind"] == "inputs":
            return list(range(1, parts(header))) if self.maps else []
        thumbnails = [1] if self.thumbnails and header["format"] > 1 else []
        count, queries, keys = header["shape"]
        heads = [head for head in range(count) if self.heads is None or head in self.heads]
        if len(heads) * queries * keys > self.most:
            heads = heads[:1]
        samples = [sample for sample in range(header["samples"]) if self.sample in (None, sample)]
        maps = [part_of(header, sample, head) for sample in samples for head in heads]
        return thumbnails + (maps if self.maps else [])


class _Answer:
    """One record on its way to the page; one that cannot be read spoils no other."""

    def __init__(self, tag, step, sequence):
        self._said = {"tag": tag, "step": step}
        self._keys, self._header, self.blobs, self.error = [], None, [], None
        if sequence is None:
            self.error = f"There is nothing at step {shown(step)}."
        else:
            self._said |= _at(step, sequence.wall_time)
            self._keys = [reference.blob_key for reference in sequence.values]
            self.blobs = [b""] * len(self._keys)

    def take_header(self, read):
        """Read part 0, and see whether the record holds what it says; its bytes."""
        if self.error is not None:
            return 0
        size = self.take(read, 0)
        if self.error is None:
            try:
                self._header = decode_header(self.blobs[0])
                if len(self._keys) != parts(self._header):
                    raise RecordError(
                        f"The record has {len(self._keys)} parts, its header names {parts(self._header)}: "
                        "it is damaged."
                    )
            except RecordError as error:
                self._fail(str(error))
        return size

    def wanted(self, wanted):
        """The parts that are still to be taken."""
        return wanted.parts(self._header) if self.error is None else []

    def take(self, read, part):
        """Read a part; its bytes."""
        try:
            blob = read(self._keys[part]) if self._keys else None
            if not isinstance(blob, bytes):
                raise RecordError("The record cannot be read: it is not a list of byte strings.")
            if self.error is None:  # or another part of it could not be read meanwhile
                self.blobs[part] = blob
            return len(blob)
        except RecordError as error:
            self._fail(str(error))
        except Exception as error:
            # Records are other people's files; on bad ones the data providers raise all sorts of errors.
            logger.warning("Attention tab: %s: %s: %s", self._said, type(error).__name__, error)
            self._fail(FAILED)
        return 0

    def about(self):
        """What the page is told beside the parts."""
        told = {"parts": list(map(len, self.blobs))} if self.error is None else {"error": self.error}
        return self._said | told

    def _fail(self, sentence):
        self.error, self.blobs = sentence, []


def _argument(request, name):
    value = request.args.get(name)
    if value is None:
        raise errors.InvalidArgumentError(f"{name} is missing")
    return value


def _whole(name, text):
    if not re.fullmatch("-?[0-9]{1,19}", text):
        raise errors.InvalidArgumentError(f"{name} is a whole number of 1 to 19 digits; found {shown(text)}")
    return int(text)


def _bound(what, number, most):
    if number > most:
        raise errors.InvalidArgumentError(
            f"{number:,} {what} or more were asked for, and {most:,} are answered at once: ask for fewer "
            "steps, tags or heads"
        )


def _total(sizes, total=0):
    """The sum of what is being read, which stops where it is too much."""
    for size in sizes:
        total += size
        _bound("bytes", total, MOST_BYTES)
    return total


def _at(step, wall_time):
    return {"step": step, "wall_time": wall_time if math.isfinite(wall_time) else None}


def _refusal(request, code, sentence):
    headers = [("Allow", "GET, HEAD")] if code == 405 else None
    return http_util.Respond(request, {"error": sentence}, "application/json", code=code, headers=headers)
