"""How near products come to what this core allows: benchmarks/results/limits.json and resnet18.json, and their pictures,
docs/images/layers.png and resnet18.png.

python benchmarks/limits.py             bit planes by AVX2 and, where it is there, AVX-512 (seconds), and the picture
python benchmarks/limits.py resnet18    each layer of ResNet-18 by the kernel that the engine picks, and the picture
python benchmarks/limits.py picture     draws both again

The limit is measured: the instructions of the product's inner loop on registers alone (native/bench/limit_avx2.cpp and
limit_avx512.cpp); for Winograd's F(2x2, 3x3) and F(4x4, 3x3) 2.25 and 4 times that, as they take so many times fewer. A
layer is measured with all that belongs to it: gathering, transforms, thresholds, packing. One thread; the smallest of many
times, in turns, for the clock of a shared machine changes. The networks of the paper with random states, and with a binary
side.
"""

from __future__ import annotations

import ctypes
import json
import math
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import programs  # noqa: E402
from experiments.pictures import SERIES  # noqa: E402
from gxnor.machine import describe  # noqa: E402
from gxnor.program import Program  # noqa: E402
from gxnor.program.ops import Conv, Dense  # noqa: E402
from gxnor.runtime.engine import Engine, instruction_sets  # noqa: E402

RESULT, PICTURE = ROOT / "benchmarks" / "results" / "limits.json", ROOT / "docs" / "images" / "layers.png"
RESNET_RESULT, RESNET_PICTURE = RESULT.with_name("resnet18.json"), PICTURE.with_name("resnet18.png")
LIBRARY = ROOT / "build" / "native" / "limits.so"
NETWORKS = {
    "MNIST, ternary": programs.mnist,
    "MNIST, binary activations": lambda: programs.mnist(1, 0),
    "CIFAR, ternary": programs.cifar,
    "CIFAR, binary weights": lambda: programs.cifar(0),
}
FORMS = ("ternary", "binary weights", "binary activations")  # in the order of native/kernels/kernels.h
# Vector instructions for as many products as a register has bits, by form, loads aside (native/kernels/xnor_*.h): with AVX2
# three to gate and compare (two where activations are binary), six to count a word of bits by its nibbles, one to add up,
# and for ternary ones two look-ups and two additions for every 128 (lookup_avx2.cpp); with AVX-512 one to gate, one to
# compare, and two for each word of bits.
INSTRUCTIONS = {"avx2": dict(zip(FORMS, (8, 10, 9), strict=True)), "avx512": dict(zip(FORMS, (6, 4, 3), strict=True))}
BITS = {"avx2": 256, "avx512": 512}
# Instructions that a core starts in a cycle, by vendor and family: AMD 25 is Zen 3 and Zen 4, which takes 512 bits as two.
A_CYCLE = {
    "avx2": {("GenuineIntel", "6"): 3, ("AuthenticAMD", "25"): 4, ("AuthenticAMD", "26"): 4},
    "avx512": {("GenuineIntel", "6"): 2, ("AuthenticAMD", "25"): 2, ("AuthenticAMD", "26"): 4},
}
BATCHES, STEP = (1, 4), "product, bits"
RESNET_BATCH = 4
FEWER = {"Winograd 2x2": 2.25, "Winograd 4x4": 4.0, "int16": 0.5}  # products that the instructions of bytes stand for
TURNS, REPEATS = 60, 4  # the network before has driven this one out of the cache
COUNT, CYCLES = 2**24, 2**18  # products and cycles of one measurement, some 0.1 ms


def measure() -> dict:
    """Products in billions a second, by instruction set."""
    sets = [isa for isa in INSTRUCTIONS if isa in instruction_sets()]
    if not sets:
        sys.exit("this machine has no AVX2")
    return {
        "command": "python benchmarks/limits.py",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": describe(),
        "sets": {isa: measure_set(isa) for isa in sets},
    }


def measure_set(isa: str) -> dict:
    library = limit_loops()
    limit = getattr(library, f"gxnor_limit_{isa}")
    seconds = dict.fromkeys(("cycles", *FORMS), math.inf)
    layers, runs = [], []
    for name, network in NETWORKS.items():
        program = network()
        engine = Engine(program, isa=isa, kernel="direct")
        for batch in BATCHES:
            found = [
                {"network": name, "batch": batch, "layer": layer, "products": batch * count, "seconds": math.inf}
                for layer, count in products(program)
            ]
            layers += found
            runs.append((engine, programs.batch(program, batch), found))
    for _ in range(TURNS):
        for engine, x, found in runs:
            least(seconds, "cycles", lambda: library.gxnor_cycles(ctypes.c_int64(CYCLES)))
            for i, form in enumerate(FORMS):
                least(seconds, form, partial(limit, ctypes.c_int64(COUNT), i))
            for _ in range(REPEATS):
                steps = [took for step, took in engine.profile(x) if step == STEP]
                for layer, took in zip(found, steps, strict=True):
                    layer["seconds"] = min(layer["seconds"], took)
    hertz = CYCLES / seconds.pop("cycles")
    limits = {form: 1e-9 * COUNT / took for form, took in seconds.items()}
    for layer in layers:
        layer["rate"] = 1e-9 * layer["products"] / layer["seconds"]
        layer["share"] = layer["rate"] / limits[layer["network"].split(", ")[1]]
    a_cycle = A_CYCLE[isa].get(core())
    return {
        "clock_ghz": 1e-9 * hertz,
        "bits": BITS[isa],
        "forms": {
            form: {
                "instructions": count,
                "cycles_derived": count / a_cycle if a_cycle else None,
                "cycles_measured": BITS[isa] * hertz * seconds[form] / COUNT,
                "limit": limits[form],
            }
            for form, count in INSTRUCTIONS[isa].items()
        },
        "layers": layers,
    }


def measure_resnet() -> dict:
    """ResNet-18 on one thread, a few images at a time; rates in billions of products a second."""
    isa = next(isa for isa in instruction_sets() if isa in INSTRUCTIONS)
    library, program = limit_loops(), programs.resnet18()
    loops = {
        "bits": partial(getattr(library, f"gxnor_limit_{isa}"), ctypes.c_int64(COUNT), 0),
        "bytes": partial(getattr(library, f"gxnor_limit_bytes_{isa}"), ctypes.c_int64(COUNT)),
    }
    engine, x = Engine(program, isa=isa), programs.batch(program, RESNET_BATCH)
    steps = [name for name in engine.steps if name.startswith("product")]
    seconds, took = dict.fromkeys(loops, math.inf), [math.inf] * len(steps)
    for _ in range(TURNS):
        for name, loop in loops.items():
            least(seconds, name, loop)
        profile = [each for name, each in engine.profile(x) if name.startswith("product")]
        took = [min(pair) for pair in zip(took, profile, strict=True)]
    rates = {name: 1e-9 * COUNT / each for name, each in seconds.items()}
    layers = []
    every = [layer for layer in program.layers if isinstance(layer, Conv | Dense)]
    for layer, step, each in zip(every, steps, took, strict=True):
        value = program.values[program.layers.index(layer) + 1]
        shape = layer.weight.shape
        kernel = step.removeprefix("product, ").split(" from ")[0]
        products = RESNET_BATCH * math.prod(value.shape) * math.prod(shape[1:])
        limit = rates["bits"] if kernel == "bits" else rates["bytes"] * FEWER.get(kernel[:12], 1)
        name = f"{shape[1]}-{shape[0]}" + (
            f", {shape[2]}x{shape[3]}, {value.shape[1]}" if isinstance(layer, Conv) else ""
        )
        layers.append({
            "layer": name, "kernel": kernel, "products": products, "seconds": each, "rate": 1e-9 * products / each,
            "share": 1e-9 * products / each / limit,
        })  # fmt: skip
    return {
        "command": "python benchmarks/limits.py resnet18",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": describe(),
        "isa": isa,
        "batch": RESNET_BATCH,
        "limits": rates,
        "layers": layers,
    }


def limit_loops() -> ctypes.CDLL:
    """The loops of native/bench/."""
    if not LIBRARY.exists():
        sys.exit(
            f"{LIBRARY} is not built: cmake -S native -B build/native && cmake --build build/native --target limits"
        )
    return ctypes.CDLL(str(LIBRARY))


def core() -> tuple[str, str]:
    """Vendor and family, where Linux says them."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    said = dict(re.findall(r"^(vendor_id|cpu family)\s*: (\S+)$", text, re.MULTILINE))
    return said.get("vendor_id", ""), said.get("cpu family", "")


def least(seconds: dict[str, float], key: str, run: Callable[[], object]) -> None:
    start = time.perf_counter()
    run()
    seconds[key] = min(seconds[key], time.perf_counter() - start)


def products(program: Program) -> list[tuple[str, int]]:
    """The layers that multiply states, and how many products each forms for one sample."""
    found = []
    for layer, value in zip(program.layers, program.values[1:], strict=True):
        if isinstance(layer, Conv | Dense) and program.values[layer.inputs[0]].space is not None:
            shape = layer.weight.shape
            name = f"{shape[1]}-{shape[0]}" + (f", {shape[2]}x{shape[3]}" if isinstance(layer, Conv) else "")
            found.append((name, math.prod(value.shape) * math.prod(shape[1:])))
    return found


def picture(result: dict) -> None:
    """Each layer's share of the limit of the widest instructions; the last layer of a network, of ten outputs in 16
    lanes, left out."""
    import matplotlib.pyplot as plt

    isa = list(result["sets"])[-1]
    layers = result["sets"][isa]["layers"]
    figure, rows = plt.subplots(2, 2, figsize=(9, 5), height_ratios=(1, 2.6), sharex=True, layout="constrained")
    for axes, network in zip(rows.flat, NETWORKS, strict=True):
        for i, batch in enumerate(BATCHES):
            at = [n for n in layers if n["network"] == network and n["batch"] == batch][:-1]
            places = [place + 0.4 * i for place in range(len(at))]
            axes.barh(places, [100 * n["share"] for n in at], 0.36, color=SERIES[i], label=f"batch {batch}")
        axes.set_yticks([place + 0.2 for place in range(len(at))], [n["layer"] for n in at])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_title(network, loc="left")
        axes.grid(axis="x", color="#dddddd")
        axes.set_axisbelow(True)
    figure.supxlabel(f"products, % of the limit of the instructions ({isa})")
    figure.legend(*rows[0, 0].get_legend_handles_labels(), frameon=False, loc="outside right upper")
    figure.savefig(PICTURE, dpi=110)


def resnet_picture(result: dict) -> None:
    """Each layer's share of the limit of its instructions, and of the network's time."""
    import matplotlib.pyplot as plt

    layers = result["layers"]
    kernels = list(dict.fromkeys(layer["kernel"] for layer in layers))
    total = sum(layer["seconds"] for layer in layers)
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    for color, kernel in zip(SERIES, kernels, strict=False):
        at = [i for i, layer in enumerate(layers) if layer["kernel"] == kernel]
        axes.barh(at, [100 * layers[i]["share"] for i in at], 0.7, color=color, label=kernel)
    for i, layer in enumerate(layers):
        axes.text(
            100 * layer["share"] + 1, i, f"{100 * layer['seconds'] / total:.0f} % of the time", va="center", fontsize=8
        )
    axes.set_yticks(range(len(layers)), [layer["layer"] for layer in layers])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"products, % of the limit of the instructions ({result['isa']})")
    axes.set_title("ResNet-18, ternary: channels, kernel, extent of the output", loc="left")
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside right upper")
    figure.savefig(RESNET_PICTURE, dpi=110)


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["picture"], ["resnet18"]):
        sys.exit(__doc__)
    if not arguments:
        RESULT.write_text(json.dumps(measure(), indent=1) + "\n")
    if arguments == ["resnet18"]:
        RESNET_RESULT.write_text(json.dumps(measure_resnet(), indent=1) + "\n")
    if arguments != ["resnet18"]:
        picture(json.loads(RESULT.read_text()))
    if arguments:
        resnet_picture(json.loads(RESNET_RESULT.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
