"""The native code built for a machine that has everything, whose intrinsics beyond AVX2 are emulated: by SIMDe but for AMX,
which the headers in tests/emulated/ do."""

import re
import shutil
import subprocess
from pathlib import Path

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
    given = "#include <simde/x86/avx512.h>"
    return subprocess.run(command, input=given, text=True, capture_output=True).returncode == 0


needed = pytest.mark.skipif(
    not (native.library() and shutil.which(COMPILER) and "avx2" in instruction_sets() and has_simde()),
    reason=f"needs {COMPILER}, SIMDe's headers (Debian: libsimde-dev), AVX2 and the native library",
)


def build(folder: Path, name: str, *, rooms=(), files=(), flags=()) -> Path:
    """Links folder/name from the sources of the engine, of more rooms of native/, and files, compiled for AVX2 alone."""
    source = shutil.copytree(dumps.ROOT / "native", folder / "native")
    (source / "common" / "target.h").write_text("#define GXNOR_TARGET(isa)\n#define GXNOR_TARGET_END\n")
    vectorise = source / "common" / "vectorise.h"
    vectorise.write_text(re.sub(r"\[\[gnu::target\(.*?\)\]\]", "", vectorise.read_text()))
    includes = [f"-I{dumps.ROOT / 'tests' / 'emulated'}", f"-I{source}"]
    sources = map(str, [*files, *dumps.sources(source, *rooms)])
    subprocess.run([COMPILER, *FLAGS, *flags, *includes, *sources, "-o", str(folder / name), "-ldl"], check=True)
    return folder / name
