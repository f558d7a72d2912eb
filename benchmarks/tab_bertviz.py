"""`python tab_bertviz.py HEADS LENGTH FILE` writes BertViz 1.4.1's page of the maps that the tab shows."""

import pathlib
import re
import sys

import tab_logs

# The page asks a content delivery network for these; npm's copies of them are served instead.
SCRIPTS = {
    "require": "requirejs/require.js",
    "d3": "d3/dist/d3.min.js",
    "jquery": "jquery/dist/jquery.min.js",
}
KIND = "medium"


def routes(node_modules):
    """Nothing but this machine is asked."""

    def fulfil(route):
        [script] = [path for name, path in SCRIPTS.items() if re.search(rf"/{name}[^/]*$", route.request.url)]
        return route.fulfill(path=pathlib.Path(node_modules, script), content_type="text/javascript")

    return [(re.compile("https://"), fulfil)]


def lines(heads, length):
    """Every line is there."""
    return f'document.querySelectorAll("#vis svg line").length >= {heads * length**2}'


def main(heads, length, path):
    """One layer, all heads."""
    import torch
    from bertviz import model_view

    attention = torch.from_numpy(tab_logs.maps(KIND, heads, length))
    tokens = [f"t{i}" for i in range(length)]
    page = model_view(attention=[attention], tokens=tokens, html_action="return").data
    pathlib.Path(path).write_text(f"<!doctype html><meta charset=utf-8><body>{page}</body>")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
