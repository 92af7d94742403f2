"""A study's JSON as one picture. Error bars run from the lowest seed to the highest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from gxnor.writing import replacing

# The light colours of the run's report.
SERIES = ("#2a6fd0", "#d9631e", "#13916b", "#8a4fc4", "#c28a00", "#cf3f74", "#0e8fa8", "#6b6a2a")
GRID, QUIET = "#e6e4de", "#62615c"


def draw(summary: dict, path: Path) -> None:
    """Writes the picture as PNG, whole or not at all; its metadata hold `fingerprint` of what it shows."""
    rows = [row for row in summary["rows"] if row["chosen"]]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    DRAWINGS[summary["study"]](figure, rows)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=QUIET)
    few, many = (pick(len(row["seeds"]) for row in rows) for pick in (min, max))
    seeds = f"{f'{few} to ' * (few < many)}{many} seed{'s' * (many > 1)}"
    figure.suptitle(f"{summary['title']}: {summary['data']}, {summary['form']} form, {seeds}", fontsize=11)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=110, metadata={"Software": None, "Source": fingerprint(summary)})


def fingerprint(summary: dict) -> str:
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()


def _accuracies(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Mean test accuracy in %, and how far the lowest and the highest seed lie from it."""
    mean = np.array([100 * row["test_mean"] for row in rows])
    ends = np.array([[100 * row["test_min"] for row in rows], [100 * row["test_max"] for row in rows]])
    return mean, np.abs(ends - mean)


def _bars(figure: Figure, rows: list[dict]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    names = [row["row"] for row in rows]
    mean, spread = _accuracies(rows)
    left.errorbar(mean, names, xerr=spread, fmt="o", color=SERIES[0], capsize=3)
    left.invert_yaxis()
    left.grid(axis="x", color=GRID)
    left.set(xlabel="test accuracy, %")
    right.barh(names, [row["train_state_bytes_per_weight"] for row in rows], color=SERIES[0])
    right.set(xlabel="training state, bytes per weight")
    right.bar_label(right.containers[0], fmt="%.2f", padding=3, fontsize=8)
    right.margins(x=0.15)


def _ingredients(figure: Figure, rows: list[dict]) -> None:
    axes = figure.subplots()
    mean, spread = _accuracies(rows)
    axes.axvline(mean[0], color=QUIET, linewidth=0.8, zorder=0)
    axes.errorbar(mean, [row["row"] for row in rows], xerr=spread, fmt="o", color=SERIES[0], capsize=3)
    axes.invert_yaxis()
    axes.grid(axis="x", color=GRID)
    axes.set(xlabel="test accuracy, %")


def _grid(axes, rows: list[dict], down: str, across: str, names: tuple[str, str]) -> None:
    """Accuracy as a table of coloured cells."""
    ys, xs = (sorted({row["at"][key] for row in rows}) for key in (down, across))
    cells = np.full((len(ys), len(xs)), np.nan)
    for row in rows:
        cells[ys.index(row["at"][down]), xs.index(row["at"][across])] = 100 * row["test_mean"]
    low = np.nanpercentile(cells, 10)
    axes.imshow(cells, cmap="Blues", origin="lower", aspect="auto", vmin=low - 2, vmax=np.nanmax(cells) + 1)
    for (i, j), value in np.ndenumerate(cells):
        if np.isfinite(value):
            axes.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=8,
                      color="white" if value > (low + np.nanmax(cells)) / 2 else "black")  # fmt: skip
    axes.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    axes.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    axes.set(ylabel=names[0], xlabel=names[1], title="test accuracy, %")


def _nonlinearity(figure: Figure, rows: list[dict]) -> None:
    left, right = figure.subplots(1, 2)
    _grid(left, rows, "m", "lr", ("m", "learning rate"))
    for i, m in enumerate(sorted({row["at"]["m"] for row in rows})):
        line = sorted((row for row in rows if row["at"]["m"] == m), key=lambda row: row["at"]["lr"])
        _line(right, [m * row["at"]["lr"] for row in line], line, f"m = {m:g}", i)
    right.set(xscale="log", xlabel="m x learning rate", title="test accuracy, %")
    right.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    right.legend(frameon=False, fontsize=8)


def _line(axes, x: list[float], rows: list[dict], label: str, colour: int) -> None:
    mean, spread = _accuracies(rows)
    axes.errorbar(x, mean, yerr=spread, fmt="o-", color=SERIES[colour], capsize=3, markersize=4, label=label)
    axes.grid(axis="y", color=GRID)


def _window(figure: Figure, rows: list[dict]) -> None:
    axes = figure.subplots()
    for i, window in enumerate(("rectangular", "triangular")):
        line = sorted((row for row in rows if row["at"]["window"] == window), key=lambda row: row["at"]["a"])
        _line(axes, [row["at"]["a"] for row in line], line, window, i)
    axes.set(xscale="log", xlabel="a, half-width of the window", ylabel="test accuracy, %")
    axes.xaxis.set_major_locator(FixedLocator(sorted({row["at"]["a"] for row in rows})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.legend(frameon=False)


def _sparsity(figure: Figure, rows: list[dict]) -> None:
    left, right = figure.subplots(1, 2)
    rows = sorted(rows, key=lambda row: row["at"]["r"])
    r = [row["at"]["r"] for row in rows]
    _line(left, r, rows, "", 0)
    left.set(xlabel="r, half-width of the zero state", title="test accuracy, %")
    counted = [row for row in rows if row.get("operations")]
    at = [row["at"]["r"] for row in counted]
    fired = [100 * row["operations"]["fired"] / row["operations"]["products"] for row in counted]
    zeros = [(x, 100 * row["operations"]["zero_activations"]) for x, row in zip(at, counted, strict=True)
             if row["operations"]["zero_activations"] is not None]  # fmt: skip
    right.plot(at, fired, "o-", color=SERIES[1], label="operations that fire")
    if zeros:
        right.plot(*zip(*zeros, strict=True), "o-", color=SERIES[2], label="activations at zero")
    right.set(xlabel="r", title="share, %", ylim=(0, 100))
    right.grid(axis="y", color=GRID)
    right.legend(frameon=False)


def _levels(figure: Figure, rows: list[dict]) -> None:
    _grid(figure.subplots(), rows, "N1", "N2", ("N1, weights", "N2, activations"))


def log_scale(axes, marks: tuple[float, ...] = (1, 2, 5)) -> None:
    """Marks a logarithmic y axis at these, times powers of ten, in plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_major_locator(LogLocator(subs=marks))
    axes.yaxis.set_minor_locator(NullLocator())


def _curves(figure: Figure, rows: list[dict]) -> None:
    left, right = figure.subplots(1, 2)
    for i, row in enumerate(rows):
        epochs = range(1, len(row["curves"]["train_loss"]) + 1)
        left.plot(epochs, row["curves"]["train_loss"], color=SERIES[i])
        errors = [100 * (1 - value) for value in row["curves"]["val_accuracy"]]
        right.plot(epochs, errors, color=SERIES[i], label=row["row"])
    log_scale(left)
    log_scale(right, marks=(1, 1.5, 2, 3, 5, 7))  # errors stay within a few times the smallest
    for axes, title in ((left, "training loss"), (right, "validation error, %")):
        axes.set(xlabel="epoch", title=title)
        axes.grid(axis="y", color=GRID)
    figure.legend(frameon=False, loc="outside lower center", ncols=3)


def _memory(figure: Figure, rows: list[dict]) -> None:
    axes = figure.subplots()
    mean, spread = _accuracies(rows)
    for i, row in enumerate(rows):
        x = row["train_state_bytes_per_weight"]
        axes.errorbar(x, mean[i], yerr=spread[:, i : i + 1], fmt="o", color=SERIES[i % len(SERIES)], capsize=3,
                      label=row["row"])  # fmt: skip
    axes.set(xscale="log", xlim=(0.2, 40), ylabel="test accuracy, %",
             xlabel="persistent bytes per weight while training: states and optimizer")  # fmt: skip
    axes.xaxis.set_major_locator(FixedLocator([0.25, 0.5, 1, 2, 4, 8, 16, 32]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(color=GRID)
    figure.legend(frameon=False, loc="outside right upper")  # points lie too close for labels of their own


DRAWINGS = {
    "table": _bars, "nonlinearity": _nonlinearity, "window": _window, "sparsity": _sparsity, "levels": _levels,
    "curves": _curves, "memory": _memory, "ingredients": _ingredients,
}  # fmt: skip
