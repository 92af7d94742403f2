"""The training kernels of AVX-512 on machines that have AVX2 alone: a library whose intrinsics SIMDe emulates, put in the
place of the real one for the tests that compare kernels with their references."""

import subprocess
import sys

import pytest

from tests import dumps, emulation

pytestmark = [pytest.mark.cross, emulation.needed]

TESTS = "tests/nn/test_integer.py", "tests/nn/test_instruction_sets.py", "tests/nn/test_block_kernels.py"
RUN = """
import pathlib, sys, pytest
from gxnor import native
native.PATH = pathlib.Path(sys.argv[1])
sys.exit(pytest.main([*sys.argv[2:], "-k", "avx512", "-p", "no:cacheprovider"]))
"""


def test_training_kernels_of_avx512_agree_with_their_references(tmp_path):
    flags = "-shared", "-fPIC", "-fvisibility=hidden"
    library = emulation.build(tmp_path, "_native.so", rooms=["training"], flags=flags)
    command = [sys.executable, "-c", RUN, str(library), *TESTS]
    done = subprocess.run(command, cwd=dumps.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    summary = done.stdout.strip().splitlines()[-1]
    assert " passed" in summary and "skipped" not in summary, summary
