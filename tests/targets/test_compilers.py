"""Exported C through GCC and Clang for every instruction set: no warning, whichever kernel a network needs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.cores import TOOLS, WARNINGS
from benchmarks.cores.fit import branches
from benchmarks.programs import Builder, mnist, one_d, random_program, residual
from gxnor.targets.c import choice, costs, write

pytestmark = pytest.mark.cross

ARM, RISCV = "arm-none-eabi-gcc -mthumb -mcpu=", "riscv64-unknown-elf-gcc -march="
COMPILERS = [
    "gcc", "gcc -m32", "gcc -mpopcnt", "aarch64-linux-gnu-gcc", "arm-none-eabi-gcc -mbig-endian -mcpu=cortex-a15",
    *(f"{ARM}cortex-{core}" for core in ("m0", "m0plus", "m3", "m4", "m7", "m23", "m33", "m55 -mfloat-abi=hard")),
    *(f"{RISCV}{isa} -mabi=ilp32{'e' * ('e' in isa)}" for isa in (
        "rv32e", "rv32em", "rv32emc", "rv32i", "rv32im", "rv32imc", "rv32imac", "rv32imc_zbb")),
    f"{RISCV}rv64imac -mabi=lp64",
    *(f"clang --target={target}" for target in (
        "x86_64", "i386", "aarch64", "thumbv6m-none-eabi", "thumbv7m-none-eabi", "thumbv7em-none-eabihf",
        "thumbv8m.base-none-eabi", "thumbv8m.main-none-eabi", "thumbv8.1m.main-none-eabi", "armeb-none-eabi", "mips",
        "powerpc", "riscv32 -march=rv32i", "riscv32 -march=rv32im", "riscv32 -march=rv32imc", "riscv64")),
]  # fmt: skip


def programs():
    net = Builder((2, 4, 4), 1)
    net.conv(3, 2)
    net.flatten()
    net.threshold()
    net.dense(2)
    return {"digit": mnist(), "blocks": residual(), "sound": one_d(), "places": net.program(), "mixture": random_program(3),
            "branches": branches(6, 16)}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name, program in programs().items():
        write(program, folder, name=name)
    return folder


def test_every_kernel_is_among_them():
    used = {part for program in programs().values() for step in choice.plan(program, None).steps for part in step.parts}
    assert used == {path.stem for path in (Path(costs.__file__).parent / "kernels").glob("*.c")}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_without_a_warning(compiler, sources):
    command = compiler.split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} not found: {TOOLS} clang")
    for name in programs():
        call = [*command, *WARNINGS, "-Os", "-ffreestanding", "-c", f"{name}.c", "-o", "/dev/null"]
        done = subprocess.run(call, cwd=sources, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
