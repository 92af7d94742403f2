"""What is slower than it need be is said, once."""

import warnings

import pytest

from gxnor import native
from gxnor.cli import main as cli
from gxnor.cli.telling import warnings_told

QUICK = ["--epochs", "1", "--set", "network.layers=4C3-MP2-8FC-10", "--set", "train.batch_growth=1"]


def test_training_without_the_native_library_says_so_once_and_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(native, "PATH", tmp_path / "nowhere")
    assert cli.main(["train", "digits", *QUICK, "--out", str(tmp_path / "run")]) == 0
    errors = capsys.readouterr().err
    assert errors.count("gxnor: the native library is not built, so training runs on the slow reference kernels") == 1
    assert "install gxnor where there is a C++ compiler" in errors


def test_an_optimizer_without_the_native_library_warns(tmp_path, monkeypatch):
    nn, optim = pytest.importorskip("gxnor.nn"), pytest.importorskip("gxnor.optim")
    monkeypatch.setattr(native, "PATH", tmp_path / "nowhere")
    with pytest.warns(RuntimeWarning, match="the native library is not built"):
        optim.DST(nn.Linear(3, 2))


def test_warnings_are_lines_as_they_come_and_each_is_told_once(capsys):
    with pytest.raises(ZeroDivisionError), warnings_told():
        for _ in range(3):
            warnings.warn("passed over: a[/b]", RuntimeWarning, stacklevel=1)
        assert capsys.readouterr().err == "gxnor: passed over: a[/b]\n"
        _ = 1 / 0
