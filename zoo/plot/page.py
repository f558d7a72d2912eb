"""The Attention tab as a file of its own."""

import base64
import hashlib
import json
from html import escape
from importlib import resources
from pathlib import Path

from zoo import summary
from zoo.whole_file import whole_file

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-{digest}'; \
style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
</head>
<body>
<script type="application/json" id="attention-records">{records}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def html(maps, path, *, series=None, forecast=None, target=None, pictures=None, titles=None) -> None:
    """Write the Attention tab, with these maps in it, to one HTML file that opens with the network off.

    The records in the file are those that `zoo.summary.attention` would write. It appears whole or not at
    all, and asks nobody for anything: its content security policy forbids it.

    Args:
        maps: an `AttentionMap`, or `{layer: AttentionMap}` as `zoo.attend` returns them.
        path: of the file; what it is called is what the page calls the run.
        series, forecast, target, pictures, titles: what the model was shown, see `zoo.summary.attention`.

    Raises:
        ValueError: lengths that do not fit the maps; more than 256 samples × heads.
        OSError: the file could not be written, or the page is not built.

    >>> import tempfile, numpy as np, zoo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     html(zoo.AttentionMap(np.full((1, 1, 2, 4), 0.25), layer="mine"), f"{folder}/mine.html")
    ...     Path(folder, "mine.html").read_text()[:15]
    '<!DOCTYPE html>'
    """
    built = resources.files("tb_plugin") / "static" / "index.js"
    if not built.is_file():
        raise FileNotFoundError("The page of the Attention tab is not built: type `make page`.")
    script = built.read_text("utf-8")
    beside = {"series": series, "forecast": forecast, "target": target, "pictures": pictures}
    records = {
        value.tag: [
            {"step": 0, "wall_time": None, "parts": [_base64(part) for part in value.tensor.string_val]}
        ]
        for value in summary.encode("attention", maps, titles=titles, **beside)
    }
    run = Path(path).stem
    page = PAGE.format(
        digest=_base64(hashlib.sha256(script.encode()).digest()),
        title=escape(run),
        records=json.dumps({"runs": {run: records}}).replace("<", "\\u003c"),  # no label ends the script
        script=script,
    )
    with whole_file(path) as unfinished:
        unfinished.write_text(page, "utf-8", errors="replace", newline="\n")


def _base64(data):
    return base64.b64encode(data).decode()
