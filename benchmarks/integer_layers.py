"""Where the time of a training step in integer arithmetic goes, layer by layer, and what the instructions allow.

`python benchmarks/integer_layers.py` draws docs/images/integer-step.png of what benchmarks/training_step.py has written.

The limit is measured: AVX2's instructions for products of bytes on registers alone (native/bench/limit_avx2.cpp), the
fastest of many times, before and after the steps. Winograd's transforms and gradients that are mostly zeros form fewer
products than are counted here, so that a layer may take less time than its products at this rate.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gxnor.nn import integer_kernels

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.limits import least, limit_loops  # noqa: E402
from experiments.pictures import GRID, SERIES  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "integer-step.png"

PASSES = {
    "sums": "sums",
    "block_sums": "sums",
    "block_states": "norm, phi",
    "block_reduce": "norm back",
    "block_round": "rounding",
    "quantize": "rounding",
    "input_gradient": "dX",
    "weight_gradient": "dW",
}
COLUMNS = [*dict.fromkeys(PASSES.values())]
PRODUCTS = ("sums", "dX", "dW")
COUNT, TURNS = 2**24, 40  # products of one measurement of the limit, some 0.1 ms


@contextlib.contextmanager
def timed(note: Callable[[str, float, tuple], None]) -> Iterator[None]:
    """Calls note(pass, milliseconds of the processor, arguments) after every kernel that runs."""

    def wrap(name: str, kernel: Callable) -> Callable:
        def run(*args):
            start = time.process_time()
            result = kernel(*args)
            note(PASSES[name], 1000 * (time.process_time() - start), args)
            return result

        return run

    kernels = {name: getattr(integer_kernels, name) for name in PASSES}
    for name, kernel in kernels.items():
        setattr(integer_kernels, name, wrap(name, kernel))
    try:
        yield
    finally:
        for name, kernel in kernels.items():
            setattr(integer_kernels, name, kernel)


def measure(step: Callable[[], object], rounds: int) -> dict:
    """{"layers": [{"weights", "products" (millions, of one of the three), pass: milliseconds}, ...], "step": milliseconds,
    "limit": billions of products a second}, medians of processor time. In the forward pass sums come first in a layer, in
    the backward pass dW last."""
    times: dict = defaultdict(list)
    shapes: list[tuple] = []
    now = [-1]

    def note(name: str, milliseconds: float, args: tuple) -> None:
        if name == "sums":
            now[0] += 1
            if now[0] == len(shapes):
                x, w, g = args[:3]
                places = integer_kernels.output_shape(x.shape, w.shape, g)[:3]
                shapes.append((tuple(w.shape), w.numel() * places[0] * places[1] * places[2] / 1e6))
        times[now[0], name].append(milliseconds)
        if name == "dW":
            now[0] -= 1

    steps, limits = [], [limit()]
    with timed(note):
        for _ in range(rounds + 2):
            start = time.process_time()
            step()
            steps.append(1000 * (time.process_time() - start))
    layers = []
    for number, (shape, products) in enumerate(shapes):
        passes = {n: round(statistics.median(times[number, n][2:]), 2) for n in COLUMNS if (number, n) in times}
        layers.append({"weights": shape, "products": round(products, 1), **passes})
    limits.append(limit())
    best = None if limits[0] is None else round(max(limits), 1)
    return {"layers": layers, "step": round(statistics.median(steps[2:]), 1), "limit": best}


def limit() -> float | None:
    """Billions of products of bytes a second that AVX2 allows a core; None where there is none."""
    loops = limit_loops()
    if not hasattr(loops, "gxnor_limit_bytes_avx2"):
        return None
    seconds = {"bytes": math.inf}
    for _ in range(TURNS):
        least(seconds, "bytes", lambda: loops.gxnor_limit_bytes_avx2(ctypes.c_int64(COUNT)))
    return 1e-9 * COUNT / seconds["bytes"]


def print_table(name: str, measured: dict) -> None:
    table = Table(title=f"{name}: processor milliseconds of an integer step (billions of products a second)")
    for column in ("weights", *COLUMNS):
        table.add_column(column, justify="left" if column == "weights" else "right")
    for layer in measured["layers"]:
        cells = []
        for column in COLUMNS:
            some = layer.get(column)
            rate = f" ({layer['products'] / some:.0f})" if some and column in PRODUCTS else ""
            cells.append("" if some is None else f"{some:.1f}{rate}")
        table.add_row(" x ".join(map(str, layer["weights"])), *cells)
    totals = [sum(layer.get(column, 0) for layer in measured["layers"]) for column in COLUMNS]
    table.add_section()
    table.add_row("all", *(f"{total:.1f}" for total in totals))
    console = Console(width=120)
    console.print(table)
    console.print(f"all else, of {measured['step']:.1f} ms: {measured['step'] - sum(totals):.1f} ms")
    if measured["limit"]:
        console.print(f"the instructions allow {measured['limit']:.0f} billion products a second")


def picture(results: list[dict], path: Path) -> None:
    """A bar per layer, pass by pass, and a mark where its products alone would end at the limit."""
    import matplotlib.pyplot as plt

    rows = max(len(result["integer_layers"]["layers"]) for result in results)
    size = 5.2 * len(results), max(4, 0.25 * rows)
    figure, panels = plt.subplots(1, len(results), figsize=size, layout="constrained", squeeze=False)
    for axes, result in zip(panels[0], results, strict=True):
        measured = result["integer_layers"]
        layers = measured["layers"]
        names = [" x ".join(map(str, layer["weights"])) for layer in layers]
        left, places = [0.0] * len(layers), range(len(layers))
        for column, colour in zip(COLUMNS, SERIES, strict=False):
            some = [layer.get(column, 0.0) for layer in layers]
            axes.barh(places, some, left=left, color=colour, label=column)
            left = [a + b for a, b in zip(left, some, strict=True)]
        if measured["limit"]:
            at = [sum(p in layer for p in PRODUCTS) * layer["products"] / measured["limit"] for layer in layers]
            axes.plot(at, places, "|", color="black", markersize=16, markeredgewidth=2, label="products at the limit")
        rest = measured["step"] - sum(left)
        axes.barh([len(layers)], [rest], color="#bbbbbb")
        axes.set_yticks(range(len(layers) + 1), [*names, "all else"])
        axes.invert_yaxis()
        axes.grid(axis="x", color=GRID)
        axes.set_axisbelow(True)
        axes.set(xlabel="ms of processor time", title=f"{result['network']}, batch {result['batch']}")
    figure.legend(*panels[0][0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    stored = json.loads((ROOT / "benchmarks" / "results" / "training_step.json").read_text())["results"]
    picture([result for result in stored if result.get("integer_layers")], PICTURE)
