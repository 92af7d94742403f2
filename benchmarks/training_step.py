"""What one training step costs: GXNOR against the same network in plain PyTorch, and in Brevitas where it is installed.

    python benchmarks/training_step.py [--network NAME ...] [--only NAME ...] [--threads N] [--repeats N] [--json PATH]

A step is forward, cross-entropy, zero_grad, backward and optimizer step on one batch that lies in memory. The
contenders have the same layers, input and memory format and run in one process, taking turns, so that whatever else the
machine does falls on all of them; a ratio is the median, over the rounds, of times taken in the same round. The same
ratio of processor time, which other programs hardly touch, stands beside that of wall-clock time. Of the integer step a
second table shows, layer by layer, where its time goes. What the file holds of other networks and memory formats stays.

    gxnor      gxnor.nn layers, ternary weights and activations, gxnor.optim.DST with Adam's moments
    low        the same by the recipes' DST: a counter of 4 bits, a factored second moment, updates in the backward pass
    small      the same as low, with what backward needs saved in its true size
    integer    the same as low, in integer arithmetic with gradients of as many bits as the network's recipe has
    latent     the same network with float latent weights under torch.optim.Adam
    bfloat16   full under autocast
    full       nn.Conv2d, nn.Linear, nn.ReLU in float32, torch.optim.Adam in its fastest form (for-loop, foreach, fused)
    brevitas   QuantConv2d, QuantLinear and QuantIdentity with Brevitas' signed ternary quantizers, the same Adam
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as gxnor train does, for all contenders

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import nn

import gxnor
from gxnor import native
from gxnor.nn import integer_arithmetic, pack_saved_activations
from gxnor.nn.networks import CIFAR10, MNIST, RESNET20, network
from gxnor.nn.precision import PRECISIONS
from gxnor.optim import DST
from gxnor.training.result import machine

try:
    import brevitas
    import brevitas.nn as qnn
    from brevitas.quant import SignedTernaryActPerTensorConst, SignedTernaryWeightPerTensorConst
except ImportError:
    brevitas = None

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import integer_layers

TARGETS = {"gxnor": 1.15, "low": 1.3, "small": 1.3, "integer": 0.5}  # of the ratios to full, at most
WORKLOADS = {
    "MNIST net": {"notation": MNIST, "input_shape": (1, 28, 28), "padding": "valid", "width": 1.0},
    "CIFAR net, width 1/4": {"notation": CIFAR10, "input_shape": (3, 32, 32), "padding": "same", "width": 0.25},
    "CIFAR net": {"notation": CIFAR10, "input_shape": (3, 32, 32), "padding": "same", "width": 1.0},
    "ResNet-20": {"notation": RESNET20, "input_shape": (3, 32, 32), "padding": "same", "width": 1.0},
}
BATCHES = {"MNIST net": 250, "CIFAR net, width 1/4": 100, "CIFAR net": 100, "ResNet-20": 100}
GRADIENT_BITS = {"MNIST net": 8, "CIFAR net, width 1/4": 6, "CIFAR net": 6, "ResNet-20": 6}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DSTS = "low", "small", "integer"
ADAMS = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def to_brevitas(net: nn.Sequential) -> nn.Sequential:
    """The full-precision network with every weight and activation layer replaced by its ternary counterpart."""
    ternary = {"bias": False, "weight_quant": SignedTernaryWeightPerTensorConst, "weight_scaling_const": 1.0}
    for name, m in net.named_children():
        if isinstance(m, nn.Conv2d):
            padding = m.kernel_size[0] // 2 if m.padding == "same" else 0
            new = qnn.QuantConv2d(m.in_channels, m.out_channels, m.kernel_size, padding=padding, **ternary)
        elif isinstance(m, nn.Linear):
            new = qnn.QuantLinear(m.in_features, m.out_features, **ternary)
        elif isinstance(m, nn.ReLU):
            new = qnn.QuantIdentity(act_quant=SignedTernaryActPerTensorConst)
        else:
            continue
        setattr(net, name, new)
    return net


def fastest_adam(net: nn.Module, x: torch.Tensor, y: torch.Tensor, rounds: int = 15) -> str:
    """Races the forms of torch.optim.Adam on this network's gradients."""
    F.cross_entropy(net(x), y).backward()
    adams = {name: torch.optim.Adam(net.parameters(), **options) for name, options in ADAMS.items()}
    _, times = take_turns({name: adam.step for name, adam in adams.items()}, rounds)
    return min(times, key=lambda name: statistics.median(times[name]))


def take_turns(steps: dict[str, Callable[[], object]], rounds: int) -> tuple[dict[str, list], dict[str, list]]:
    """Wall-clock and processor seconds of every contender in every round; each round starts with another one. Three
    rounds of warm-up come first."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for i in range(-3, rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.perf_counter(), time.process_time()
            steps[name]()
            end = time.perf_counter(), time.process_time()
            if i >= 0:
                wall[name].append(end[0] - start[0])
                processor[name].append(end[1] - start[1])
    return wall, processor


def contenders(workload: dict, batch: int, bits: int, memory_format: torch.memory_format, only: list[str]):
    """A training step of every contender (of `only` and full, where given), and the form of Adam that was the fastest."""
    # empty, not contiguous(): that would leave the strides of images with one channel as they are
    x = torch.empty(batch, *workload["input_shape"], dtype=torch.uint8, memory_format=memory_format)
    x.random_(0, 256)
    y = torch.randint(0, 10, (batch,))
    precisions = {**dict.fromkeys(("gxnor", *DSTS), "gxnor"), "latent": "latent", "bfloat16": "full", "full": "full"}
    precisions = {name: p for name, p in precisions.items() if not only or name in (*only, "full")}
    nets = {name: network(**workload, precision=PRECISIONS[precision]) for name, precision in precisions.items()}
    if brevitas and (not only or "brevitas" in only):
        nets["brevitas"] = to_brevitas(network(**workload, precision=PRECISIONS["full"]))
    nets = {name: net.to(memory_format=memory_format) for name, net in nets.items()}
    adam = fastest_adam(nets["full"], x, y)

    def step_of(net: nn.Module, optimizer: torch.optim.Optimizer, context=contextlib.nullcontext) -> Callable:
        def step():
            optimizer.zero_grad()
            with context():
                scores = net(x)
            F.cross_entropy(scores.float(), y).backward()
            optimizer.step()

        return step

    contexts = {
        "small": pack_saved_activations,
        "integer": partial(integer_arithmetic, gradient_bits=bits, key=0),
        "bfloat16": partial(torch.autocast, "cpu", torch.bfloat16),
    }
    steps = {}
    for name, net in nets.items():
        context = contexts.get(name, contextlib.nullcontext)
        if name == "gxnor":
            steps[name] = step_of(net, DST(net, lr=0.01, increment="adam", counter=0, m=3.0, probability="tanh"))
        elif name in DSTS:
            optimizer = DST(net, lr=0.01, increment="factored", counter=4, m=1.0, probability="linear")
            optimizer.update_in_backward()
            steps[name] = step_of(net, optimizer, context)
        else:
            steps[name] = step_of(net, torch.optim.Adam(net.parameters(), lr=0.001, **ADAMS[adam]), context)
    return steps, adam


def quartiles(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"q25": round(low, 4), "median": round(middle, 4), "q75": round(high, 4)}


def measure(name: str, format_name: str, repeats: int, only: list[str]) -> dict:
    torch.manual_seed(0)
    steps, adam = contenders(WORKLOADS[name], BATCHES[name], GRADIENT_BITS[name], FORMATS[format_name], only)
    wall, processor = take_turns(steps, repeats)
    layers = integer_layers.measure(steps["integer"], min(repeats, 10)) if "integer" in steps else None
    return {
        "command": shlex.join(["python", "benchmarks/training_step.py", *_without_path(sys.argv[1:])]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rounds": repeats,
        "network": name,
        "batch": BATCHES[name],
        "memory_format": format_name,
        "adam": adam,
        "milliseconds": {who: quartiles([1000 * t for t in wall[who]]) for who in wall},
        "ratio_to_full": ratios(wall),
        "processor_time_ratio_to_full": ratios(processor),
        "integer_layers": layers,
    }


def _without_path(arguments: list[str]) -> list[str]:
    """The arguments but for --json and what follows it."""
    at = arguments.index("--json") if "--json" in arguments else len(arguments)
    return arguments[:at] + arguments[at + 2 :]


def ratios(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    full = times["full"]
    return {who: quartiles([a / b for a, b in zip(times[who], full, strict=True)]) for who in times if who != "full"}


def print_table(results: list[dict]) -> None:
    table = Table(title="One training step, median of the rounds (quartiles of the ratio)")
    for column in ("network", "batch", "memory format", "contender", "ms", "ratio to full", "processor time"):
        table.add_column(column, justify="right" if column in ("batch", "ms") else "left")
    for result in results:
        setting = (result["network"], str(result["batch"]), result["memory_format"])
        for who, ms in result["milliseconds"].items():
            shown = [f"1 (Adam: {result['adam']})", "1"]
            if who != "full":
                both = result["ratio_to_full"][who], result["processor_time_ratio_to_full"][who]
                shown = ["{median:.3f} ({q25:.3f} to {q75:.3f})".format(**ratio) for ratio in both]
            table.add_row(*setting, who, f"{ms['median']:.1f}", *shown)
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=WORKLOADS, default=[*WORKLOADS], help="default: all")
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=[*FORMATS], help="memory formats; default: all")
    names = ["gxnor", *DSTS, "latent", "bfloat16", "brevitas"]
    parser.add_argument("--only", nargs="+", choices=names, default=[], help="contenders beside full; default: all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: all cores")
    parser.add_argument("--repeats", type=int, default=40, help="rounds that count (default 40)")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "training_step.json")
    args = parser.parse_args()
    if args.threads < 1 or args.repeats < 2:
        parser.error("--threads must be at least 1 and --repeats at least 2")
    torch.set_num_threads(args.threads)
    if native.library() is None:
        sys.exit("the native library is not built: CONTRIBUTING.md says how")
    if brevitas is None:
        print("brevitas is not installed: skipped (pip install brevitas)")

    results = [measure(name, form, args.repeats, args.only) for name in args.network for form in args.format]
    before = json.loads(args.json.read_text())["results"] if args.json.exists() else []
    known = {(result["network"], result["memory_format"]): result for result in (*before, *results)}
    report = {
        "benchmark": "training_step",
        "machine": machine(),
        "versions": {
            "gxnor": gxnor.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "brevitas": brevitas.__version__ if brevitas else None,
        },
        "target_ratios": TARGETS,
        "results": [known[name, form] for name in WORKLOADS for form in FORMATS if (name, form) in known],
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=2) + "\n")
    print_table(results)
    for result in results:
        if result["integer_layers"]:
            integer_layers.print_table(f"{result['network']}, {result['memory_format']}", result["integer_layers"])
    print(f"written to {args.json}")


if __name__ == "__main__":
    main()
