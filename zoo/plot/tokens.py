"""Figures of text: one query over its keys, and lines between tokens."""

import numpy as np

from zoo.plot.drawing import names_of, new_figure, position, thin, title_of, weights_of


def text(attention_map, query, sample=0, head=None):
    """The keys as running text, each as dark as `query`, the index of one query, attends to it.

    >>> import zoo
    >>> words = zoo.Axis("token", 3, labels=["the", "cat", "sat"])
    >>> figure = text(zoo.AttentionMap(np.full((1, 1, 3, 3), 1 / 3), words, words, layer="bert"), query=1)
    >>> [word.get_text() for word in figure.axes[0].texts]
    ['the', 'cat', 'sat']
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    row = weights_of(attention_map, sample, head)[position("query", query, attention_map.queries.length)]
    words = names_of(attention_map.keys, sample)
    figure = new_figure(8, 2)
    axes = figure.subplots()
    image = axes.imshow(row[None], cmap="Blues", vmin=0)
    image.set_visible(False)
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, dpi, line = 7.2, figure.dpi, 0.34  # inches
    x, y = 0.0, 0.5
    for word, share in zip(words, row / max(row.max(), 1e-300), strict=True):
        # Of a colour scale both ends are legible: dark words on light ground, light ones on dark.
        box = {
            "facecolor": colormaps["Blues"](0.9 * share),
            "edgecolor": "none",
            "boxstyle": "round,pad=0.2",
        }
        ink = "white" if share > 0.5 else "black"
        placed = axes.text(0, 0, word, color=ink, bbox=box, va="center", parse_math=False)
        long = placed.get_window_extent(renderer).width / dpi
        if x > 0 and x + long > width:
            x, y = 0.0, y + line
        placed.set_position((x + 0.05, y))
        x += long + 0.13
    figure.set_size_inches(8, y + line + 0.6)
    axes.set(xlim=(0, width), ylim=(y + line / 2, 0.5 - line / 2), aspect="auto")
    which = names_of(attention_map.queries, sample)[query]
    axes.set_title(f"{title_of(attention_map, head)} · what {which} attends to", parse_math=False)
    axes.axis("off")
    figure.colorbar(image, orientation="horizontal", label="attention weight", aspect=60, shrink=0.4)
    return figure


def bipartite(attention_map, sample=0, head=None):
    """Queries on the left, keys on the right, and between them lines as dark as the weight.

    >>> import zoo
    >>> figure = bipartite(zoo.AttentionMap(np.eye(3)[None, None]))
    >>> len(figure.axes[0].collections[0].get_segments())
    3
    """
    from matplotlib.collections import LineCollection

    weights = weights_of(attention_map, sample, head)
    share = weights / max(weights.max(), 1e-300)
    long = max(weights.shape)
    y, u = ((np.arange(length) + 0.5) * long / length for length in weights.shape)
    queries, keys = np.nonzero(share > 0.02)  # fainter lines are not seen, and there may be a million of them
    figure = new_figure(6, 1 + 0.24 * min(long, 60))
    axes = figure.subplots()
    if len(queries):
        lines = [((0, y[i]), (1, u[j])) for i, j in zip(queries, keys, strict=True)]
        axes.add_collection(LineCollection(lines, color="#1c6a94", linewidth=1.6, alpha=share[queries, keys]))
    for x, one, places, side in (
        (-0.03, attention_map.queries, y, "right"),
        (1.03, attention_map.keys, u, "left"),
    ):
        names = names_of(one, sample)
        for tick in thin(one.length, 60):
            axes.text(x, places[tick], names[tick], ha=side, va="center", fontsize=10, parse_math=False)
    axes.set(xlim=(-0.5, 1.5), ylim=(long, 0))
    axes.set_title(title_of(attention_map, head), parse_math=False)
    axes.axis("off")
    return figure
