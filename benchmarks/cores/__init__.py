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
from gxnor.targets.c import choice, source
from gxnor.targets.c.calls import Plan

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "cortex-m"
TOOLS = (
    "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc-riscv64-unknown-elf qemu-system-misc "
    "gcc-aarch64-linux-gnu qemu-user"
)
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
MAPPED = {"FLASH": 0, "FLASH_SIZE": "4M", "RAM": 0x20000000, "RAM_SIZE": "4M"}


@dataclass(frozen=True)
class Core:
    """How to compile for a core, and which board of QEMU has it; without a board it is a program under Linux."""

    compiler: str
    flags: str
    emulator: str
    board: str | None = None
    memory: dict | None = None  # of a board with a Cortex-M
    more: str = ""  # flags for the network alone: the compiler has no libraries for them


CORES = {
    "M0": Core("arm-none-eabi-gcc", "-mcpu=cortex-m0 -mthumb", "qemu-system-arm", "microbit",
               {**MAPPED, "FLASH_SIZE": "256K", "RAM_SIZE": "16K"}),
    "M3": Core("arm-none-eabi-gcc", "-mcpu=cortex-m3 -mthumb", "qemu-system-arm", "mps2-an385", MAPPED),
    "M4": Core("arm-none-eabi-gcc", "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16", "qemu-system-arm",
               "mps2-an386", MAPPED),
    "M7": Core("arm-none-eabi-gcc", "-mcpu=cortex-m7 -mthumb -mfloat-abi=hard -mfpu=fpv5-sp-d16", "qemu-system-arm",
               "mps2-an500", MAPPED),
    "M33": Core("arm-none-eabi-gcc", "-mcpu=cortex-m33 -mthumb -mfloat-abi=hard -mfpu=fpv5-sp-d16", "qemu-system-arm",
                "mps2-an505", {**MAPPED, "FLASH": 0x10000000, "RAM": 0x38000000, "RAM_SIZE": "2M"}),
    "M55": Core("arm-none-eabi-gcc", "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard", "qemu-system-arm", "mps3-an547",
                {**MAPPED, "FLASH_SIZE": "512K", "RAM_SIZE": "512K"}),
    "RV32IMC": Core("riscv64-unknown-elf-gcc", "-march=rv32imc -mabi=ilp32 -ffreestanding", "qemu-system-riscv32", "virt"),
    "RV32IMC_Zbb": Core("riscv64-unknown-elf-gcc", "-march=rv32imc -mabi=ilp32 -ffreestanding", "qemu-system-riscv32",
                        "virt", more="-march=rv32imc_zbb"),
    "RV32EMC": Core("riscv64-unknown-elf-gcc", "-march=rv32emc -mabi=ilp32e -ffreestanding", "qemu-system-riscv32", "virt"),
    "AArch64": Core("aarch64-linux-gnu-gcc", "-ffreestanding -fno-stack-protector -fno-pie", "qemu-aarch64"),
    "A15BE": Core("arm-none-eabi-gcc", "-mbig-endian -mcpu=cortex-a15 -mfloat-abi=hard -mfpu=neon-vfpv4 -ffreestanding",
                  "qemu-armeb"),
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
        write_source(choice.plan(program, samples), folder)
        flags = [*core.flags.split(), optimise, "-ffunction-sections", "-fdata-sections"]
        call([core.compiler, *WARNINGS, *flags, *core.more.split(), "-fcallgraph-info=su", "-c", "net.c"], folder)
        counts = []
        for images in (0, len(x)):
            write_images(folder / "images.h", program, x, images)
            link(core, flags, folder, HERE / "check.c", "net.o")
            counts.append(emulate(core, folder)[-1])
        size = call([core.compiler.replace("gcc", "size"), "net.o"], folder).split("\n")[1].split()
        stack = _deepest((folder / "net.ci").read_text())
        return Result(name, int(size[0]), int(size[1]) + int(size[2]), stack, (counts[1] - counts[0]) // len(x))


def write_source(plan: Plan, folder: Path) -> None:
    """net.c and net.h as `gxnor export` writes them, but for the expected events in their comment."""
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


def write_images(path: Path, program: Program, x: np.ndarray, images: int) -> None:
    bits = reference.run(program, x).view(np.uint32)
    rows = ",\n".join(f"{{{','.join(map(str, row.reshape(-1)))}}}" for row in x)
    logits = ",\n".join(f"{{{','.join(f'{v}U' for v in row)}}}" for row in bits)
    path.write_text(
        f"#define IMAGES {images}\nstatic const uint8_t images[{len(x)}][{x[0].size}] = {{{rows}}};\n"
        f"static const uint32_t expected[{len(x)}][{bits.shape[1]}] = {{{logits}}};\n"
    )


def link(core: Core, flags: list[str], folder: Path, *files: Path | str) -> None:
    """Makes net.elf of sources and objects."""
    call([core.compiler, *flags, *_start(core), "-I.", *files, "-lgcc", "-o", "net.elf"], folder)


def _start(core: Core) -> list:
    bare = ["-nostdlib", HERE / "memcpy.c"]
    if core.board is None:
        return [*bare, "-static", HERE / "linux.c", *(["-Wl,--be8"] if "-mbig-endian" in core.flags else [])]
    if core.memory is None:
        return [*bare, f"-T{HERE / 'riscv.ld'}", HERE / "riscv.c", "-Wl,--no-warn-rwx-segments"]
    symbols = ",".join(f"--defsym={name}={value}" for name, value in core.memory.items())
    return ["-nostartfiles", "--specs=nosys.specs", f"-Wl,{symbols},--gc-sections", f"-T{EXAMPLE / 'cortex-m.ld'}",
            EXAMPLE / "startup.c", HERE / "leave_arm.c"]  # fmt: skip


def emulate(core: Core, folder: Path) -> list[int]:
    """Runs net.elf. Instructions up to every call of a function `mark`, and of the whole run."""
    command = [core.emulator, "-plugin", plugin()]
    if core.board is not None:
        command += ["-M", core.board, "-nographic", "-monitor", "none", "-serial", "null"]
        command += ["-bios", "none"] if core.memory is None else ["-semihosting-config", "enable=on,target=native"]
        command += ["-kernel"]
    text = call([*command, "net.elf"], folder)
    return [int(number) for number in re.findall(r"^(?:mark|instructions) (\d+)$", text, re.M)]


@functools.cache
def plugin() -> Path:
    """The plugin that counts, compiled."""
    path = Path(tempfile.mkdtemp()) / "count.so"
    call(["gcc", "-shared", "-fPIC", "-O1", HERE / "count.c", "-o", path], path.parent)
    return path


def call(command: list, folder: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise WorkError(f"{command[0]} failed ({done.returncode}): {done.stderr[-2000:]}{done.stdout[-500:]}")
    return done.stdout + done.stderr
