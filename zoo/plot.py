"""Pictures of attention maps, with matplotlib."""

import io

import numpy as np


def heatmap(attention_map, sample=0, head=None):
    """One sample's map as a matplotlib `Figure`: queries down, keys across, one head or the mean of all.

    >>> import numpy as np, zoo
    >>> zoo.plot.heatmap(zoo.AttentionMap(np.full((1, 1, 2, 4), 0.25), layer="mine")).axes[0].get_title()
    'mine'
    """
    from matplotlib.figure import Figure

    heads = attention_map.weights[sample]
    weights = heads.mean(axis=0) if head is None else heads[head]
    figure = Figure(figsize=(9, min(9, 1.8 + 0.35 * len(weights))), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(weights, aspect="auto", cmap="viridis", vmin=0, interpolation="nearest")
    figure.colorbar(image, label="attention weight")
    which = "" if len(heads) == 1 else " · mean of heads" if head is None else f" · head {head}"
    axes.set_title(f"{attention_map.layer}{which}")
    for axis, one, setter, most in (
        ("query", attention_map.queries, axes.set_yticks, 24),
        ("key", attention_map.keys, axes.set_xticks, 8),
    ):
        ticks = np.unique(np.linspace(0, one.length - 1, min(one.length, most)).round().astype(int))
        labels = one.of_sample(sample)
        setter(ticks, [labels[tick] if labels else str(tick) for tick in ticks])
        (axes.set_ylabel if axis == "query" else axes.set_xlabel)(f"{axis} ({one.kind})")
    return figure


def png(figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
