"""What the report shows, computed from the numbers of a run: layers, states, curves, confusion, interval.

A history is a list of epochs as in history.jsonl; a result is what result.json holds. Parts a run did not record are
None or absent, and so is what would be made of them.
"""

from __future__ import annotations

import numpy as np

from gxnor.space import DiscreteSpace
from gxnor.training.report import charts

MOST_CLASSES = 20  # a larger confusion matrix is a list of its most frequent mistakes
MOST_SHARES = 9  # larger spaces are shown as zero and four groups of states a side


def _column(rows: list, key: str) -> np.ndarray:
    """float64 [E]: one value per epoch, NaN where there is none."""
    return np.array([np.nan if row.get(key) is None else row[key] for row in rows], dtype=float)


def layers(history: list[dict]) -> list[dict]:
    """Every layer that ever occurs, in order, with its curves over the epochs and its last shares of states."""
    rows = [{layer["name"]: layer for layer in epoch.get("layers") or []} for epoch in history]
    epochs = [epoch["epoch"] for epoch in history]
    layers = []
    for i, name in enumerate(dict.fromkeys(name for row in rows for name in row)):
        mine = [row.get(name, {}) for row in rows]
        last = next(row for row in reversed(mine) if row)
        layer = {
            "name": name,
            "N": last.get("N"),
            "weights": last.get("weights"),
            "flip_rate": 100 * _column(mine, "flip_rate"),
            "zero_activations": 100 * _column(mine, "zero_activations"),
        }
        told = [(epoch, row["states"]) for epoch, row in zip(epochs, mine, strict=True) if row.get("states")]
        if told and layer["N"] is not None:
            labels, colours, groups = _states(DiscreteSpace(layer["N"], last.get("H") or 1.0))
            shares = np.array([[sum(states[k] for k in group) for group in groups] for _, states in told])
            layer["legend"] = labels
            layer["states"] = list(zip(labels, colours, 100 * shares[-1], strict=True))
            if len(told) > 1:
                layer["chart"] = charts.areas(f"states {i}", [epoch for epoch, _ in told], shares, colours)
        layers.append(layer)
    return layers


def _states(space: DiscreteSpace) -> tuple[list[str], list[str], list[range]]:
    """A label, a CSS colour and the state indices of every share that is shown."""
    if space.size <= MOST_SHARES:
        groups = [range(k, k + 1) for k in range(space.size)]
    else:
        zero, width = space.size // 2, space.size // (MOST_SHARES - 1)
        below = [range(k, k + width) for k in range(0, zero, width)]
        above = [range(k, k + width) for k in range(zero + 1, space.size, width)]
        groups = [*below, range(zero, zero + 1), *above]
    labels, colours = [], []
    for group in groups:
        ends = [f"{space.values[k]:.4g}".replace("-", "−") for k in {group[0]: 0, group[-1]: 0}]
        labels.append(" to ".join(ends))
        place = space.levels[list(group)].mean() / space.denominator
        side = "var(--below)" if place < 0 else "var(--above)"
        strength = round(25 + 75 * abs(place)) if place else 0
        colours.append(f"color-mix(in oklab, {side} {strength}%, var(--zero))")
    return labels, colours, groups


def architecture(layers: list[dict]) -> str:
    """Such as "4 layers with ternary weights"."""
    kinds = {None: "full-precision", 0: "binary", 1: "ternary"}
    names = dict.fromkeys(kinds.get(layer["N"]) or f"{2 ** layer['N'] + 1}-state" for layer in layers)
    return f"{len(layers)} layer{'s'[: len(layers) != 1]} with {' and '.join(names)} weights" if layers else ""


def curves(history: list[dict], layers: list[dict], result: dict) -> list[dict]:
    """The line charts: title, SVG, legend rows (name, colour, dash), the best epoch where it is marked, caption."""
    epochs = [row["epoch"] for row in history]
    best = result.get("best_epoch")
    curves = []

    def add(title, unit, caption, names, rows, *, mark=None, **options):
        shown = [np.isfinite(row).any() for row in rows]
        if not any(shown):
            return
        if options.get("log") and any((row == 0).any() for row in rows):
            caption += " Zero lies on the lower edge."
        at = (best, rows[mark][epochs.index(best)]) if mark is not None and best in epochs else None
        legend = [(name, *charts.series_style(i)) for i, name in enumerate(names) if shown[i]]
        svg = charts.lines(title, epochs, rows, unit, mark=at, **options)
        curves.append({"title": title, "svg": svg, "legend": legend, "best": at and best, "caption": caption})

    both, names = ["training", "validation"], [layer["name"] for layer in layers]
    add(
        "Loss",
        "mean loss",
        "Training falling while validation rises means the network starts to learn the training images by heart.",
        both,
        [_column(history, "train_loss"), _column(history, "val_loss")],
        mark=1,
        log=True,
    )
    add(
        "Error",
        "wrong answers, %",
        "The ring is the epoch whose weights were kept. Augmented training images can be the harder ones.",
        both,
        [100 - 100 * _column(history, "train_accuracy"), 100 - 100 * _column(history, "val_accuracy")],
        mark=1,
        log=True,
    )
    add(
        "Learning rate",
        "learning rate",
        "The scale of the increments; small ones become rare moves, not small moves.",
        ["learning rate"],
        [_column(history, "lr")],
        log=True,
    )
    with np.errstate(divide="ignore"):
        window = 1 / (1 - _column(history, "beta1"))
    add(
        "Momentum window",
        "1 / (1 − β₁), steps",
        "Over how many steps gradients are averaged; late moves are better when they rest on many gradients.",
        ["window"],
        [window],
        log=True,
    )
    add(
        "Flip rate",
        "weights changed in a step, %",
        "Should fall by orders of magnitude; a layer that stays flat near the top has not settled.",
        names,
        [layer["flip_rate"] for layer in layers],
        log=True,
    )
    add(
        "Zero activations",
        "activations at zero, %",
        "Zeros are operations that rest; near 0 % nothing is saved, near 100 % the layer passes nothing on.",
        names,
        [layer["zero_activations"] for layer in layers],
        percent=True,
    )
    return curves


def interval(result: dict) -> dict | None:
    """Right and wrong answers on the test set and the 95 % Wilson score interval of the accuracy."""
    from scipy.stats import binomtest  # here, as its import takes a second

    counts = np.array(result.get("confusion") or [[0]], dtype=int)
    total, right = int(counts.sum()), int(np.trace(counts))
    if not total:
        return None
    low, high = binomtest(right, total).proportion_ci(0.95, method="wilson")
    return {"total": total, "wrong": total - right, "low": low, "high": high}


def confusion(result: dict) -> dict | None:
    """Rows of (name, cells, share right), a cell being (count, whether right, heat 0..100, predicted name), and the
    most frequent mistakes as (true name, predicted name, count)."""
    counts = np.array(result.get("confusion") or [], dtype=np.int64)
    if not counts.size:
        return None
    names = result.get("classes") or [str(k) for k in range(len(counts))]
    off = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = np.argsort(-off, axis=None, kind="stable")[: MOST_CLASSES if len(names) > MOST_CLASSES else 10]
    pairs = [(names[i], names[j], off[i, j]) for i, j in zip(*np.unravel_index(order, off.shape), strict=True)]
    heat = np.rint(100 * np.log1p(off) / max(np.log1p(off).max(), 1e-9)).astype(int)
    rows = []
    for i, name in enumerate(names if len(names) <= MOST_CLASSES else []):
        total = counts[i].sum()
        cells = [(counts[i, j], i == j, heat[i, j], other) for j, other in enumerate(names)]
        rows.append((name, cells, counts[i, i] / total if total else None))
    return {"names": names, "rows": rows, "mistakes": [pair for pair in pairs if pair[2] > 0]}
