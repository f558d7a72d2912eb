"""The pictures of `python -m data explore`: each shows a series before and after it is processed."""

from statistics import NormalDist

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from data.statistics import autocorrelation, drawdown, mean_by, moments, rows_per_year
from data.summary import Explored
from zoo.preprocess import missing_days, outlier_band, volatility

INK, QUIET, GRID = "#22303c", "#66757f", "#e3e8ec"
RAW, PROCESSED, ALARM, WARM = "#8795a1", "#1769aa", "#c8372d", "#e08a1e"
STYLE = {
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#b8c2cc",
    "axes.labelcolor": QUIET,
    "axes.labelsize": 9,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.0,
}
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.4g}%")
WIDE = 4  # times the lowest price: from here on a linear axis would flatten the early years


def trend(explored: Explored) -> Figure:
    """The price as loaded, with its gaps, and filled, with moving averages."""
    figure, (above, below) = _figure(explored, "Trend", 2, 1, sharex=True)
    raw, filled = explored.raw, explored.filled
    above.plot(raw.index, raw, color=RAW)
    above.set_title("Raw: the price as loaded")
    for dates, height, color, what in (
        (missing_days(raw.index), 0.03, WARM, "weekday without a row"),
        (raw.index[raw.isna()], 0.06, ALARM, "price missing"),
    ):
        if len(dates):
            label = f"{what} ({len(dates):,})"
            above.vlines(dates, 0, height, color, lw=0.6, transform=above.get_xaxis_transform(), label=label)
    _legend(above)
    below.plot(filled.index, filled, color=RAW, lw=0.7, label="price, filled")
    for days, color in ((50, WARM), (200, PROCESSED)):
        below.plot(
            filled.index, filled.rolling(days).mean(), color=color, lw=1.3, label=f"mean of {days} days"
        )
    below.set_title("Processed: missing prices filled with the last known")
    _legend(below)
    for axes in (above, below):
        axes.set_ylabel("price")
        if _is_wide(filled):
            _log_prices(axes)
            axes.set_ylabel("price (log scale)")
    _dates(below)
    return figure


def seasonality(explored: Explored) -> Figure:
    """By month and weekday: prices against their year or week, and mean log returns with standard errors."""
    figure, grid = _figure(explored, "Seasonality", 2, 2)
    filled, returns = explored.filled, explored.returns
    dates = filled.index
    around_year = filled / filled.groupby(dates.year).transform("mean") - 1
    weeks = dates.to_period("W").astype(str)
    around_week = filled / filled.groupby(weeks).transform("mean") - 1
    panels = (
        (grid[0, 0], around_year, dates.month, "Raw: price against the mean of its year", RAW),
        (grid[0, 1], around_week, dates.day_of_week, "Raw: price against the mean of its week", RAW),
        (grid[1, 0], returns, returns.index.month, "Processed: mean log return by month", PROCESSED),
        (grid[1, 1], returns, returns.index.day_of_week, "Processed: mean log return by weekday", PROCESSED),
    )
    months = np.array(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])
    weekdays = np.array(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
    for axes, values, group, title, color in panels:
        means = mean_by(values, np.asarray(group))
        by_month = "year" in title or "month" in title
        names = months[means.index - 1] if by_month else weekdays[means.index]
        axes.bar(range(len(means)), means["mean"], width=0.7, color=color, alpha=0.85)
        if color == PROCESSED:  # neighbouring prices are no independent draws: no honest error for them
            axes.errorbar(
                range(len(means)),
                means["mean"],
                means["error"],
                fmt="none",
                ecolor=INK,
                elinewidth=1,
                capsize=2.5,
            )
        axes.axhline(0, color=INK, lw=0.8)
        axes.set_xticks(range(len(means)), names)
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_title(title)
        axes.set_ylabel("log return a day" if color == PROCESSED else "difference from the mean")
    figure.supxlabel(
        "Bars are means; whiskers reach one standard error to either side.", fontsize=8.5, color=QUIET
    )
    return figure


def distribution(explored: Explored) -> Figure:
    """Histograms beside a normal law, and normal quantile plots, of prices and of log returns."""
    figure, grid = _figure(explored, "Distribution", 2, 2)
    _histogram(grid[0, 0], explored.filled, RAW)
    grid[0, 0].set(title="Raw: prices", xlabel="price", ylabel="density")
    _quantiles(grid[0, 1], explored.filled, RAW)
    grid[0, 1].set_title("Raw: prices against a normal law")
    _histogram(grid[1, 0], explored.returns, PROCESSED)
    grid[1, 0].set(title="Processed: log returns", xlabel="log return of a day", ylabel="density (log scale)")
    grid[1, 0].set_yscale("log")
    found = moments(explored.returns)
    normal = NormalDist(found["mean"], found["deviation"])
    peak = normal.pdf(normal.mean)
    grid[1, 0].set_ylim(bottom=peak * 1e-4)
    grid[1, 0].xaxis.set_major_formatter(PERCENT)
    grid[1, 0].xaxis.set_major_locator(MaxNLocator(6))
    _quantiles(grid[1, 1], explored.returns, PROCESSED, explored.flags)
    grid[1, 1].set_title(
        f"Processed: skewness {found['skewness']:+.2f}, excess kurtosis {found['kurtosis']:+.1f}"
    )
    for axes in grid[:, 0]:
        axes.legend(loc="upper right")
    grid[1, 1].legend(loc="upper left")
    return figure


def correlation(explored: Explored) -> Figure:
    """Autocorrelation of prices, log returns, and squared log returns before and after treating outliers."""
    figure, panels = _figure(explored, "Autocorrelation", 4, 1, sharex=True)
    lags = min(63, len(explored.returns) // 2)
    for axes, values, title, color in (
        (panels[0], explored.filled, "Raw: prices (tomorrow is much like today)", RAW),
        (panels[1], explored.returns, "Processed: log returns", PROCESSED),
        (panels[2], explored.returns**2, "Processed: squared log returns (volatility clusters)", PROCESSED),
        (panels[3], explored.treated**2, "Processed: the same, outliers moved to their band", PROCESSED),
    ):
        found, band = autocorrelation(values, lags), 1.96 / np.sqrt(len(values))
        axes.axhspan(
            -band, band, color=WARM, alpha=0.25, lw=0, label=f"95 % band of white noise, ±{band:.3f}"
        )
        axes.bar(range(1, lags + 1), found, width=0.55, color=color)
        axes.axhline(0, color=INK, lw=0.8)
        axes.set(title=title, ylabel="correlation", xlim=(0.2, lags + 0.8))
        axes.set_ylim(min(found.min(), -band) * 1.25, max(found.max(), band) * 1.15)
        axes.grid(axis="x", visible=False)
    _legend(panels[1])
    panels[-1].set_xlabel("lag (days)")
    panels[-1].set_xticks([lag for lag in (1, 5, 10, 21, 42, 63) if lag <= lags])
    return figure


def anomalies(explored: Explored) -> Figure:
    """Flagged days on the price, log returns in their trailing band, volatility, and drawdown."""
    figure, (price, returns, moving, falls) = _figure(explored, "Anomalies", 4, 1, sharex=True)
    flagged = explored.flags.index[explored.flags]
    label = f"flagged ({len(flagged)})"
    price.plot(explored.raw.index, explored.raw, color=RAW)
    price.scatter(flagged, explored.filled[flagged], s=22, color=ALARM, zorder=3, label=label)
    price.set(title="Raw: price", ylabel="price")
    _legend(price)
    if _is_wide(explored.filled):
        _log_prices(price)
        price.set_ylabel("price (log scale)")

    lower, upper = outlier_band(explored.returns)
    returns.fill_between(
        lower.index, lower, upper, color=PROCESSED, alpha=0.12, lw=0, label="usual, from the past year"
    )
    returns.plot(explored.returns.index, explored.returns, color=PROCESSED, lw=0.5)
    returns.scatter(flagged, explored.returns[flagged], s=22, color=ALARM, zorder=3, label=label)
    returns.scatter(
        flagged,
        explored.treated[flagged],
        s=26,
        facecolor="white",
        edgecolor=ALARM,
        zorder=3,
        label="where treating moves it",
    )
    returns.set(title="Processed: log return of a day", ylabel="log return")
    _legend(returns)

    year = np.sqrt(rows_per_year(explored.filled.index))
    for values, color, name in (
        (explored.returns, ALARM, "as it was"),
        (explored.treated, PROCESSED, "outliers treated"),
    ):
        moving.plot(values.index, volatility(values) * year, color=color, lw=1.1, label=name)
    moving.set(title="Processed: volatility of the last 21 days", ylabel="deviation a year")
    _legend(moving)

    depth = drawdown(explored.filled)
    falls.fill_between(depth.index, depth, 0, color=ALARM, alpha=0.35, lw=0)
    falls.plot(depth.index, depth, color=ALARM, lw=0.7)
    lowest = f"{depth.min():.1%} on {depth.idxmin():%Y-%m-%d}"
    falls.set_title(lowest, loc="right", color=ALARM, fontsize=8.5)
    falls.set(title="Raw: drawdown from the highest price so far", ylabel="drawdown")
    for axes in (returns, moving, falls):
        axes.yaxis.set_major_formatter(PERCENT)
    _dates(falls)
    return figure


def draw(explored: Explored) -> dict[str, Figure]:
    """All five, by name."""
    with matplotlib.rc_context(STYLE):
        return {
            "trend": trend(explored),
            "seasonality": seasonality(explored),
            "distribution": distribution(explored),
            "autocorrelation": correlation(explored),
            "anomalies": anomalies(explored),
        }


def _figure(explored: Explored, topic: str, rows: int, columns: int, **shared) -> tuple[Figure, np.ndarray]:
    height = 2.2 * rows + 0.8 if rows > 2 else 7.0
    figure = Figure(figsize=(10, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.42 / height), h_pad=0.1, w_pad=0.1)
    top = 1 - 0.12 / height
    figure.text(0.012, top, f"{topic}: {explored.name}", fontsize=14, weight="bold", va="top")
    figure.text(0.988, top, explored.span, fontsize=9.5, ha="right", va="top", color=QUIET)
    return figure, figure.subplots(rows, columns, **shared)


def _legend(axes: Axes) -> None:
    """Above the axes, where it hides nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.005, 0.97), ncols=4, handlelength=1.4, columnspacing=1.4
        )


def _is_wide(prices: pd.Series) -> bool:
    return prices.max() > WIDE * prices.min()


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(maxticks=12)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.margins(x=0.01)


def _log_prices(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    # Within one decade the powers of ten would be one tick or two.
    axes.yaxis.set_major_locator(MaxNLocator(6) if high < 10 * low else LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda price, _: f"{price:,g}"))


def _histogram(axes: Axes, values: pd.Series, color: str) -> None:
    axes.hist(values, bins=80, density=True, color=color, alpha=0.85)
    found = moments(values)
    normal = NormalDist(found["mean"], found["deviation"])
    points = np.linspace(values.min(), values.max(), 400)
    axes.plot(points, [normal.pdf(point) for point in points], color=INK, lw=1.3, label="normal law")


def _quantiles(axes: Axes, values: pd.Series, color: str, flags: pd.Series | None = None) -> None:
    """Sorted values, standardised, against the quantiles of a normal law at (i - 0.5) / n."""
    ordered = ((values - values.mean()) / values.std()).sort_values()
    shares = (np.arange(len(ordered)) + 0.5) / len(ordered)
    normal = np.array([NormalDist().inv_cdf(share) for share in shares])
    axes.axline((0, 0), slope=1, color=INK, lw=1, label="normal law")
    axes.scatter(normal, ordered, s=7, color=color, lw=0, zorder=2)
    if flags is not None and flags.any():
        marked = flags[ordered.index].to_numpy()
        axes.scatter(normal[marked], ordered[marked], s=22, color=ALARM, zorder=3, label="flagged as outlier")
    axes.set(xlabel="normal quantile (deviations)", ylabel="found (deviations)")
