"""Where the time of a training step in integer arithmetic goes, layer by layer; part of benchmarks/training_step.py."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from gxnor.nn import integer_kernels

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
    """{"layers": [{"weights", "products" (millions, of one of the three), pass: milliseconds}, ...], "step": milliseconds},
    medians of processor time. In the forward pass sums come first in a layer, in the backward pass dW last."""
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

    steps = []
    with timed(note):
        for _ in range(rounds + 2):
            start = time.process_time()
            step()
            steps.append(1000 * (time.process_time() - start))
    layers = []
    for number, (shape, products) in enumerate(shapes):
        passes = {n: round(statistics.median(times[number, n][2:]), 2) for n in COLUMNS if (number, n) in times}
        layers.append({"weights": shape, "products": round(products, 1), **passes})
    return {"layers": layers, "step": round(statistics.median(steps[2:]), 1)}


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
