"""The engine on 64-bit ARM: cross-built, run under qemu-user, compared with the reference bit for bit.

Needs a cross-compiler and an emulator (Debian: g++-aarch64-linux-gnu, qemu-user); skipped without.
"""

import shutil
import subprocess

import pytest

from tests import dumps

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)), reason=f"needs {COMPILER} and {EMULATOR}"
)


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """The checker, built."""
    path = tmp_path_factory.mktemp("aarch64") / "check"
    native = dumps.ROOT / "native"
    sources = [dumps.CHECKER, *dumps.sources(native)]
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-pthread", "-static", "-Wall", "-Werror"]
    subprocess.run([COMPILER, *flags, f"-I{native}", *map(str, sources), "-o", str(path)], check=True)
    return path


@pytest.mark.parametrize(("machine", "sets"), [("max", "dotprod neon portable"), ("cortex-a53", "neon portable")])
def test_every_instruction_set_gives_the_logits_of_the_reference(check, machine, sets, tmp_path):
    every = dumps.every_kind()
    dumps.write(tmp_path / "dump", every)
    command = [EMULATOR, "-cpu", machine, str(check), str(tmp_path / "dump")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{sets}: {len(every)} programs, ")
