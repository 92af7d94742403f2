"""Exported C on microcontroller cores: compiled for each, run by QEMU, compared with the engine, instructions counted.

python -m benchmarks.cores FILE.gxnor --data mnist
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gxnor.errors import WorkError
from gxnor.program import Program, reference
from gxnor.targets import rest
from gxnor.targets.c import plan as planning
from gxnor.targets.c import source
from gxnor.targets.lowering import lower

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "cortex-m"
TOOLS = (
    "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc-riscv64-unknown-elf qemu-system-misc"
)
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
MAPPED = {"FLASH": 0, "FLASH_SIZE": "4M", "RAM": 0x20000000, "RAM_SIZE": "4M"}


@dataclass(frozen=True)
class Core:
    """How to compile for a core and which board of QEMU has it."""

    compiler: str
    flags: str
    emulator: str
    board: str
    memory: dict | None = None  # None: RISC-V


CORES = {
    "M0": Core("arm-none-eabi-gcc", "-mcpu=cortex-m0 -mthumb", "qemu-system-arm", "microbit",
               {**MAPPED, "FLASH_SIZE": "256K", "RAM_SIZE": "16K"}),
    "M3": Core("arm-none-eabi-gcc", "-mcpu=cortex-m3 -mthumb", "qemu-system-arm", "mps2-an385", MAPPED),
    "M4": Core("arm-none-eabi-gcc", "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16", "qemu-system-arm",
               "mps2-an386", MAPPED),
    "M7": Core("arm-none-eabi-gcc", "-mcpu=cortex-m7 -mthumb -mfloat-abi=hard -mfpu=fpv5-sp-d16", "qemu-system-arm",
               "mps2-an500", MAPPED),
    "M55": Core("arm-none-eabi-gcc", "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard", "qemu-system-arm", "mps3-an547",
                {**MAPPED, "FLASH_SIZE": "512K", "RAM_SIZE": "512K"}),
    "RV32IMC": Core("riscv64-unknown-elf-gcc", "-march=rv32imc -mabi=ilp32 -ffreestanding", "qemu-system-riscv32", "virt"),
    "RV32EMC": Core("riscv64-unknown-elf-gcc", "-march=rv32emc -mabi=ilp32e -ffreestanding", "qemu-system-riscv32", "virt"),
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Of a network on a core. flash: bytes of code and constants; ram: bytes of static memory; stack: bytes of the deepest
    chain of calls; instructions: of one image, on average."""

    core: str
    flash: int
    ram: int
    stack: int
    instructions: int


def missing(core: Core) -> list[str]:
    """The tools that this machine lacks for a core."""
    return [tool for tool in (core.compiler, core.emulator, "gcc") if shutil.which(tool) is None]


def run(program: Program, x: np.ndarray, name: str, optimise: str = "-Os", samples=None) -> Result:
    """Compiles and runs a program on images (n, *shape), n >= 1. Raises WorkError where a tool is missing or fails, or a
    single logit differs from the reference interpreter."""
    core = CORES[name]
    if lacking := missing(core):
        raise WorkError(f"{', '.join(lacking)} not found: {TOOLS}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_source(program, folder, samples)
        flags = [*core.flags.split(), optimise, "-ffunction-sections", "-fdata-sections"]
        _call([core.compiler, *WARNINGS, *flags, "-fcallgraph-info=su", "-c", "net.c"], folder)
        counts = []
        for images in (0, len(x)):
            _write_images(folder / "images.h", program, x, images)
            _call(
                [core.compiler, *flags, *_link(core), "-I.", HERE / "check.c", "net.o", "-lgcc", "-o", "check.elf"],
                folder,
            )
            counts.append(_emulate(core, folder / "check.elf"))
        size = _call([core.compiler.replace("gcc", "size"), "net.o"], folder).split("\n")[1].split()
        stack = _deepest((folder / "net.ci").read_text())
        return Result(name, int(size[0]), int(size[1]) + int(size[2]), stack, (counts[1] - counts[0]) // len(x))


def write_source(program: Program, folder: Path, samples: np.ndarray | None = None) -> None:
    """net.c and net.h as `gxnor export` writes them, but for the expected events in their comment."""
    lowered = lower(program)
    plan = planning.make(lowered, rest.states(lowered, samples))
    (folder / "net.c").write_text(source.source(plan, "net", [Counter() for _ in plan.steps]))
    (folder / "net.h").write_text(source.header(plan, "net"))


def _deepest(graph: str) -> int:
    """Bytes of stack of the deepest chain of calls, from GCC's call graph; what the C library takes is not in it."""
    own = {name: int(size) for name, size in re.findall(r'title: "(\S+?)" label: "[^"]*?(\d+) bytes', graph)}
    calls: dict[str, list[str]] = {}
    for caller, called in re.findall(r'sourcename: "(\S+?)" targetname: "(\S+?)"', graph):
        calls.setdefault(caller, []).append(called)

    def depth(name: str) -> int:
        return own.get(name, 0) + max((depth(called) for called in calls.get(name, ())), default=0)

    return max(map(depth, own))


def _write_images(path: Path, program: Program, x: np.ndarray, images: int) -> None:
    bits = reference.run(program, x).view(np.uint32)
    rows = ",\n".join(f"{{{','.join(map(str, row.reshape(-1)))}}}" for row in x)
    logits = ",\n".join(f"{{{','.join(f'{v}U' for v in row)}}}" for row in bits)
    path.write_text(
        f"#define IMAGES {images}\nstatic const uint8_t images[{len(x)}][{x[0].size}] = {{{rows}}};\n"
        f"static const uint32_t expected[{len(x)}][{bits.shape[1]}] = {{{logits}}};\n"
    )


def _link(core: Core) -> list:
    if core.memory is None:
        return [
            "-nostartfiles",
            "-nostdlib",
            f"-T{HERE / 'riscv.ld'}",
            HERE / "riscv.c",
            HERE / "memcpy.c",
            "-Wl,--no-warn-rwx-segments",
        ]
    symbols = ",".join(f"--defsym={name}={value}" for name, value in core.memory.items())
    return ["-nostartfiles", "--specs=nosys.specs", f"-Wl,{symbols},--gc-sections", f"-T{EXAMPLE / 'cortex-m.ld'}",
            EXAMPLE / "startup.c", HERE / "leave_arm.c"]  # fmt: skip


def _emulate(core: Core, elf: Path) -> int:
    """Instructions of a run."""
    call = [core.emulator, "-M", core.board, "-nographic", "-monitor", "none", "-serial", "null", "-kernel", elf]
    call += ["-bios", "none"] if core.memory is None else ["-semihosting-config", "enable=on,target=native"]
    text = _call([*call, "-plugin", plugin()], elf.parent)
    return int(re.search(r"instructions (\d+)", text)[1])


@functools.cache
def plugin() -> Path:
    """The plugin that counts, compiled."""
    path = Path(tempfile.mkdtemp()) / "count.so"
    _call(["gcc", "-shared", "-fPIC", "-O1", HERE / "count.c", "-o", path], path.parent)
    return path


def _call(command: list, folder: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise WorkError(f"{command[0]} failed ({done.returncode}): {done.stderr[-2000:]}{done.stdout[-500:]}")
    return done.stdout + done.stderr
