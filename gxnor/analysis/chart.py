"""A picture of the event-driven view: how much of every layer fires, and what the operations cost. Needs matplotlib."""

from __future__ import annotations

import os
from pathlib import Path

from gxnor.analysis.energy import SOURCE, counterparts
from gxnor.analysis.events import Events
from gxnor.errors import GxnorError, install
from gxnor.writing import replacing

TYPES = ("png", "svg", "pdf")


def picture_type(path: str | os.PathLike) -> str:
    """What the path ends in. Raises GxnorError for another type than `TYPES`."""
    kind = Path(path).suffix[1:].lower()
    if kind not in TYPES:
        raise GxnorError(f"{path}: expected a picture of type {', '.join(TYPES)}")
    return kind


def draw(events: Events, path: str | os.PathLike) -> None:
    """Writes the picture, of the type that the path ends in.

    Raises GxnorError where matplotlib is missing, for another type than `TYPES`, and where the file cannot be written."""
    kind = picture_type(path)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise GxnorError(f"the picture needs matplotlib, which is not installed: {install('train')}") from None
    figure = Figure(figsize=(9, 2.4 + 0.45 * len(events.layers)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _shares(left, events)
    _energies(right, events)
    with replacing(path) as part:
        figure.savefig(part, format=kind, dpi=150)


def _shares(axes, events: Events) -> None:
    rows = [*events.layers, events.total]
    names = [f"{row.layer} {row.kind}" if row.layer else row.kind for row in rows]
    fired = [100 * (1 - row.resting) for row in rows]
    axes.barh(names, fired, color="#2b6cb0", label="events")
    axes.barh(names, [100 - share for share in fired], left=fired, color="#d9e2ec", label="resting")
    for y, row in enumerate(rows):
        at = 100 * (1 - row.expected_resting)
        axes.plot([at, at], [y - 0.4, y + 0.4], color="#c05621", label="states equally likely" if y == 0 else None)
        axes.text(99, y, f"rests {100 * row.resting:.1f} %", ha="right", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="share of the products, %", title=f"Events on {events.samples:,} samples")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False, fontsize=8)


def _energies(axes, events: Events) -> None:
    table = {name: row.energy / events.samples / 1e6 for name, row in counterparts(events).items()}
    bars = axes.barh(list(table), list(table.values()), color="#2b6cb0")
    axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set(xscale="log", xlabel="µJ per sample, operations alone", title="Energy (estimate)")
    axes.annotate(
        SOURCE.split(",")[0] + ", ISSCC 2014", (1, -0.2), xycoords="axes fraction", ha="right", va="top", fontsize=7
    )
