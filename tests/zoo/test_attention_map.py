import zipfile

import numpy as np
import pytest

from tb_plugin import record
from zoo import AttentionMap, Axis
from zoo.attention_map import AXIS_KINDS
from zoo.errors import InputError


def softmax_map(*shape, **about):
    weights = np.random.default_rng(0).dirichlet(np.ones(shape[-1]), shape[:-1]).astype("float32")
    return AttentionMap(weights, **about)


def test_kinds_are_those_of_the_record():
    """A map of any kind of axis can be written to the event file."""
    assert record.AXIS_KINDS == AXIS_KINDS


def test_axes_count_positions_where_none_are_given():
    """An array alone is a map."""
    made = softmax_map(2, 3, 5, 7)
    assert (5, 7) == (made.queries.length, made.keys.length) == made.full
    assert made.keys.of_sample(1) is None


def test_labels_can_differ_by_sample():
    """Every sample has its own dates."""
    axis = Axis("time", 2, labels=[["a", "b"], ["c", "d"]])
    assert ("c", "d") == axis.of_sample(1)
    assert ("a", "b") == Axis("time", 2, labels=["a", "b"]).of_sample(1)


def test_pooling_keeps_rows_summing_to_one():
    """Mean over queries and sum over keys, in bins as even as can be."""
    made = softmax_map(2, 3, 11, 13, keys=Axis("token", 13, labels=[str(i) for i in range(13)]))
    pooled = made.pooled(5, 7)
    assert (2, 3, 5, 7) == pooled.weights.shape
    assert (11, 13) == pooled.full
    np.testing.assert_allclose(pooled.weights.sum(axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(
        pooled.weights[..., 0, 0], made.weights[:, :, :2, :1].sum(-1).mean(-1), atol=1e-6
    )
    assert ("0", "1", "3", "5", "7", "9", "11") == pooled.keys.labels


def test_pooling_to_more_than_there_is_changes_nothing():
    """A short map is kept as it is, labels and grid too."""
    made = softmax_map(1, 1, 4, 6, keys=Axis("patch", 6, grid=(2, 3)))
    pooled = made.pooled(512, 512)
    np.testing.assert_array_equal(made.weights, pooled.weights)
    assert (2, 3) == pooled.keys.grid


def test_saved_map_comes_back_whole(tmp_path):
    """Weights, both axes with labels and grid, layer and normalised survive the file."""
    queries = Axis("time", 3, labels=[["a", "b", "c"], ["d", "e", "f"]])
    made = softmax_map(
        2, 1, 3, 4, queries=queries, keys=Axis("patch", 4, grid=(2, 2)), layer="x/y", normalised=False
    )
    made.save(tmp_path / "map.npz")
    back = AttentionMap.load(tmp_path / "map.npz")
    np.testing.assert_array_equal(made.weights, back.weights)
    assert (made.queries, made.keys, "x/y", False, (3, 4)) == (
        back.queries,
        back.keys,
        back.layer,
        back.normalised,
        back.full,
    )


def test_a_notebook_shows_a_picture():
    """The first sample as a PNG."""
    assert b"\x89PNG" == softmax_map(2, 1, 3, 4)._repr_png_()[:4]


def test_loading_never_unpickles(tmp_path):
    """A file that holds a pickle is refused, not executed."""
    np.savez(tmp_path / "map.npz", weights=np.array([{"a": 1}], dtype=object), about=np.array("{}"))
    with pytest.raises(ValueError, match="pickle"):
        AttentionMap.load(tmp_path / "map.npz")


def damaged(path, content):
    """A file of a map, changed by `content` from its bytes."""
    softmax_map(1, 1, 2, 3).save(path)
    path.write_bytes(content(path.read_bytes()))


def claims_a_terabyte(path):
    """A small file whose weights say that they are large."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("weights.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1, 1, 500_000, 500_000)}
        np.lib.format.write_array_header_1_0(file, header)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: damaged(path, lambda whole: whole[:-50]), "is no whole attention map"),
        (lambda path: damaged(path, lambda whole: b"text"), "is no whole attention map"),
        (lambda path: np.savez(path, other=np.ones(3)), "weights.npy"),
        (claims_a_terabyte, "would unpack to 1,000,000,000,000 bytes"),
    ],
)
def test_a_damaged_or_hostile_file_is_one_sentence(write, words, tmp_path):
    """What is no map, or claims to be enormous, is refused before any room is made for it."""
    write(tmp_path / "map.npz")
    with pytest.raises(InputError, match=words) as error:
        AttentionMap.load(tmp_path / "map.npz")
    assert "map.npz" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: AttentionMap(np.ones((2, 3, 4))), r"\(batch, heads, queries, keys\).*found \(2, 3, 4\)"),
        (lambda: AttentionMap(np.ones((1, 1, 2, 3), int)), "floating-point numbers; found int64"),
        (lambda: softmax_map(1, 1, 2, 3, keys=Axis("step", 5)), "have 3 keys, their axis 5"),
        (
            lambda: softmax_map(2, 1, 2, 1, keys=Axis("step", 1, labels=[["a"]])),
            "2 samples want as many lists",
        ),
        (lambda: softmax_map(1, 1, 2, 3).pooled(0, 3), "at least 1 × 1; found 0 × 3"),
        (lambda: Axis("days", 3), "kind='days'"),
        (lambda: Axis("token", 3, labels=["a", "b"]), "length 3 wants 3 text labels, found 2"),
        (lambda: Axis("time", "3"), "a whole number of positions, 1 or more; found '3'"),
        (lambda: Axis("patch", 49, grid=(-7, -7)), "whole numbers of 1 or more; found"),
        (lambda: Axis("patch", 7, grid=7), "A grid is"),
        (lambda: Axis("time", 1, labels=np.array(["2018-01-02"], "M8[D]")), "of dates: dates.astype"),
        (lambda: softmax_map(1, 1, 2, 3, keys=["a", "b", "c"]), "`keys` is a zoo.Axis.*found list"),
        (lambda: Axis("patch", 5, grid=(2, 3)), "has 6 cells, not 5"),
        (lambda: Axis("patch", 15, grid=(2, 3)), "has 6 cells, not 15, nor up to 8 fewer"),
    ],
)
def test_bad_maps_are_refused_in_a_sentence(make, sentence):
    """Each message says what was found and what is wanted."""
    with pytest.raises(ValueError, match=sentence):
        make()


def test_axes_of_the_full_map_are_pooled_with_it():
    """A pooled map takes the axes of what it was, and labels its bins by their first positions."""
    low = AttentionMap(np.full((2, 1, 7, 5), 0.2)).pooled(3, 2)
    dates, words = [f"day {i}" for i in range(7)], [[f"{sample}{i}" for i in range(5)] for sample in "ab"]
    named = low.with_axes(Axis("time", 7, dates), Axis("token", 5, words))
    assert ("day 0", "day 2", "day 4") == named.queries.labels
    assert (("a0", "a2"), ("b0", "b2")) == named.keys.labels
    assert ((7, 5), "time") == (named.full, named.queries.kind)
    with pytest.raises(ValueError, match="have 3 queries, their axis 4"):
        low.with_axes(Axis("time", 4))


def test_tensors_of_pytorch_are_taken_as_they_are():
    """On a graph, and in bfloat16, which NumPy does not know."""
    torch = pytest.importorskip("torch")
    weights = torch.softmax(torch.randn(1, 2, 3, 5, requires_grad=True), dim=-1)
    np.testing.assert_array_equal(weights.detach().numpy(), AttentionMap(weights).weights)
    half = weights.to(torch.bfloat16)
    np.testing.assert_array_equal(half.detach().float().numpy(), AttentionMap(half).weights)
