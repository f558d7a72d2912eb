"""Writes docs/captured_layers.md: every attention layer of Keras and keras-hub, and what capture sees of it.

python benchmarks/captured_layers.py [--output docs/captured_layers.md]
"""

import argparse
import os
import re
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.filterwarnings("ignore")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from small_backbones import hub_backbones, hub_classes  # noqa: E402

import zoo  # noqa: E402
from zoo.capture.contraction import GATE  # noqa: E402
from zoo.capture.paths import layer_paths  # noqa: E402

PAGE = """# What capture sees

Written by `python benchmarks/captured_layers.py` with {versions}, which runs
`zoo.attend` on small models with random weights, two samples each.

The first table has a row for every layer class with `Attention` in its name, found by looking through
`keras.layers` and through all modules of keras-hub's layers and models, but for those that make masks:
{masks}.
The second has a row for every model that was run.

*captured*: every layer of the class that a model calls has maps; *partly*: some have none; *no*: none has.
Shapes are heads × queries × keys, for two samples; a layer that folds windows, frames or heads into the batch
has maps of more. Outputs are compared with those of `predict_on_batch`. Rows sum to 1 (or 0, for a query
that may see nothing), or else it is said what they sum to. *Changed*: in two further calls, each map takes
its own place (`replace`), and gradients by it are asked for (`differentiable=True`); the column says by how
much the outputs then differ, by how many maps the gradient of Σ outputs² is not zero, and of the others
whether the outputs depend on them at all.

## By class

{classes}

## By model

{models}
"""
NOT_CALLED = "it was not called"
VERDICT = "captured", "what came of it"


@dataclass
class Tried:
    """A model, and what came of `zoo.attend`: maps, or the reason why there are none."""

    name: str
    folder: str
    layers: list = field(default_factory=list)
    maps: dict = field(default_factory=dict)
    missing: dict = field(default_factory=dict)
    error: str = ""
    off: float = 0.0
    how: str = ""
    changed: str = ""

    def below(self, path):
        """The maps of the layer at this path, or of layers inside it."""
        return {key: one for key, one in self.maps.items() if _is_below(key.split("#")[0], path)}

    def elsewhere(self):
        """The maps of layers whose names do not say that they attend."""
        named = [path for path, layer in self.layers if "Attention" in type(layer).__name__]
        return [key for key in self.maps if not any(_is_below(key.split("#")[0], path) for path in named)]

    def calls(self, path):
        """Whether the model calls the layer at this path."""
        return not any(
            reason == NOT_CALLED and _is_below(path, other) for other, reason in self.missing.items()
        )

    def why_not(self, path):
        """The library's reason for a layer without a map."""
        reasons = [reason for other, reason in self.missing.items() if _is_below(other, path)]
        return self.error or (reasons[0] if reasons else "no reason is given")


def keras_models():
    """`(name, model, inputs)` for every attention layer of Keras."""
    x = np.random.default_rng(0).normal(size=(2, 7, 8)).astype("float32")
    inputs = keras.Input((7, 8))
    layers = keras.layers
    for name, outputs in (
        ("MultiHeadAttention", layers.MultiHeadAttention(2, 4)(inputs, inputs)),
        ("MultiHeadAttention(dropout=0.1)", layers.MultiHeadAttention(2, 4, dropout=0.1)(inputs, inputs)),
        ("GroupQueryAttention", layers.GroupQueryAttention(4, 4, 2)(inputs, inputs)),
        ("Attention", layers.Attention()([inputs, inputs])),
        ("AdditiveAttention", layers.AdditiveAttention()([inputs, inputs])),
    ):
        yield f"keras.layers.{name}", keras.Model(inputs, outputs), x


def attention_classes():
    """`{dotted name: class}` of all layers named after attention, and the names of those that make masks."""
    found = {f"keras.layers.{cls.__name__}": cls for cls in vars(keras.layers).values() if _attends(cls)}
    hub = {f"{module}.{name}": cls for (module, name), cls in hub_classes().items() if _attends(cls)}
    found |= dict(sorted(hub.items()))
    masks = [name for name in found if "Mask" in name]
    return {name: cls for name, cls in found.items() if name not in masks}, masks


def _attends(cls):
    return isinstance(cls, type) and issubclass(cls, keras.layers.Layer) and "Attention" in cls.__name__


def tried(name, model, inputs):
    """What `zoo.attend` finds in a model, or `zoo.capture` where the model cannot be compiled."""
    folder = hub_folder(name)
    if isinstance(model, Exception):
        return Tried(name, folder, error=f"keras-hub cannot build it: {first_line(model)}")
    layers, how = layer_paths(model), ""
    try:
        expected = model.predict_on_batch(inputs)
    except Exception:
        how = ", in a call inside `zoo.capture`, since this model's `predict` fails with or without it"
    try:
        expected = model(inputs, training=False) if how else expected
    except Exception as error:
        return Tried(name, folder, error=f"it does not run by itself: {first_line(error)}")
    try:
        if how:
            with zoo.capture(model) as seen:
                outputs = model(inputs, training=False)
            maps = seen.maps
        else:
            outputs, maps = zoo.attend(model, inputs)
    except Exception as error:
        return Tried(name, folder, layers, error=first_line(error))
    off, changed = difference(outputs, expected), what_changes(model, inputs, maps, expected)
    return Tried(name, folder, layers, dict(maps), dict(maps.missing), off=off, how=how, changed=changed)


def difference(outputs, expected):
    """The greatest, over all outputs."""
    pairs = zip(*(map(np.asarray, keras.tree.flatten(one)) for one in (outputs, expected)), strict=True)
    return max(np.max(np.abs(one - 1.0 * other), initial=0) for one, other in pairs)


def what_changes(model, inputs, maps, expected):
    """What came of putting each map in its own place, and of gradients by it."""
    try:
        with zoo.capture(model, replace=dict.fromkeys(maps, lambda a: a)):
            off = difference(model(inputs, training=False), expected)
        with tf.GradientTape() as tape, zoo.capture(model, differentiable=True) as seen:
            outputs = keras.tree.flatten(model(inputs, training=False))
            loss = sum(tf.reduce_sum(tf.square(tf.cast(y, "float32"))) for y in outputs)
        gradients = tape.gradient(loss, seen.weights)
    except Exception as error:
        return first_line(error)
    text = f"{_outputs(off)}; gradients by {{}} of {len(maps)}"
    for what, is_so in (("no output depends on", lambda g: g is None), ("zero by", lambda g: not np.any(g))):
        names = [f"`{name}`" for name, g in gradients.items() if is_so(g)]
        gradients = {name: g for name, g in gradients.items() if not is_so(g)}
        text += f"; {what} {_few(names)}" if names else ""
    return text.format(len(gradients))


def class_row(name, cls, models):
    """A row of the first table."""
    places = [(one, path) for one in models for path, layer in one.layers if type(layer) is cls]
    called = [(one, path) for one, path in places if one.calls(path)]
    seen = [(one, path) for one, path in called if one.below(path)]
    blind = [place for place in called if place not in seen]
    if not places:
        errors = [
            f"`{one.name}`: {one.error}" for one in models if one.error and one.folder in name.split(".")
        ]
        return name, "not tried", "; ".join(errors) or "no model here has one"
    if not called:
        return name, "no", f"{len(places)} in {_models(places)}: {NOT_CALLED}"
    verdict = "no" if not seen else "partly" if blind else "captured"
    parts = []
    if seen:
        maps = [one for model, path in seen for one in model.below(path).values()]
        off, how = max(model.off for model, _ in seen), min((model.how for model, _ in seen), key=len)
        parts.append(f"{len(seen)} of {len(called)} in {_models(seen)}: {_maps(maps)}; {_outputs(off)}{how}")
    reasons = defaultdict(list)
    for model, path in blind:
        reasons[model.why_not(path)].append((model, path))
    parts += [f"{len(which)} in {_models(which)}: {reason}" for reason, which in reasons.items()]
    if len(called) < len(places):
        parts.append(f"{len(places) - len(called)} more were not called")
    return name, verdict, ". ".join(parts)


def model_row(model):
    """A row of the second table."""
    if model.error:
        return model.name, "no" if model.layers else "not tried", model.error, ""
    text = f"{_maps(model.maps.values())}; {_outputs(model.off)}{model.how}"
    if model.elsewhere():
        text += f". In layers not named after it: {_few(f'`{path}`' for path in model.elsewhere())}"
    reasons = defaultdict(list)
    for path, reason in model.missing.items():
        reasons[reason].append(f"`{path}`")
    missing = "; ".join(f"{_few(paths)}: {reason}" for reason, paths in reasons.items())
    left = [reason for reason in reasons if reason not in (NOT_CALLED, GATE)]
    return (
        model.name,
        "partly" if left else "captured",
        text + (f". Without a map: {missing}" if missing else ""),
        model.changed,
    )


def _models(places):
    return _few(dict.fromkeys(f"`{model.name.removeprefix('keras.layers.')}`" for model, _ in places))


def _maps(maps):
    shapes = dict.fromkeys(map(_shape, maps))
    sums = np.concatenate([one.weights.sum(-1).ravel() for one in maps])
    odd = sums[(abs(sums) > 1e-5) & (abs(sums - 1) > 1e-5)]
    rows = f"rows sum to {odd.min():.2g} to {odd.max():.2g}" if odd.size else "rows sum to 1"
    if not odd.size and not sums.all():
        rows += " or 0"
    return f"{len(maps)} map{'s' * (len(maps) > 1)}, {_few(shapes)}; {rows}"


def _shape(one):
    samples, *shape = map(str, one.weights.shape)
    return " × ".join(shape) + (f" of {samples} samples" if samples != "2" else "")


def _outputs(off):
    return f"outputs differ by {off:.0e}" if off else "outputs are equal"


def _few(names):
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is_below(path, other):
    return path == other or path.startswith(f"{other}/")


def hub_folder(name):
    """Where keras-hub keeps a model of ours: a folder of `models`."""
    return next((module.split(".")[3] for module, cls in hub_classes() if cls == name.split()[0]), "keras")


def first_line(error):
    """The sentence of an exception, without what Keras writes around it."""
    lines = re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()
    around = ("Exception encountered when", "Graph execution error", "Detected at node", "  File ")
    told = (line for line in lines if line.strip() and not line.startswith(around))
    line = next(told, type(error).__name__).strip()
    return line if len(line) < 250 else f"{line[:250]}…"


def table(columns, rows):
    """Markdown."""
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for name, *cells in rows:
        lines.append(f"| `{name}` | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def main():
    """Try all, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/captured_layers.md")
    path = parser.parse_args().output
    models = []
    for one in (*keras_models(), *hub_backbones()):
        models.append(tried(*one))
        print(*model_row(models[-1]), sep=" | ", flush=True)
    classes, masks = attention_classes()
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "keras-hub"))
    page = PAGE.format(
        versions=versions,
        masks=", ".join(f"`{name.removeprefix('keras_hub.src.models.')}`" for name in masks),
        classes=table(("class", *VERDICT), (class_row(name, cls, models) for name, cls in classes.items())),
        models=table(("model", *VERDICT, "changed"), map(model_row, models)),
    )
    Path(path).write_text(page)


if __name__ == "__main__":
    main()
