"""What a map looks like in one number a head. Weights are `(..., queries, keys)`, results `(...)`."""

import numpy as np

# Token labels that stand for nothing: the tokenizers' own, and none at all.
PADDING = ("", "[PAD]", "<pad>", "<PAD>", "<|pad|>", "<|endoftext|>")


def entropy(weights, valid=None):
    """How evenly a row spreads over its keys, mean over rows: 0 on one key, 1 on all alike.

        H_i = -Σ_j p_ij ln p_ij / ln n,   p_ij = a_ij / Σ_j a_ij,   0 ln 0 = 0

    with n the number of valid keys. Clark et al. 2019, https://arxiv.org/abs/1906.04341, section 3.4 (there
    in nats, not divided by ln n). Rows of zeros, and rows with one valid key, do not count; NaN if none does.

    Args:
        weights: `(..., queries, keys)`, none negative.
        valid: booleans `(keys,)` or `(..., keys)`; all by default.

    >>> entropy(np.array([[0.5, 0.5, 0.0, 0.0]])).item()
    0.5
    """
    weights = np.asarray(weights, "float64")
    count = weights.shape[-1] if valid is None else np.sum(valid, axis=-1)[..., None]
    sums = weights.sum(axis=-1)
    p = np.divide(weights, sums[..., None], out=np.zeros_like(weights), where=sums[..., None] > 0)
    h = -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum(axis=-1)
    return _mean(h / np.log(np.maximum(count, 2)), (sums > 0) & (np.asarray(count) > 1))


def mean_distance(weights, queries=None, keys=None):
    """How far a query looks, as a share of the longest way there is, mean over rows.

        d_i = Σ_j p_ij |x_i - y_j| / max_ij |x_i - y_j|

    Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929, figure 7 (there in pixels).

    Args:
        weights: `(..., queries, keys)`.
        queries, keys: places of the positions, `(length,)` or `(length, dimensions)`: steps, or a patch's row
            and column; 0, 1, 2, … by default.

    >>> mean_distance(np.eye(3)).item(), mean_distance(np.eye(3)[::-1]).item()
    (0.0, 0.6666666666666666)
    """
    weights = np.asarray(weights, "float64")
    x, y = (
        np.arange(length, dtype="float64") if places is None else np.asarray(places, "float64")
        for places, length in zip((queries, keys), weights.shape[-2:], strict=True)
    )
    x, y = (places[:, None] if places.ndim == 1 else places for places in (x, y))
    distance = np.sqrt(((x[:, None] - y) ** 2).sum(axis=-1))
    sums = weights.sum(axis=-1)
    looked = np.divide((weights * distance).sum(axis=-1), sums, out=np.zeros_like(sums), where=sums > 0)
    return _mean(looked / max(distance.max(), 1e-300), sums > 0)


def sink(weights):
    """The key that most mass sits on, and its share: `(key, share)`.

        s_j = Σ_i a_ij / Σ_ij a_ij

    Xiao et al. 2023, https://arxiv.org/abs/2309.17453, found the first token to be one; here it may be any.

    >>> key, share = sink(np.array([[0.1, 0.9], [0.3, 0.7]]))
    >>> key.item(), round(share.item(), 3)
    (1, 0.8)
    """
    mass = np.asarray(weights, "float64").sum(axis=-2)
    total = mass.sum(axis=-1, keepdims=True)
    share = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    return share.argmax(axis=-1), share.max(axis=-1)


def padding_mass(weights, labels):
    """The share of the mass that sits on padding, by the keys' labels.

    >>> padding_mass(np.array([[0.5, 0.25, 0.25]]), ["cat", "[PAD]", "[PAD]"]).item()
    0.5
    """
    mass = np.asarray(weights, "float64").sum(axis=-2)
    total = mass.sum(axis=-1)
    padding = mass[..., [label in PADDING for label in labels]].sum(axis=-1)
    return np.divide(padding, total, out=np.zeros_like(total), where=total > 0)


def _mean(values, counts):
    """Over rows that count."""
    number = counts.sum(axis=-1)
    total = np.where(counts, values, 0).sum(axis=-1)
    return np.divide(total, number, out=np.full(np.shape(total), np.nan), where=number > 0)
