"""Figures of a map: one head, all of them, and a picture under it."""

import numpy as np

from zoo.plot.drawing import name_axes, names_of, new_figure, position, title_of, weights_of


def heatmap(attention_map, sample=0, head=None):
    """One sample's map as a matplotlib `Figure`: queries down, keys across, one head or the mean of all.

    >>> import numpy as np, zoo
    >>> zoo.plot.heatmap(zoo.AttentionMap(np.full((1, 1, 2, 4), 0.25), layer="mine")).axes[0].get_title()
    'mine'
    """
    weights = weights_of(attention_map, sample, head)
    figure = new_figure(9, min(9, 1.8 + 0.35 * len(weights)))
    axes = figure.subplots()
    image = axes.imshow(weights, aspect="auto", cmap="viridis", vmin=0, interpolation="nearest")
    figure.colorbar(image, label="attention weight")
    axes.set_title(title_of(attention_map, head), parse_math=False)
    name_axes(axes, attention_map, sample, 24, 8)
    return figure


def heads(attention_map, sample=0):
    """Every head of one sample's map side by side, in the same colours for the same weights.

    >>> import zoo
    >>> figure = heads(zoo.AttentionMap(np.full((1, 3, 2, 4), 0.25)))
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['head 0', 'head 1', 'head 2']
    """
    weights = attention_map.weights[position("sample", sample, len(attention_map.weights))]
    columns = min(4, len(weights))
    rows = -(-len(weights) // columns)
    figure = new_figure(2.2 + 2.7 * columns, 1.2 + 2.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    most = np.nanmax(weights)
    for index, axes in enumerate(grid.flat):
        axes.set_visible(index < len(weights))
        if index < len(weights):
            image = axes.imshow(weights[index], aspect="auto", cmap="viridis", vmin=0, vmax=most)
            axes.set_title(f"head {index}", fontsize=10)
            name_axes(axes, attention_map, sample, 6, 2)
            axes.tick_params(labelsize=8)
            if index % columns:
                axes.set(ylabel="", yticklabels=[])
            if index + columns < len(weights):
                axes.set(xlabel="", xticklabels=[])
    figure.colorbar(image, ax=grid, label="attention weight")
    figure.suptitle(attention_map.layer, parse_math=False)
    return figure


def overlay(attention_map, picture, sample=0, head=None, query=None):
    """A picture under what is attended to in it; the keys are its patches.

    `picture` is `(rows, columns)` or `(rows, columns, 3)`, of numbers 0 to 255 or 0.0 to 1.0. `query` is one
    query, outlined where it is a patch too; by default the mean of all.

    >>> import zoo
    >>> patches = zoo.Axis("patch", 6, grid=(2, 3))
    >>> seen = zoo.AttentionMap(np.full((1, 1, 6, 6), 1 / 6), patches, patches, layer="vit")
    >>> overlay(seen, np.zeros((8, 12)), query=4).axes[0].get_title()
    'vit · query 4'
    """
    from matplotlib.patches import Rectangle

    keys, queries = attention_map.keys, attention_map.queries
    picture = np.asarray(picture)
    if keys.grid is None:
        raise ValueError(
            f"An overlay wants keys that are patches on a grid, found {keys.kind}: give the map "
            f'keys=zoo.Axis("patch", {keys.length}, grid=(rows, columns)).'
        )
    if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (1,), (3,)):
        raise ValueError(f"A picture is (rows, columns) or (rows, columns, 3); found {picture.shape}.")
    weights = weights_of(attention_map, sample, head)
    row = weights.mean(axis=0) if query is None else weights[position("query", query, len(weights))]
    row = row[keys.class_tokens :].reshape(keys.grid)
    height, width = picture.shape[:2]
    figure = new_figure(6.4, 0.5 + 5.2 * min(1.6, height / width))
    figure.set_layout_engine("compressed")
    axes = figure.subplots()
    pixels = picture / (255 if picture.max() > 1 else 1)
    edges = (0, width, height, 0)
    axes.imshow(
        pixels[..., 0] if pixels.shape[2:] == (1,) else pixels, cmap="gray", vmin=0, vmax=1, extent=edges
    )
    share = row / max(row.max(), 1e-300)
    over = {"cmap": "viridis", "vmin": 0, "alpha": 0.8 * share, "interpolation": "nearest"}
    image = axes.imshow(row, extent=edges, **over)
    if query is not None and queries.grid and query >= queries.class_tokens:
        high, wide = height / queries.grid[0], width / queries.grid[1]
        down, across = divmod(query - queries.class_tokens, queries.grid[1])
        place = (across * wide, down * high), wide, high
        axes.add_patch(Rectangle(*place, fill=False, edgecolor="black", linewidth=4))
        axes.add_patch(Rectangle(*place, fill=False, edgecolor="white", linewidth=2))
    colours = figure.colorbar(image, label="attention weight")
    colours.solids.set_alpha(1)
    which = "mean of queries" if query is None else f"query {names_of(queries, sample)[query]}"
    axes.set_title(f"{title_of(attention_map, head)} · {which}", parse_math=False)
    axes.set(xticks=[], yticks=[])
    return figure
