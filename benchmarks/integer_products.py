"""What the products of a training step cost in small integers, layer by layer, against PyTorch's in float32.

    python benchmarks/integer_products.py [--threads N] [--repeats N] [--batch N] [--bits N] [--json PATH]

For every layer of the paper's CIFAR-10 network (or another notation): the sums forward, the gradient of the input and
the gradient of the weight, by the native kernels from int8 levels, and by PyTorch's float32 convolution forward and
`torch.ops.aten.convolution_backward`, channels-last, one of both gradients at a time. The two run in one process and
take turns, so that whatever else the machine does falls on both; a ratio is the median, over the rounds, of times taken
in the same round. Times are those of the processor, all threads together, which other programs hardly touch. The
rounding of the gradients, once with a scale per sample and once with one per channel, is timed beside the products.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import gxnor
from benchmarks.training_step import take_turns
from gxnor import native
from gxnor.nn.networks import CIFAR10, parse
from gxnor.training.result import machine

PRODUCTS = ("forward", "input", "weight")


def layers(notation: str, channels: int, size: int) -> list[tuple[str, int, int, int, int]]:
    """(name, size of the image, input channels, output channels, kernel) of every convolution and dense layer."""
    found = []
    for kind, outputs, kernel in parse(notation):
        if kind == "MP":
            size //= kernel
            continue
        if kind != "C":
            channels, size, kernel = channels * size * size, 1, 1
        found.append((f"{outputs}{'C' + str(kernel) if kind == 'C' else 'FC'} from {channels} at {size}", size))
        found[-1] += (channels, outputs, kernel)
        channels = outputs
    return found


def steps(layer: tuple, batch: int, bits: int, first: bool) -> dict[str, Callable[[], object]]:
    """What is timed, by name: "integer forward", "float forward" and so on."""
    _, size, c_in, c_out, kernel = layer
    library, padding, q_bound = native.library(), kernel // 2, 2 ** (bits - 1) - 1
    x_bound = 128 if first else 1
    numbers = (batch, size, size, c_in, size, size, c_out, kernel, kernel, 1, 1, padding, padding, 1, 1, 1)
    conv = (ctypes.c_int32 * 19)(*numbers, x_bound, 1, q_bound)
    x = torch.randint(-x_bound, min(x_bound, 127) + 1, (batch, size, size, c_in), dtype=torch.int8)
    w = torch.randint(-1, 2, (c_out, kernel, kernel, c_in), dtype=torch.int8)
    dy = torch.randn(batch, size, size, c_out)
    q, scale = torch.empty(dy.shape, dtype=torch.int8), torch.ones(max(batch, c_out))
    y, dx, dw = torch.empty_like(dy), torch.empty(x.shape), torch.empty(w.shape)
    count = torch.get_num_threads()

    def integer(name: str, *operands: torch.Tensor) -> Callable:
        function, pointers = getattr(library, name), [t.data_ptr() for t in operands]
        if name != "gxnor_int_conv_forward":
            pointers[1:1] = None, None  # no pool

        def run():
            if function(conv, *pointers, count):
                raise RuntimeError(f"{name} refuses {layer[0]}")

        return run

    def rounding():
        for per_channel in (0, 1) if not first else (1,):
            quantize(dy.data_ptr(), *shape, bits, per_channel, 1, q.data_ptr(), scale.data_ptr(), count)

    quantize = library.gxnor_int_quantize
    shape = (batch, size * size, c_out)
    found = {
        "integer forward": integer("gxnor_int_conv_forward", x, w, y),
        "integer weight": integer("gxnor_int_conv_weight", q, x, scale, dw),
        "rounding": rounding,
    }
    if not first:
        found["integer input"] = integer("gxnor_int_conv_input", q, w, scale, dx)
    rounding()

    floats = [t.float().permute(0, 3, 1, 2) for t in (x, w, dy)]  # channels-last
    if size == 1:
        a, b, g = (t.flatten(1) for t in floats)
        found |= {"float forward": lambda: a @ b.T, "float input": lambda: g @ b, "float weight": lambda: g.T @ a}
    else:
        backward = torch.ops.aten.convolution_backward
        geometry = ([1, 1], [padding, padding], [1, 1], False, [0, 0], 1)
        a, b, g = floats
        found |= {
            "float forward": lambda: torch.nn.functional.conv2d(a, b, padding=padding),
            "float input": lambda: backward(g, a, b, None, *geometry, [True, False, False]),
            "float weight": lambda: backward(g, a, b, None, *geometry, [False, True, False]),
        }
    if first:
        del found["float input"]
    return found


def measure(layer: tuple, batch: int, bits: int, first: bool, repeats: int) -> dict:
    with torch.no_grad():
        _, times = take_turns(steps(layer, batch, bits, first), repeats)
    milliseconds = {name: round(1000 * statistics.median(t), 3) for name, t in times.items()}
    ratio = {}
    for name in PRODUCTS:
        if f"integer {name}" in times:
            pairs = zip(times[f"integer {name}"], times[f"float {name}"], strict=True)
            ratio[name] = round(statistics.median(a / b for a, b in pairs), 4)
    return {"layer": layer[0], "processor_milliseconds": milliseconds, "ratio": ratio}


def totals(results: list[dict]) -> dict[str, float]:
    """Of all layers together, by the medians; the rounding is on the integers' side of the backward pass."""

    def total(*names: str) -> float:
        return sum(r["processor_milliseconds"].get(name, 0.0) for r in results for name in names)

    backward = total("integer input", "integer weight"), total("float input", "float weight")
    return {
        "forward": round(total("integer forward") / total("float forward"), 4),
        "backward": round(backward[0] / backward[1], 4),
        "backward with rounding": round((backward[0] + total("rounding")) / backward[1], 4),
    }


def print_table(results: list[dict], sums: dict[str, float]) -> None:
    table = Table(title="Processor milliseconds per batch, medians: integers / float32 (ratio)")
    for column in ("layer", *PRODUCTS, "rounding"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for result in results:
        ms = result["processor_milliseconds"]
        cells = [
            f"{ms[f'integer {name}']:.1f} / {ms[f'float {name}']:.1f} ({ratio:.3f})"
            for name, ratio in result["ratio"].items()
        ]
        if len(cells) < len(PRODUCTS):
            cells.insert(1, "")
        table.add_row(result["layer"], *cells, f"{ms['rounding']:.1f}")
    console = Console(width=130)
    console.print(table)
    console.print("all layers: " + ", ".join(f"{name} {ratio:.3f}" for name, ratio in sums.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: all cores")
    parser.add_argument("--repeats", type=int, default=9, help="rounds that count (default 9)")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--bits", type=int, default=5, help="of the gradients (default 5)")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "integer_products.json")
    args = parser.parse_args()
    if native.library() is None:
        sys.exit("the native library was not built: python setup.py build_ext --inplace")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = layers(CIFAR10, 3, 32)
    results = [measure(layer, args.batch, args.bits, i == 0, args.repeats) for i, layer in enumerate(network)]
    report = {
        "benchmark": "integer_products",
        "command": " ".join(["python", "benchmarks/integer_products.py", *sys.argv[1:]]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"gxnor": gxnor.__version__, "torch": torch.__version__},
        "network": CIFAR10,
        "batch": args.batch,
        "gradient_bits": args.bits,
        "rounds": args.repeats,
        "ratio_of_all_layers": totals(results),
        "results": results,
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=2) + "\n")
    print_table(results, report["ratio_of_all_layers"])
    print(f"written to {args.json}")


if __name__ == "__main__":
    main()
