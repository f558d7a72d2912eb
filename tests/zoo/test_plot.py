"""Figures and the page of their own; judges: NumPy loops over the weights, and `tb_plugin.record`."""

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
from matplotlib import image

import zoo
from tb_plugin.record import decode_header, decode_map
from zoo import plot

SAMPLES, HEADS, QUERIES, KEYS = 2, 3, 5, 7
DAYS = [str(np.datetime64("2018-03-01") + day) for day in range(KEYS + QUERIES)]
WEIGHTS = np.random.default_rng(3).dirichlet(np.ones(KEYS), (SAMPLES, HEADS, QUERIES)).astype("float32")
FORECASTER = zoo.AttentionMap(
    WEIGHTS, zoo.Axis("time", QUERIES, DAYS[KEYS:]), zoo.Axis("time", KEYS, DAYS[:KEYS]), layer="decoder"
)
WORDS = zoo.Axis("token", KEYS, ["the", "cat", "the", "$x_1$", "##t", "", "."])
SQUARE = np.random.default_rng(5).dirichlet(np.ones(KEYS), (1, HEADS, KEYS)).astype("float32")
SENTENCE = zoo.AttentionMap(SQUARE, WORDS, WORDS, layer="encoder")


def drawn(figure):
    """The figure as pixels, which proves that it can be drawn."""
    pixels = image.imread(io.BytesIO(plot.png(figure)))
    assert pixels.std() > 0
    return pixels


def profile(figure):
    """Lags and shares of a lag profile."""
    lags, shares = figure.axes[0].lines[0].get_data()
    return dict(zip(lags.tolist(), shares.tolist(), strict=True))


@pytest.mark.parametrize(("head", "wanted"), [(None, WEIGHTS[1].mean(axis=0)), (2, WEIGHTS[1, 2])])
def test_heatmap_holds_the_weights(head, wanted):
    """One head, or the mean of all."""
    figure = plot.heatmap(FORECASTER, sample=1, head=head)
    np.testing.assert_array_equal(wanted, figure.axes[0].images[0].get_array())
    drawn(figure)


def test_heads_share_one_scale():
    """Every head is there, and one colour is one weight in all."""
    figure = plot.heads(FORECASTER, sample=1)
    pictures = [axes.images[0] for axes in figure.axes[:HEADS]]
    np.testing.assert_array_equal(WEIGHTS[1], [picture.get_array() for picture in pictures])
    assert {(0, WEIGHTS[1].max())} == {picture.get_clim() for picture in pictures}
    drawn(figure)


def test_five_heads_leave_no_empty_axes_on_the_figure():
    """A last row that is not full shows no frame without a map."""
    many = zoo.AttentionMap(np.full((1, 5, 2, 3), 1 / 3))
    figure = plot.heads(many)
    assert 5 == sum(axes.get_visible() and bool(axes.images) for axes in figure.axes)
    assert 5 + 1 == sum(axes.get_visible() for axes in figure.axes)  # and the colours
    drawn(figure)


def test_lag_profile_of_a_forecast_counts_from_the_day_ahead():
    """Queries follow the keys; each lag is divided by what an even share of its own rows would be."""
    weights = WEIGHTS[0].mean(axis=0).astype("float64")
    wanted = {}
    for lag in range(1, KEYS + QUERIES):
        pairs = [(i, KEYS + i - lag) for i in range(QUERIES) if 0 <= KEYS + i - lag < KEYS]
        wanted[lag] = sum(weights[i, j] for i, j in pairs) / sum(weights[i].mean() for i, _ in pairs)
    figure = plot.lag_profile(FORECASTER)
    assert wanted == pytest.approx(profile(figure), rel=1e-5)
    drawn(figure)


def test_lag_profile_of_an_even_map_is_one_everywhere():
    """Far lags have fewer pairs, and that alone does not make them weak."""
    even = zoo.AttentionMap(np.full((1, 1, 11, 11), 1 / 11))
    assert dict.fromkeys(range(-10, 11), pytest.approx(1)) == profile(plot.lag_profile(even))


def test_lag_profile_finds_a_week():
    """A map that looks seven days back has one peak, and it is named."""
    weights = np.eye(29, k=-7)[None, None]
    figure = plot.lag_profile(zoo.AttentionMap(weights))
    found = profile(figure)
    assert 7 == max(found, key=found.get)
    assert "7" in [note.get_text() for note in figure.axes[0].texts]


def test_lag_profile_places_queries_by_their_dates():
    """Queries on the last days of the keys stand there, not after them."""
    keys = zoo.Axis("time", KEYS, DAYS[:KEYS])
    last = zoo.AttentionMap(np.eye(KEYS)[None, None, -3:], zoo.Axis("time", 3, DAYS[KEYS - 3 : KEYS]), keys)
    found = {lag: share for lag, share in profile(plot.lag_profile(last)).items() if share > 0}
    assert {0: pytest.approx(KEYS)} == found


def test_lag_profile_takes_repeated_words_by_position():
    """The same word twice is two positions."""
    diagonal = zoo.AttentionMap(np.eye(KEYS)[None, None], WORDS, WORDS)
    found = {lag: share for lag, share in profile(plot.lag_profile(diagonal)).items() if share > 0}
    assert {0: pytest.approx(KEYS)} == found


@pytest.mark.parametrize("shape", [(14, 21), (14, 21, 3), (40, 11, 1)])
def test_overlay_lays_the_patches_over_the_picture(shape):
    """The map covers the picture from edge to edge, and shows the weights of the query."""
    patches = zoo.Axis("patch", 7, grid=(2, 3))
    weights = np.random.default_rng(7).dirichlet(np.ones(7), (1, 1, 7))
    seen = zoo.AttentionMap(weights, patches, patches)
    pixels = np.random.default_rng(1).integers(0, 256, shape)
    assert not plot.overlay(seen, pixels, query=0).axes[0].patches  # the class token is no place
    figure = plot.overlay(seen, pixels, query=5)
    picture, over = figure.axes[0].images
    np.testing.assert_array_equal(weights[0, 0, 5, 1:].reshape(2, 3), over.get_array())
    assert picture.get_extent() == over.get_extent()
    assert 0 <= picture.get_array().min() and picture.get_array().max() <= 1
    assert (shape[1] / 3, shape[0] / 2) == figure.axes[0].patches[0].get_xy()  # row 1, column 1
    drawn(figure)


def test_overlay_without_a_grid_says_what_to_type():
    """A map that is not over patches is refused in one sentence."""
    with pytest.raises(ValueError, match=r'found token: give the map keys=zoo.Axis\("patch", 7, grid='):
        plot.overlay(SENTENCE, np.zeros((8, 8)))
    patches = zoo.AttentionMap(np.ones((1, 1, 1, 1)), keys=zoo.Axis("patch", 1, grid=(1, 1)))
    with pytest.raises(ValueError, match=r"\(rows, columns, 3\); found \(8, 8, 4\)"):
        plot.overlay(patches, np.zeros((8, 8, 4)))


def test_text_is_darkest_where_most_is_attended_to():
    """The words stand in their order, each on a ground as dark as its weight."""
    figure = plot.text(SENTENCE, query=1, head=2)
    words = figure.axes[0].texts
    assert list(WORDS.labels) == [word.get_text() for word in words]
    light = [sum(word.get_bbox_patch().get_facecolor()[:3]) for word in words]
    assert np.argsort(light).tolist() == np.argsort(-SQUARE[0, 2, 1]).tolist()
    drawn(figure)


def test_long_text_is_broken_into_lines_inside_the_figure():
    """No word leaves the figure, and none stands on another."""
    words = [f"word{index}" * (1 + index % 3) for index in range(101)]
    axis = zoo.Axis("token", 101, words)
    figure = plot.text(zoo.AttentionMap(np.full((1, 1, 101, 101), 1 / 101), axis, axis), query=0)
    drawn(figure)
    boxes = [word.get_window_extent() for word in figure.axes[0].texts]
    assert max(box.x1 for box in boxes) <= figure.bbox.x1 and min(box.x0 for box in boxes) >= 0
    for one, other in itertools.pairwise(boxes):
        assert one.x1 < other.x0 or other.y1 < one.y0


def test_bipartite_draws_a_line_for_each_weight_that_is_seen():
    """Weights above a fiftieth of the largest, each as opaque as its share of it."""
    figure = plot.bipartite(SENTENCE, head=1)
    share = SQUARE[0, 1] / SQUARE[0, 1].max()
    lines = figure.axes[0].collections[0]
    assert (share > 0.02).sum() == len(lines.get_segments())
    np.testing.assert_allclose(share[share > 0.02], lines.get_alpha())
    starts = [round(start[1] - 0.5) for start, _ in lines.get_segments()]
    assert np.argwhere(share > 0.02)[:, 0].tolist() == starts
    drawn(figure)


@pytest.mark.parametrize("draw", [plot.heatmap, plot.heads, plot.lag_profile, plot.bipartite, plot.text])
def test_no_label_is_read_as_mathematics(draw):
    r"""A `$` in a token or a layer is a dollar, where matplotlib would stop at a `$\frac$`."""
    dollars = zoo.Axis("token", 3, [r"$\frac$", "$", "$x$"])
    figure_of = zoo.AttentionMap(np.full((1, 2, 3, 3), 1 / 3), dollars, dollars, layer=r"$\frac$")
    drawn(draw(figure_of, query=1) if draw is plot.text else draw(figure_of))


@pytest.mark.parametrize("draw", [plot.heatmap, plot.heads, plot.lag_profile, plot.bipartite])
def test_a_map_of_zeros_is_drawn(draw):
    """Where everything is masked, a picture says so without an error or a warning."""
    drawn(draw(zoo.AttentionMap(np.zeros((1, 1, 3, 5)))))


def test_html_holds_the_records_of_the_summary(tmp_path):
    """Every sample and head, and what the model was shown, as `zoo.summary` would write them."""
    path = tmp_path / "new" / "week.html"
    plot.html({"decoder": FORECASTER}, path, series={"price": np.ones((SAMPLES, KEYS))}, titles=["a", "b"])
    text = path.read_text("utf-8")
    found = json.loads(re.search(r'id="attention-records">(.*?)</script>', text, re.DOTALL)[1])["runs"][
        "week"
    ]
    [record] = found["attention/attention/decoder"]
    parts = [base64.b64decode(part) for part in record["parts"]]
    header = decode_header(parts[0])
    maps = [[decode_map(header, parts, i, j) for j in range(HEADS)] for i in range(SAMPLES)]
    assert np.abs(WEIGHTS - maps).max() <= WEIGHTS.max() / 255
    inputs = decode_header(base64.b64decode(found["attention/attention/__inputs__"][0]["parts"][0]))
    assert ["a", "b"] == [sample["label"] for sample in inputs["samples"]]


def test_html_is_the_same_file_twice(tmp_path):
    """The same maps give the same bytes."""
    for name in ("one", "two"):
        plot.html(FORECASTER, tmp_path / name / "map.html")
    assert (tmp_path / "one" / "map.html").read_bytes() == (tmp_path / "two" / "map.html").read_bytes()


def test_html_of_wrong_lengths_writes_nothing(tmp_path):
    """The sentence is that of `zoo.summary.attention`, and there is no half of a file."""
    with pytest.raises(ValueError, match=r"'price' wants the shape \(2, 7\), found \(2, 3\)"):
        plot.html(FORECASTER, tmp_path / "map.html", series={"price": np.ones((SAMPLES, 3))})
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("draw", [plot.heatmap, plot.heads, plot.bipartite])
def test_a_sample_that_is_not_there_is_said(draw):
    """Counted from 0, and how many there are."""
    with pytest.raises(ValueError, match="`sample` counts from 0, and there are 1; found 3"):
        draw(SENTENCE, sample=3)
    with pytest.raises(ValueError, match="`query` counts from 0"):
        plot.text(SENTENCE, query=99)
