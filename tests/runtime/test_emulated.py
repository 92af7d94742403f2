"""The kernels of AMX, AVX-512 and AVX-VNNI on machines that have AVX2 alone: emulated, results compared with the reference
bit for bit.

Needs a C++ compiler and SIMDe's headers (Debian: libsimde-dev), and AVX2; skipped without.
"""

import subprocess

import pytest

from tests import dumps, emulation

pytestmark = emulation.needed


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    return emulation.build(tmp_path_factory.mktemp("emulated"), "check", files=[dumps.CHECKER])


def test_every_instruction_set_gives_the_logits_of_the_reference(check, tmp_path):
    every = dumps.every_kind()
    dumps.write(tmp_path / "dump", every)
    done = subprocess.run([str(check), str(tmp_path / "dump")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"amx avx512 avxvnni avx2 portable: {len(every)} programs, ")
