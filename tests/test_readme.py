"""The README's Python, run as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import programs
from gxnor import native
from gxnor.data import load
from gxnor.program import file


@pytest.mark.skipif(native.library() is None, reason="the native library is not built")
def test_the_readmes_python_runs(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    file.save(programs.mnist(), "mnist.gxnor")
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 8, 1, 28, 28), generator=draws, dtype=torch.uint8)
    names = {
        "batches": [(batch, torch.arange(8)) for batch in images],
        "classes": tuple("0123456789"),
    }
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL):
        names["images"] = images[0].numpy()
        exec(block, names)
    predicted = names["gxnor"].load("net.gxnor").predict(images[0].numpy())
    np.testing.assert_array_equal(predicted, names["model"].eval()(images[0]).argmax(1).numpy())


@pytest.mark.skipif(native.library() is None, reason="the native library is not built")
def test_the_readmes_network_learns(tmp_path, monkeypatch):
    """The digits, drawn three times as large: one pass of the README's loop over three shuffles of them."""
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    data = load("digits")
    train, test = (
        np.pad(images.repeat(3, 2).repeat(3, 3), [(0, 0), (0, 0), (2, 2), (2, 2)])
        for images in (data.train_images, data.test_images)
    )
    images, labels = torch.from_numpy(train), torch.from_numpy(data.train_labels).long()
    order = torch.cat([torch.randperm(len(images)) for _ in range(3)])
    names = {"batches": [(images[i], labels[i]) for i in order.split(50)], "classes": data.classes}
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    exec(re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0], names)
    predicted = names["gxnor"].load("net.gxnor").predict(test)
    assert (predicted == data.test_labels).mean() > 0.94
