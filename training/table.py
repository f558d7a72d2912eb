"""Write the docs' score tables again from the committed result files."""

import json
import math
import re
from pathlib import Path

from training.scores import LOWER_IS_BETTER, METRICS
from zoo.whole_file import whole_file

_HEADS = {"mse": "MSE", "mae": "MAE", "mape": "MAPE %", "direction": "direction %"}
_HEADS |= {"precision": "precision %", "recall": "recall %", "f1": "F1 %"}
_SHARES = ("mape", "direction", "precision", "recall", "f1")


RESULTS = Path(__file__).parent / "results"
PAGES = [Path(__file__).parents[1] / page for page in ("README.md", "docs/forecasts.md")]


def add_arguments(parser):
    """The command line: the files are where the repository has them."""
    return parser


def main(arguments):
    """Fill in the pages."""
    for page in PAGES:
        filled = fill(page.read_text(encoding="utf-8"))
        with whole_file(page) as file:
            file.write_text(filled, encoding="utf-8")
        print(f"{page.name}: {filled.count('<!-- table ')} tables written")


def fill(text) -> str:
    """`text` with the table of `results/NAME.json` between `<!-- table NAME -->` and `<!-- end -->`."""

    def filled(match):
        result = json.loads((RESULTS / f"{match[1]}.json").read_text(encoding="utf-8"))
        return f"<!-- table {match[1]} -->\n{render(result)}\n<!-- end -->"

    return re.sub(r"<!-- table ([\w-]+) -->\n.*?<!-- end -->", filled, text, flags=re.DOTALL)


def render(result) -> str:
    """The table of one result file, its best values bold, and a sentence for every baseline that wins.

    Args:
        result: what `python -m training forecast` wrote to `result.json`.
    """
    rows = result["scores"]
    best = {metric: _best(rows, metric) for metric in METRICS}
    table = [["model", "weights", *(_HEADS[metric] for metric in METRICS)]]
    for name, scores in rows.items():
        weights = result["parameters"].get(name)
        cells = [_cell(scores[metric], metric, name in best[metric]) for metric in METRICS]
        table.append([name, f"{weights:,}" if weights else "–", *cells])
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in table
    ]
    lines.insert(1, "|" + "|".join(("-" * (w + 1) + (":" if i else "-")) for i, w in enumerate(widths)) + "|")
    return "\n".join([*lines, "", *_verdicts(result)])


def _best(rows, metric):
    values = {name: scores[metric]["value"] for name, scores in rows.items()}
    known = [value for value in values.values() if value is not None]
    wanted = (min if metric in LOWER_IS_BETTER else max)(known, default=None)
    return {name for name, value in values.items() if value is not None and value == wanted}


def _cell(score, metric, best):
    if score["value"] is None:
        return "–"
    factor = 100 if metric in _SHARES else 1
    digits = 2 if metric in ("mape", "mae") else 1
    # Errors in units of the price: four digits of those of a cheap one.
    if metric not in _SHARES and 0 < score["value"] < 1000:
        digits = max(digits, 3 - math.floor(math.log10(score["value"])))
    value, low, high = (f"{factor * score[key]:,.{digits}f}" for key in ("value", "low", "high"))
    return f"{f'**{value}**' if best else value} [{low}, {high}]"


def _verdicts(result):
    model, sentences = result["model"], []
    for rival, differences in result["differences"].items():
        won = [_HEADS[metric] for metric, one in differences.items() if _wins(one, metric) == "rival"]
        clear = [_HEADS[m] for m, one in differences.items() if _wins(one, m) == "rival" and _clear(one)]
        if won:
            sure = f" (beyond chance: {', '.join(clear)})" if clear else " (none beyond chance)"
            sentences.append(f"- **{rival}** beats {model} in {', '.join(won)}{sure}.")
    ours = [
        f"{_HEADS[metric]} against {rival}"
        for rival, differences in result["differences"].items()
        for metric, one in differences.items()
        if _wins(one, metric) == "model" and _clear(one)
    ]
    sentences.append(
        f"- {model} beats beyond chance: {'; '.join(ours)}."
        if ours
        else f"- {model} beats no baseline beyond chance."
    )
    return sentences


def _wins(difference, metric):
    if difference["value"] in (None, 0):
        return None
    return "model" if (difference["value"] < 0) == (metric in LOWER_IS_BETTER) else "rival"


def _clear(difference):
    return difference["low"] > 0 or difference["high"] < 0
