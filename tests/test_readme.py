"""The Python of the README and of the first page, run as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

from gxnor import native

ROOT = Path(__file__).parent.parent


def python_of(page: str) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return block


def test_both_pages_show_the_same():
    assert python_of("README.md") == python_of("docs/index.md")


@pytest.mark.skipif(native.library() is None, reason="the native library is not built")
def test_it_runs_and_learns(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict = {}
    exec(python_of("README.md"), names)
    digits = names["digits"]
    assert (names["predicted"] == digits.test_labels).mean() > 0.95
    scores = names["model"](torch.from_numpy(digits.test_images))
    np.testing.assert_array_equal(names["predicted"], scores.argmax(1).numpy())
