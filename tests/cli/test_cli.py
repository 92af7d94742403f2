"""The command line as a user meets it: exit codes, and errors of one or two lines without a traceback."""

import subprocess
import sys

import pytest

from gxnor.cli import main as cli


def call(*arguments):
    return subprocess.run([sys.executable, "-m", "gxnor", *arguments], capture_output=True, text=True)


def test_import_and_help_do_without_torch():
    code = "import sys, gxnor, gxnor.cli.main; gxnor.cli.main.parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_version():
    assert call("--version").stdout.startswith("gxnor ")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "minst"], ["minst", "digits"]),
        (["train", "digits", "--set", "train.epochs=0"], ["train.epochs", "0"]),
        (["train", "digits", "--epochs", "0"], ["train.epochs", "0"]),
        (["train", "digits", "--seed", "-1"], ["train.seed", "-1"]),
        (["train", "digits", "--set", "precision.weights=-1"], ["precision.weights", "-1"]),
        (["train", "digits", "--set", "precision.r=1.5"], ["r must lie between 0 and H"]),
        (["train", "digits", "--set", "what"], ["what", "optimizer.lr=0.05"]),
        (["train", "mnist", "--data-dir", "/nowhere/at/all"], ["/nowhere/at/all"]),
        (["eval", "/nowhere/at/all"], ["/nowhere/at/all"]),
    ],
)
def test_wrong_calls_leave_with_2_and_say_why(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) <= 2 and "Traceback" not in errors
    assert all(word in errors for word in words), errors
    assert list(tmp_path.iterdir()) == []  # nothing half-made stays behind


def test_arguments_argparse_refuses_leave_with_2():
    assert call("train").returncode == 2
    assert call("dance").returncode == 2


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="minst"):
        cli.main(["--debug", "train", "minst"])


def test_damaged_data_leaves_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"\x00\x00\x08\x03 cut off")
    assert cli.main(["train", "mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    errors = capsys.readouterr().err
    assert "ubyte" in errors and len(errors.splitlines()) <= 2
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
