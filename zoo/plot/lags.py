"""How far back is attended to."""

import numpy as np

from zoo.plot.drawing import new_figure, title_of, weights_of


def lag_profile(attention_map, sample=0, head=None):
    """How much is attended to at each distance into the past, beside an even share of every row.

        s(ℓ) = Σ_{(i, j): t_i - u_j = ℓ} a_ij / Σ_{(i, j): t_i - u_j = ℓ} (Σ_k a_ik / keys)

    with t_i the position of query i and u_j that of key j: 1 is an even share, at lags that few pairs have
    too. A query whose label is among the keys' stands where that key does; where labels or lengths differ,
    queries follow the keys, as forecast days follow past ones. The three strongest lags are named.

    >>> import zoo
    >>> figure = lag_profile(zoo.AttentionMap(np.eye(5)[None, None]))
    >>> {int(lag): float(s) for lag, s in zip(*figure.axes[0].lines[0].get_data(), strict=True) if s > 0}
    {0: 5.0}
    """
    weights = weights_of(attention_map, sample, head)
    lags = _positions(attention_map, sample)[:, None] - np.arange(weights.shape[1])
    even = np.broadcast_to(weights.mean(axis=1, keepdims=True), weights.shape)
    first = lags.min()
    looked, due = (np.bincount((lags - first).ravel(), one.ravel()) for one in (weights, even))
    share = np.divide(looked, due, out=np.zeros_like(looked), where=due > 0)
    at = np.arange(first, first + len(share))

    figure = new_figure(9, 3.6)
    axes = figure.subplots()
    [line] = axes.plot(at, share, color="#1c6a94", linewidth=1.5)
    axes.axhline(1, color="0.5", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate("even share", (1.01, 1), xycoords=("axes fraction", "data"), va="center", color="0.4")
    axes.fill_between(at, share, color=line.get_color(), alpha=0.15, linewidth=0)
    for lag in np.sort(np.argsort(share)[::-1][:3]):
        axes.plot(at[lag], share[lag], "o", color=line.get_color(), markersize=5)
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
        axes.annotate(str(at[lag]), (at[lag], share[lag]), **above)
    axes.set(xlabel="lag, in steps before the query", ylabel="times an even share")
    axes.set_title(title_of(attention_map, head), parse_math=False)
    axes.set_ylim(0, 1.15 * max(share.max(), 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _positions(attention_map, sample):
    """Where each query stands, counted in keys."""
    queries, keys = attention_map.queries, attention_map.keys
    names, known = queries.of_sample(sample), keys.of_sample(sample)
    if queries.length == keys.length and (names is None or known is None or names == known):
        return np.arange(keys.length)
    at = {name: position for position, name in enumerate(known or ())}
    follows = iter(range(keys.length, keys.length + queries.length))
    return np.array([at[name] if name in at else next(follows) for name in names or [None] * queries.length])
