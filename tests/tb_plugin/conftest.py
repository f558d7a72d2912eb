import itertools
import json
import struct
import time
import urllib.error
import urllib.parse
import urllib.request

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")


class Client:
    """Asks one TensorBoard."""

    def __init__(self, url):
        self.url = url

    def ask(self, route, method="GET", prefix="", **arguments):
        query = urllib.parse.urlencode(arguments, doseq=True)
        address = f"{self.url}{prefix}/data/plugin/attention/{route}?{query}"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers, refused.read()

    def json(self, route, **arguments):
        status, _, body = self.ask(route, **arguments)
        assert status == 200, body
        return json.loads(body)

    def records(self, **arguments):
        """What is said of each record, with its parts."""
        status, headers, body = self.ask("records", **arguments)
        assert status == 200, body
        assert headers["Content-Type"] == "application/octet-stream"
        [size] = struct.unpack_from("<I", body)
        about, start = json.loads(body[4 : 4 + size]), 4 + size
        for one in about:
            ends = np.cumsum([start, *one.get("parts", [])])
            one["parts"] = [body[first:end] for first, end in itertools.pairwise(ends)]
            start = ends[-1]
        assert start == len(body)
        return about

    def record(self, **arguments):
        """The parts of the one record that is asked for."""
        [one] = self.records(**arguments)
        assert "error" not in one, one
        return one["parts"]

    def wait_for(self, question, expected):
        """Ask until TensorBoard has read so far."""
        end = time.monotonic() + 60
        while (found := question()) != expected and time.monotonic() < end:
            time.sleep(0.1)
        assert found == expected


@pytest.fixture(scope="session")
def client_of():
    """`client_of(url)` asks the TensorBoard at `url`."""
    return Client
