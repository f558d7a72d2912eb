"""The Time view in a real Chromium, over records of `zoo.summary`. Judge: NumPy on the same weights."""

import numpy as np
import pytest
from playwright.sync_api import expect

import zoo
from zoo import AttentionMap, Axis

RNG = np.random.default_rng(7)
HORIZON, WINDOW = 7, 53
DAYS = [str(np.datetime64("2018-01-01") + i) for i in range(WINDOW + HORIZON)]
HOURS = [str(np.datetime64("2018-03-01T00:00") + np.timedelta64(30 * i, "m")) for i in range(101)]
BUSINESS = [str(day) for day in np.busday_offset("2018-01-01", np.arange(23), roll="forward")]
ROWS, COLUMNS, EACH = 3, 11, 5  # patches, and values of the series to a column
HOSTILE = "<img src=x onerror=document.title='hacked'>"


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)).astype("float32")


LAGS = np.arange(WINDOW, WINDOW + HORIZON)[:, None] - np.arange(WINDOW)
PERIOD = 2 * np.cos(2 * np.pi * LAGS / 13) - LAGS / 40
FORECAST = softmax(PERIOD + RNG.normal(0, 0.1, (1, 2, HORIZON, WINDOW)))
SELF = np.arange(101)[:, None] - np.arange(101)
CAUSAL = softmax(
    np.where(SELF < 0, -np.inf, 1.5 * np.cos(2 * np.pi * SELF / 24)) + RNG.normal(0, 0.1, (1, 1, 101, 101))
)
BOTH = softmax(RNG.normal(0, 1, (1, 1, 23, 23)))
PATCHES = softmax(RNG.normal(0, 1, (1, 2, 1 + ROWS * COLUMNS, 1 + ROWS * COLUMNS)))  # a class token first


def profile(weights, lags):
    """Mean over all pairs at each lag of weight × keys that the row may attend to."""
    allowed = weights > 0
    shares = weights * allowed.sum(axis=-1, keepdims=True)
    return {int(lag): float(shares[allowed & (lags == lag)].mean()) for lag in np.unique(lags[allowed])}


@pytest.fixture(scope="module")
def address(tmp_path_factory, start_tensorboard):
    """A TensorBoard over a forecaster, two self-attentions, and patches of a picture of a series."""
    logs = tmp_path_factory.mktemp("logs")

    def write(name, weights, queries, keys, **beside):
        seen = AttentionMap(weights, queries, keys)
        zoo.summary.attention(name, {"layer": seen}, 0, logdir=logs / name, exact=True, **beside)
        zoo.summary.close(logs / name)

    write(
        "forecast",
        FORECAST,
        Axis("time", HORIZON, DAYS[WINDOW:]),
        Axis("time", WINDOW, DAYS[:WINDOW]),
        series={"price": RNG.normal(100, 5, (1, WINDOW)), HOSTILE: RNG.normal(0, 0.1, (1, WINDOW))},
        forecast=RNG.normal(100, 5, (1, HORIZON)),
    )
    hours = Axis("time", 101, HOURS)
    write("causal", CAUSAL, hours, hours, series={"MW": RNG.normal(0, 1, (1, 101))})
    business = Axis("time", 23, BUSINESS)
    write("business", BOTH, business, business, series={"price": RNG.normal(0, 1, (1, 23))})
    patches = Axis("patch", 1 + ROWS * COLUMNS, grid=(ROWS, COLUMNS))
    pictures = RNG.random((1, 3 * ROWS, EACH * COLUMNS))
    values = RNG.normal(0, 1, (1, EACH * COLUMNS))
    write("vitime", PATCHES, patches, patches, series={"price": values}, pictures=pictures)
    with start_tensorboard(logs) as url:
        yield url


@pytest.fixture
def open_time(open_tab, address):
    """Opens the Time view of a run."""

    def open_(run):
        tab = open_tab(f"{address}/#attention&p.attention.run={run}/attention&p.attention.view=time")
        expect(tab.find(".lag .bars")).to_be_visible()
        return tab

    return open_


def read_profile(tab, first, count):
    """The profile, lag by lag, as the page tells it under the pointer."""
    bars = tab.find(".lag svg").bounding_box()
    left = float(tab.find(".lag line.even").get_attribute("x1"))
    width = (bars["width"] - left) / count
    tab.find(".lag").scroll_into_view_if_needed()
    box = tab.find(".lag svg").bounding_box()
    found = {}
    for index in range(count):
        tab.page.mouse.move(box["x"] + box["width"] - (index + 0.5) * width, box["y"] + 80)
        if (lag := tab.find(".lag").get_attribute("data-lag")) is not None:
            found[int(lag)] = float(tab.find(".lag").get_attribute("data-value"))
    assert first == min(found)
    return found


def test_the_lag_profile_of_a_forecast_is_the_mean_over_its_pairs(open_time):
    """Each lag's bar is the mean of weight × keys over all days that reach so far, as NumPy has it."""
    tab = open_time("forecast")
    expected = profile(FORECAST[0].mean(axis=0), LAGS)
    assert expected == pytest.approx(read_profile(tab, 1, WINDOW + HORIZON - 1), rel=1e-5)
    expect(tab.find("#lag-about")).to_contain_text("1 pair")


def test_the_strongest_lags_are_marked_in_the_unit_of_the_dates(open_time):
    """Attention with a period of 13 days has its marks at 13, 26 and 39 days, and says so."""
    tab = open_time("forecast")
    assert "13,26,39" == tab.find(".lag").get_attribute("data-strongest")
    assert ["13 days", "26 days", "39 days"] == tab.find(".lag text.peak").all_text_contents()
    expect(tab.find("#lag-about")).to_contain_text("mean of all rows")


def test_the_profile_follows_the_row_under_the_pointer(open_time):
    """With the pointer on a row, the bars are that row's own, and its marks may be others."""
    tab = open_time("forecast")
    tab.hover(3, 20, HORIZON, WINDOW + HORIZON)
    expect(tab.find("#lag-about")).to_contain_text(f"row {DAYS[WINDOW + 3]}")
    row = WINDOW * FORECAST[0].mean(axis=0)[3]
    inner = 1 + np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] > row[2:]) & (row[1:-1] > 1))
    best = sorted(inner, key=lambda key: -row[key])[:3]
    shown = list(map(int, tab.find(".lag").get_attribute("data-strongest").split(",")))
    assert [WINDOW + 3 - int(key) for key in best] == shown


def test_rows_that_see_only_the_past_count_the_keys_they_see(open_time):
    """In causal attention a row's even share is one of its own past; half hours are told in hours."""
    tab = open_time("causal")
    found = read_profile(tab, 0, 101)
    assert profile(CAUSAL[0, 0], SELF) == pytest.approx(found, rel=1e-5)
    marks = list(map(int, tab.find(".lag").get_attribute("data-strongest").split(",")))
    assert 24 in marks
    assert "12 hours" in tab.find(".lag text.peak").all_text_contents()


def test_days_that_are_not_evenly_apart_are_steps(open_time):
    """Business days skip weekends: a lag of 5 is 5 steps, and lags ahead are named as such."""
    tab = open_time("business")
    assert profile(BOTH[0, 0], SELF[:23, :23]) == pytest.approx(read_profile(tab, -22, 45), rel=1e-5)
    names = tab.find(".lag text.peak").all_text_contents()
    assert names and all("step" in name for name in names)
    strongest = map(int, tab.find(".lag").get_attribute("data-strongest").split(","))
    assert [lag < 0 for lag in strongest] == [name.endswith("ahead") for name in names]


def test_another_input_is_drawn_when_chosen(open_time, open_tab):
    """The select names every input; the chosen one is drawn alone on its own axis, and is in the address."""
    tab = open_time("forecast")
    assert ["price", HOSTILE] == tab.find("#series option").all_text_contents()
    assert 1 == tab.find(".series .chart .series-forecast").count()
    tab.find("#series").select_option(HOSTILE)
    expect(tab.find(".legend li").first).to_have_text(HOSTILE)
    assert 0 == tab.find(".series .chart .series-forecast").count()
    other = open_tab(tab.page.url)
    expect(other.find(".legend li").first).to_have_text(HOSTILE)
    assert 0 == other.find("img").count()


def test_patches_of_a_picture_of_a_series_are_folded_to_time(open_time):
    """Keys above each other are summed, queries averaged, the class token left out; lags are in steps."""
    tab = open_time("vitime")
    grid = PATCHES[0].mean(axis=0)[1:, 1:].reshape(ROWS, COLUMNS, ROWS, COLUMNS)
    folded = grid.sum(axis=2).mean(axis=0)
    expect(tab.find("#notes")).to_contain_text("What goes to class tokens is left out.")
    tab.find(".lag").scroll_into_view_if_needed()
    for query, key in ((4, 7), (10, 0)):
        tab.hover(query, key, COLUMNS, COLUMNS)
        value, query_name, key_name = tab.read()
        assert folded[query, key] == pytest.approx(value, rel=1e-5)
        assert f"{EACH * query} – {EACH * query + EACH - 1}" == query_name
        assert f"{EACH * key} – {EACH * key + EACH - 1}" == key_name
    assert COLUMNS == tab.find(".series .attended rect").count()
    tab.page.mouse.move(0, 0)
    expected = profile(folded / folded.sum(axis=1, keepdims=True), SELF[:COLUMNS, :COLUMNS])
    assert expected == pytest.approx(read_profile(tab, 1 - COLUMNS, 2 * COLUMNS - 1), rel=1e-5)
    names = tab.find(".lag text.peak").all_text_contents()
    assert all(int(name.split()[0]) % EACH == 0 for name in names)
    tab.find("[data-view=image]").click()
    expect(tab.find("#picture")).to_be_visible()


def test_the_view_is_accessible(open_time):
    """axe-core finds nothing to complain of, in light and in dark."""
    tab = open_time("forecast")
    for dark in (False, True):
        tab.darken(dark)
        assert [] == tab.violations()
