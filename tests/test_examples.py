"""The examples run from top to bottom, in a short form, as a newcomer would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("torch")
from gxnor import data, native

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


def run(folder, name, *words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, ROOT / "examples" / name, *words], cwd=folder, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_network_is_trained_without_recipes_and_deployed_without_pytorch(tmp_path):
    printed = run(tmp_path, "train_mnist.py", "--quick", "--epochs", "3")
    accuracy = float(printed.splitlines()[-1].split(" %")[0])
    assert accuracy > 90
    dataset = data.load("digits")
    Image.fromarray(dataset.test_images[0, 0]).save(tmp_path / "digit.png")
    printed = run(tmp_path, "deploy.py", "mnist.gxnor", "digit.png")
    assert f"digit.png: {dataset.test_labels[0]} " in printed


def test_a_residual_network_of_ones_own_is_converted_trained_exported_and_checked(tmp_path):
    printed = run(tmp_path, "own_model.py", "--epochs", "2")
    assert "39,056 discrete weights" in printed and (tmp_path / "own.gxnor").exists()
    assert float(printed.splitlines()[-1].split(" %")[0]) > 85


def test_the_tour_runs_from_top_to_bottom(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "examples" / "tour.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("epochs=15", "epochs=1").replace("epochs=6", "epochs=1")
    resources = {"metadata": {"path": str(tmp_path)}}
    done = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert "accuracy of the program" in str([cell.get("outputs") for cell in done.cells])
