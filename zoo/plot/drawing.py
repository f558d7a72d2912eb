"""What all figures share."""

import numpy as np


def new_figure(width, height):
    """A figure of so many inches; no window is opened, and none has to be closed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def weights_of(attention_map, sample, head):
    """`(queries, keys)` of one head, or the mean of all."""
    of_sample = attention_map.weights[position("sample", sample, len(attention_map.weights))]
    return of_sample.mean(axis=0) if head is None else of_sample[position("head", head, len(of_sample))]


def position(name, index, count):
    """The index, if there is such a sample, head or query."""
    if not isinstance(index, (int, np.integer)) or not -count <= index < count:
        raise ValueError(f"`{name}` counts from 0, and there are {count}; found {index!r}.")
    return index


def title_of(attention_map, head):
    """The layer, and which of several heads."""
    one = attention_map.weights.shape[1] == 1
    which = "" if one else "mean of heads" if head is None else f"head {head}"
    return " · ".join(filter(None, [attention_map.layer, which]))


def names_of(axis, sample):
    """A name for every position, labelled or not."""
    return axis.of_sample(sample) or [str(position) for position in range(axis.length)]


def thin(length, most):
    """At most so many positions, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int))


def name_axes(axes, attention_map, sample, down, across):
    """At most so many labels down and across."""
    queries, keys = attention_map.queries, attention_map.keys
    for one, setter, most in ((queries, axes.set_yticks, down), (keys, axes.set_xticks, across)):
        ticks = thin(one.length, most)
        setter(ticks, [names_of(one, sample)[tick] for tick in ticks], parse_math=False)
    axes.set(ylabel=f"query ({queries.kind})", xlabel=f"key ({keys.kind})")
