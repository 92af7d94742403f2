"""The kernels of AMX, AVX-512 and AVX-VNNI on machines that have AVX2 alone: their intrinsics emulated, by SIMDe but for
AMX, results compared with the reference bit for bit.

Needs a C++ compiler and SIMDe's headers (Debian: libsimde-dev), and AVX2; skipped without.
"""

import re
import shutil
import subprocess

import pytest

from gxnor import native
from gxnor.runtime.engine import instruction_sets
from tests import dumps

COMPILER = "g++"
FLAGS = [
    "-std=c++17",
    "-O2",
    "-w",
    "-ffp-contract=off",
    "-pthread",
    "-mavx2",
    "-mpopcnt",
    "-D__builtin_cpu_supports(name)=1",
]


def has_simde() -> bool:
    command = [COMPILER, "-E", "-x", "c++", "-", "-o", "/dev/null"]
    return (
        subprocess.run(command, input="#include <simde/x86/avx512.h>", text=True, capture_output=True).returncode == 0
    )


pytestmark = pytest.mark.skipif(
    not (native.library() and shutil.which(COMPILER) and "avx2" in instruction_sets() and has_simde()),
    reason=f"needs {COMPILER}, SIMDe, AVX2 and the native library",
)


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """The checker, built from sources that ask the compiler for nothing beyond AVX2."""
    folder = tmp_path_factory.mktemp("emulated")
    source = shutil.copytree(dumps.ROOT / "native", folder / "native")
    (source / "common" / "target.h").write_text("#define GXNOR_TARGET(isa)\n#define GXNOR_TARGET_END\n")
    vectorise = source / "common" / "vectorise.h"
    vectorise.write_text(re.sub(r"\[\[gnu::target\(.*?\)\]\]", "", vectorise.read_text()))
    sources = map(str, [dumps.CHECKER, *dumps.sources(source)])
    includes = [f"-I{dumps.ROOT / 'tests' / 'emulated'}", f"-I{source}"]
    subprocess.run([COMPILER, *FLAGS, *includes, *sources, "-o", str(folder / "check")], check=True)
    return folder / "check"


def test_every_instruction_set_gives_the_logits_of_the_reference(check, tmp_path):
    every = dumps.every_kind()
    dumps.write(tmp_path / "dump", every)
    done = subprocess.run([str(check), str(tmp_path / "dump")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"amx avx512 avxvnni avx2 portable: {len(every)} programs, ")
