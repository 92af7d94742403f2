"""The example projects for boards build with an exported network."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.cores import TOOLS
from benchmarks.programs import mnist
from gxnor.targets.c import write

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.cross


@pytest.fixture
def project(tmp_path):
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip(f"arm-none-eabi-gcc not found: {TOOLS}")
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py[co]", "*.ipynb"))
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(tmp_path / "cortex-m" / "seven.png")
    return tmp_path


def test_cortex_m(project):
    write(mnist(), project / "cortex-m" / "digit")
    done = subprocess.run(
        ["make", "IMAGE=seven.png", f"PYTHON={sys.executable}"],
        cwd=project / "cortex-m",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    assert (project / "cortex-m" / "digit.elf").stat().st_size > 150_000


def test_sketch(project):
    """As the Arduino tools do: the sketch as C++, the network as C, linked by its C name."""
    sketch = project / "arduino" / "digit"
    write(mnist(), sketch, name="digit")
    text = subprocess.run(
        [sys.executable, "image.py", "seven.png"], cwd=project / "cortex-m", capture_output=True, text=True, check=True
    ).stdout
    (sketch / "image.h").write_text(text)
    (sketch / "board.h").write_text(
        "#include <stdint.h>\nenum { LED_BUILTIN, OUTPUT, HIGH, LOW };\nunsigned long micros();\nvoid delay(int);\n"
        "void pinMode(int, int);\nvoid digitalWrite(int, int);\nstruct Port { void begin(long); void print(const char *);\n"
        "void print(int); void println(unsigned long); };\nextern Port Serial;\n"
    )
    flags = ["-mcpu=cortex-m0plus", "-mthumb", "-Os", "-Wall", "-Wextra", "-Werror", "-include", "board.h", "-c"]
    call = ["arm-none-eabi-g++", *flags, "-std=gnu++11", "-x", "c++", "digit.ino", "-o", "sketch.o"]
    done = subprocess.run(call, cwd=sketch, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = subprocess.run(["arm-none-eabi-nm", "sketch.o"], cwd=sketch, capture_output=True, text=True).stdout
    assert " U digit_predict\n" in names  # not a mangled name
