"""Charts as inline SVG that takes its colours from the page, so that one file suits light, dark and paper.

Matplotlib draws every colour as a stand-in hex value; the finished SVG has each stand-in replaced by a CSS expression
such as `var(--s0)`. Text stays text in the page's own font. No text from outside enters an SVG.
"""

from __future__ import annotations

import io
import re

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

INK, GRID, MARK = "#010000", "#020000", "#030000"
PAGE_COLOURS = {INK: "var(--quiet)", GRID: "var(--grid)", MARK: "var(--ink)"}
SERIES_COLOURS = 8  # --s0 .. --s7 in the page; from the ninth line on the dash pattern tells them apart
DASHES = ("", "5 2", "1.5 1.5", "6 2 1.5 2")
MOST_POINTS = 300  # more than a screen shows; keeps a run of thousands of epochs below a megabyte


def series_style(i: int) -> tuple[str, str]:
    """CSS colour and SVG dash pattern of line i."""
    return f"var(--s{i % SERIES_COLOURS})", DASHES[i // SERIES_COLOURS % len(DASHES)]


def thin(count: int, most: int = MOST_POINTS) -> np.ndarray:
    """Indices of at most `most` of `count` points, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def lines(
    name: str, x, series, unit: str, *, log: bool = False, percent: bool = False, mark: tuple | None = None
) -> Markup:
    """A line chart over epochs.

    Args:
        name: unlike any other chart's on the page; ids are made from it.
        x: epoch numbers [E].
        series: rows of values [E]; NaN leaves a gap.
        unit: the y axis label.
        log: logarithmic y axis where the values spread over more than a factor of three; what is not above zero is
            then drawn on the lower edge.
        percent: linear y axis from 0 to 100.
        mark: (epoch, value) to point out, with a ring and a dashed vertical line.
    """
    series = [np.asarray(row, dtype=float) for row in series]
    series = [np.where(np.isfinite(row), row, np.nan) for row in series]
    values = np.concatenate(series)
    positive = values[values > 0]
    log = log and positive.size > 0 and positive.max() > 3 * positive.min()
    figure, axes = _axes(4.8, 2.9, unit)
    if log:
        has_zero = bool((values <= 0).any())
        floor = positive.min() / (2 if has_zero else 1.15)
        series = [np.where(row <= 0, floor, row) for row in series]
        axes.set_yscale("log")
        axes.set_ylim(floor, positive.max() * 1.25)
        decades = np.log10(positive.max() / floor)
        subs = (1, 2, 5) if decades < 2.3 else (1, 3) if decades < 3.3 else (1,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    elif percent:
        axes.set_ylim(0, 100)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
        if positive.size and not (values < 0).any():
            axes.set_ylim(0, positive.max() * 1.08)
    x = np.asarray(x)
    keep = thin(len(x))
    if mark is not None:
        epoch, value = mark
        keep = np.union1d(keep, np.flatnonzero(x == epoch))
        value = floor if log and value <= 0 else value
        axes.axvline(epoch, color=MARK, linewidth=0.8, dashes=(3, 3))
        axes.plot(epoch, value, "o", color=MARK, markersize=6.5, markerfacecolor="none", clip_on=False, zorder=5)
    colours = {}
    for i, row in enumerate(series):
        colour, dash = series_style(i)
        standin = f"#0400{i:02x}"
        colours[standin] = colour
        style = (0, tuple(map(float, dash.split()))) if dash else "-"
        marker = "o" if np.isfinite(row).sum() < 2 else None  # a single point has no line to show
        axes.plot(x[keep], row[keep], color=standin, linewidth=1.6, linestyle=style, marker=marker)
    _epochs(axes, x)
    return _svg(name, figure, colours)


def areas(name: str, x, shares, colours: list[str]) -> Markup:
    """A small stacked area chart: shares [E, S] in 0..1 over epochs x [E], one CSS colour a column."""
    keep = thin(len(x), 100)
    figure, axes = _axes(2.1, 1.5, "% of weights", left=0.36)
    standins = {f"#0500{i:02x}": colour for i, colour in enumerate(colours)}
    stack = 100 * np.asarray(shares, dtype=float)[keep].T
    axes.stackplot(np.asarray(x)[keep], stack, colors=list(standins), linewidth=0)
    axes.grid(False)
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 50, 100])
    _epochs(axes, x, ticks=3)
    return _svg(name, figure, standins)


def _axes(width: float, height: float, unit: str, left: float = 0.52):
    figure = Figure(figsize=(width, height))
    right, bottom, top = 0.14, 0.46, 0.3  # inches, the same for every chart, so that axes line up
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, pad=4)
    axes.tick_params(axis="x", length=3)
    figure.text(0.012, 1 - 0.06 / height, unit, color=INK, va="top")  # upright: read without tilting the head
    return figure, axes


def _epochs(axes, x, ticks: int = 7) -> None:
    axes.set_xlabel("epoch", color=INK, labelpad=2)
    if len(x) == 1:
        axes.set_xticks(x)
        return
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.set_xlim(x[0], x[-1])


def _tick(value: float, _=None) -> str:
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _svg(name: str, figure: Figure, colours: dict[str, str]) -> Markup:
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10}):
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| width="[\d.]+pt"| height="[\d.]+pt"|(?<=<g) id="[\w.]+"', "", svg)
    svg = re.sub(r"font-family: [^;]*; ", "", svg)
    for standin, css in {**PAGE_COLOURS, **colours}.items():
        svg = svg.replace(standin, css)
    return Markup(re.sub(r"\n\s*", "\n", svg))
