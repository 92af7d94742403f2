"""What is imported by whom: the README's lines under Install."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

LOADED = """
import sys
before = set(sys.modules)
{code}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names) - {{"gxnor"}}
print("LOADED", *sorted(loaded))
"""
LOGITS = "import gxnor, numpy; gxnor.load('mnist').logits(numpy.zeros((1, 28, 28), numpy.uint8))"
COMMAND = "from gxnor.cli.main import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass"


def loaded(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADED.format(code=code)], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("code", ["import gxnor", "import gxnor; gxnor.load('mnist')", LOGITS])
def test_loading_and_running_a_network_takes_numpy_alone(code):
    assert loaded(code) == {"numpy"}


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_takes_numpy_alone(arguments):
    assert loaded(COMMAND.format(arguments=arguments)) == {"numpy"}


@pytest.mark.parametrize(
    ("name", "more", "takes"),
    [
        ("x.npy", ["--json"], {"numpy"}),
        ("x.png", ["--json"], {"numpy", "PIL"}),
        ("x.png", [], {"numpy", "PIL", "rich"}),
    ],
)
def test_gxnor_run_takes_what_its_input_and_output_need(name, more, takes, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 28, 28), np.uint8))
    Image.new("L", (28, 28)).save(tmp_path / "x.png")
    assert loaded(COMMAND.format(arguments=["run", "mnist", str(tmp_path / name), *more])) == takes
