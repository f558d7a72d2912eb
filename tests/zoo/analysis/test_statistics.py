"""Reference: the formulas in NumPy, one row at a time, and closed forms of uniform and one-hot maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo import analysis

MAPS = arrays(
    "float64",
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 7)),
    elements=st.floats(0, 1, width=32),
)


def rows_of(weights):
    """Every row that has any weight, as a distribution."""
    return [row / row.sum() for row in weights if row.sum() > 0]


@settings(deadline=None)
@given(MAPS)
def test_entropy_is_the_formula(weights):
    """Mean over the rows of -Σ p ln p / ln n."""
    found = analysis.entropy(weights)
    for one, head in zip(found, weights, strict=True):
        each = [-sum(p * np.log(p) for p in row if p > 0) / np.log(len(row)) for row in rows_of(head)]
        assert one == pytest.approx(np.mean(each) if each else np.nan, abs=1e-9, nan_ok=True)


@settings(deadline=None)
@given(MAPS)
def test_distance_is_the_formula(weights):
    """Mean over the rows of Σ p |i - j|, as a share of the longest way."""
    queries, keys = weights.shape[1:]
    longest = max(queries, keys) - 1
    for one, head in zip(analysis.mean_distance(weights), weights, strict=True):
        each = [
            sum(p * abs(i - j) for j, p in enumerate(row / row.sum())) / longest
            for i, row in enumerate(head)
            if row.sum() > 0
        ]
        assert one == pytest.approx(np.mean(each) if each else np.nan, abs=1e-9, nan_ok=True)


@settings(deadline=None)
@given(MAPS)
def test_shares_lie_between_0_and_1(weights):
    """The sink has the largest share of any key, and padding no more than all there is."""
    key, share = analysis.sink(weights)
    labels = ["[PAD]", *["word"] * (weights.shape[-1] - 1)]
    padding = analysis.padding_mass(weights, labels)
    assert ((0 <= share) & (share <= 1 + 1e-12) & (0 <= padding) & (padding <= share + 1e-12)).all()
    masses = weights.sum(axis=1)
    np.testing.assert_allclose(masses.max(axis=-1), np.take_along_axis(masses, key[:, None], -1)[:, 0])


@pytest.mark.parametrize("n", [2, 7, 131])
def test_uniform_and_one_hot_maps(n):
    """Uniform: entropy 1, every key has 1/n, distance (n + 1) / 3n; one-hot on itself: 0, 1/n and 0."""
    uniform, one_hot = np.full((n, n), 1 / n), np.eye(n)
    assert 1 == pytest.approx(analysis.entropy(uniform))
    assert 0 == analysis.entropy(one_hot) == analysis.mean_distance(one_hot)
    assert (n + 1) / (3 * n) == pytest.approx(analysis.mean_distance(uniform))
    assert 1 / n == pytest.approx(analysis.sink(uniform)[1]) == pytest.approx(analysis.sink(one_hot)[1])


def test_first_token_as_sink():
    """All rows on key 0: it is the sink with share 1, and its distance is the mean way to it."""
    weights = np.zeros((2, 5, 7))
    weights[..., 0] = 0.5  # rows need not sum to 1
    key, share = analysis.sink(weights)
    assert ([0, 0], [1, 1]) == (key.tolist(), share.tolist())
    np.testing.assert_allclose(np.arange(5).mean() / 6, analysis.mean_distance(weights))


def test_masked_rows_do_not_count():
    """A row of zeros changes neither entropy nor distance; a map of zeros has neither, and no mass."""
    weights = np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 0]])
    assert 0.5 == analysis.entropy(weights)
    assert analysis.mean_distance(weights) == analysis.mean_distance(weights[:1])
    nothing = np.zeros((3, 4))
    assert np.isnan(analysis.entropy(nothing)) and np.isnan(analysis.mean_distance(nothing))
    assert (0, 0) == (analysis.sink(nothing)[1], analysis.padding_mass(nothing, ["[PAD]"] * 4))


def test_entropy_counts_only_valid_keys():
    """Even over three valid keys of five is 1, with one mask for all or one a map."""
    weights = np.array([[[1, 1, 1, 0, 0]], [[1, 0, 1, 0, 1]]]) / 3
    valid = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1]], bool)
    np.testing.assert_allclose([1, 1], analysis.entropy(weights, valid))
    assert 1 == pytest.approx(analysis.entropy(weights[0], valid[0]))


def test_distance_between_patches_is_that_of_the_grid():
    """In a grid of 3 × 5, from corner to corner is 1 and to the neighbour below is 1 / √20."""
    places = np.stack(np.unravel_index(np.arange(15), (3, 5)), axis=1)
    weights = np.zeros((2, 15, 15))
    weights[0, 0, 14] = 1
    weights[1, 2, 7] = 1
    expected = [1, 1 / np.sqrt(2**2 + 4**2)]
    np.testing.assert_allclose(expected, analysis.mean_distance(weights, places, places))


def test_padding_is_known_by_its_label():
    """The tokenizers' own labels, and none at all, but no word."""
    weights = np.array([[0.1, 0.2, 0.3, 0.4]])
    for label in ("", "[PAD]", "<pad>", "<|endoftext|>"):
        assert 0.6 == pytest.approx(analysis.padding_mass(weights, ["the", label, "cat", label]))
    assert 0 == analysis.padding_mass(weights, ["the", "pad", "cat", "sat"])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_small_floats_are_summed_in_large_ones(dtype):
    """4,099 keys of float16 still have an entropy of 1."""
    weights = np.full((1, 4099), 1 / 4099, dtype)
    assert 1 == pytest.approx(analysis.entropy(weights), abs=1e-6)
