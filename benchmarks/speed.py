"""Time per image, side by side with what users would run instead: to benchmarks/results/speed.json, docs/images/speed.png.

python benchmarks/speed.py              measures (some ten minutes) and draws; pip install onnx onnxruntime openvino
python benchmarks/speed.py picture      draws again
python benchmarks/speed.py blocks       networks of residual and separable blocks, a table: benchmarks/results/blocks.json
python benchmarks/speed.py zoo          the small networks of benchmarks/zoo.py, a table: benchmarks/results/zoo.json

Names after `blocks` or `zoo` measure those again and leave the others as they are stored.

The networks of the paper with random states, for time does not depend on them: ternary ones, and the CIFAR network once
with more of them. Where the machine has AMX or AVX-512, the CIFAR network once more without, for us, PyTorch and OpenVINO;
ONNX Runtime cannot be told to do without.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import programs  # noqa: E402
from experiments.pictures import SERIES  # noqa: E402
from experiments.timings import blocks_table, zoo_table  # noqa: E402
from gxnor.cli import bench  # noqa: E402
from gxnor.program import Program, file  # noqa: E402
from gxnor.runtime.engine import instruction_sets  # noqa: E402

RESULT, PICTURE = ROOT / "benchmarks" / "results" / "speed.json", ROOT / "docs" / "images" / "speed.png"
TABLES = {name: ROOT / "benchmarks" / "results" / f"{name}.json" for name in ("blocks", "zoo")}
AGAINST = ["torch", "onnxruntime", "openvino"]
# What makes PyTorch and OpenVINO do without an instruction set, and oneDNN, in both, is told the most that it may use.
WITHOUT = {
    "amx": ("AMX", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}),
    "avx512": ("AVX-512", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2_VNNI"}),
}
NETWORKS = {
    "MNIST": (programs.mnist, [1, 64], 1),
    "CIFAR": (programs.cifar, [1, 4, 16, 64], 2),
    "CIFAR, weights of 5 and activations of 9 states": (lambda: programs.cifar(2, 3), [1, 64], 2),
}
BLOCKS = {
    "ResNet-20, width 16, 32x32": (programs.resnet, [1, 64], 2),
    "ResNet-18, 224x224": (programs.resnet18, [1, 8], 2),
    "MobileNetV1, 224x224": (programs.mobilenet_v1, [1, 8], 2),
    "keyword spotting, Conv1d": (programs.keywords, [1, 64], 2),
}


def measure() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        reports = of(NETWORKS, Path(folder), AGAINST)
        cifar = Path(folder) / "CIFAR.gxnor"
        result = {"command": "python benchmarks/speed.py", "date": time.strftime("%Y-%m-%d", time.gmtime())}
        for isa, following in itertools.pairwise(instruction_sets()):
            if isa in WITHOUT:
                name, limits = WITHOUT[isa]
                reports[f"CIFAR, no {name}"] = limited(cifar, following, limits) | {"file": cifar.name}
    return result | {"networks": reports}


def of(networks: dict, folder: Path, against: list[str]) -> dict[str, dict]:
    """What `gxnor bench` says of each, by name; their files stay in the folder."""
    reports = {}
    for name, (network, batches, threads) in networks.items():
        path = folder / f"{name}.gxnor"
        file.save(network(), path)
        reports[name] = bench.bench(path, batches, threads, against, explain=True) | {"file": path.name}
    return reports


def measure_again(name: str, networks: dict, chosen: list[str]) -> None:
    """The chosen networks of a table, or all. PyTorch is left out: the other two are faster on these."""
    if unknown := set(chosen) - set(networks):
        sys.exit(f"expected networks among {', '.join(networks)}, got {', '.join(unknown)}")
    stored = json.loads(TABLES[name].read_text())["networks"] if chosen and TABLES[name].exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        reports = stored | of({each: networks[each] for each in chosen or networks}, Path(folder), AGAINST[1:])
    date = time.strftime("%Y-%m-%d", time.gmtime())
    ordered = {each: reports[each] for each in networks if each in reports}
    result = {"command": f"python benchmarks/speed.py {name}", "date": date, "networks": ordered}
    TABLES[name].write_text(json.dumps(result, indent=1) + "\n")


def zoo() -> dict:
    """As `BLOCKS`: untrained, for time does not depend on it."""
    from benchmarks.zoo import ZOO

    return {name: (functools.partial(exported, name), [1, 32], 2) for name in ZOO}


def exported(name: str) -> Program:
    import torch

    import gxnor
    import gxnor.nn as gnn
    from benchmarks.zoo import CLASSES, SHAPES, ZOO

    torch.manual_seed(0)
    model = ZOO[name]()
    gnn.discretize(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rounding, which takes no time
        return gxnor.export(model.eval(), SHAPES.get(name, (1, 8, 8)), CLASSES.get(name, 10))


def limited(path: Path, isa: str, limits: dict[str, str]) -> dict:
    """The CIFAR network in a process of its own, for libraries look at the machine when they are loaded."""
    words = ["--isa", isa, "--batch", "1", "64", "--threads", "2", "--against", *AGAINST, "--json"]
    command = [sys.executable, "-m", "gxnor", "bench", str(path), *words]
    # Of its own: code that torch.compile has kept from a process with other limits corrupts the heap (PyTorch 2.13).
    kept = {"TORCHINDUCTOR_CACHE_DIR": str(path.parent / isa)}
    done = subprocess.run(command, env=os.environ | limits | kept, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def picture(result: dict) -> None:
    """Time an image over batch size, on the CIFAR network."""
    import matplotlib.pyplot as plt

    report = result["networks"]["CIFAR"]
    figure, axes = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    batches = [entry["batch"] for entry in report["results"]]
    ends = {}
    for i, name in enumerate(report["contestants"]):
        times = [entry[name]["us_per_image"] / 1000 for entry in report["results"]]
        width = 2.6 if name == "gxnor" else 1.4
        axes.plot(batches, times, color=SERIES[i], linewidth=width, marker="o", markersize=4, label=name)
        ends[name] = times[-1]
    axes.set(xscale="log", yscale="log", xlabel="batch", ylabel="milliseconds per image")
    axes.set_xticks(batches, map(str, batches), minor=False)
    axes.minorticks_off()
    ticks = [
        tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if min(ends.values()) / 2 < tick < 2 * max(ends.values())
    ]
    axes.set_yticks(ticks, map(str, ticks))
    axes.grid(axis="y", color="#dddddd")
    order = sorted(ends, key=ends.get, reverse=True)
    handles = dict(zip(report["contestants"], axes.get_lines(), strict=True))
    figure.legend([handles[name] for name in order], order, frameon=False, loc="outside right upper")
    about = report["contestants"]["gxnor"]
    axes.set_title(f"CIFAR network, {about['threads']} threads, {report['machine']['cpu']}, {about['isa']}", loc="left")
    figure.savefig(PICTURE, dpi=110)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["blocks", *chosen]:
            measure_again("blocks", BLOCKS, chosen)
            return print(blocks_table())
        case ["zoo", *chosen]:
            measure_again("zoo", zoo(), chosen)
            return print(zoo_table())
    if arguments not in ([], ["picture"]):
        sys.exit(__doc__)
    if not arguments:
        RESULT.write_text(json.dumps(measure(), indent=1) + "\n")
    picture(json.loads(RESULT.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
