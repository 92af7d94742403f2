"""Whatever a user names works or is refused before the work, and is printed as it is."""

import os
import sys

import pytest

from gxnor.cli import main as cli
from gxnor.training import recipes
from gxnor.training.memory import measure

QUICK = ["--epochs", "1", "--set", "network.layers=4C3-MP2-8FC-10", "--set", "train.batch_growth=1"]
NAMES = ["exp[lr=0.1]", "a[/b]", "[red]", ":smile:", "100%", "{brace}", "$x^2$", "two words", "\u732b"]


# filequery#51
@pytest.mark.parametrize("name", NAMES)
def test_the_path_of_the_report_is_printed_as_it_was_named(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "digits", *QUICK, "--out", name]) == 0
    assert f"{name}/report.html " in capsys.readouterr().out
    assert os.path.exists(f"{name}/report.html")


def test_a_long_path_is_printed_whole(tmp_path, capsys):
    out = tmp_path / ("long" * 40) / "run"
    assert cli.main(["train", "digits", *QUICK, "--out", str(out)]) == 0
    assert str(out / "report.html") in capsys.readouterr().out


# filequery#51
@pytest.mark.parametrize("name", ["[bold]mine", "a[/b]", ":smile: [x]"])
def test_the_name_of_a_recipe_is_printed_as_it_is(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = recipes.dump(recipes.load("digits")).replace('name = "digits"', f'name = "{name}"', 1)
    (tmp_path / "mine.toml").write_text(text)
    assert cli.main(["train", "mine.toml", *QUICK, "--out", "run"]) == 0
    assert f"{name}, seed 1" in capsys.readouterr().out
    monkeypatch.setattr(measure, "available", lambda device: 0)  # prediction alone
    assert cli.main(["memory", "mine.toml", "--set", "network.layers=4C3-MP2-8FC-10"]) == 0
    assert f"{name}, batch 50" in capsys.readouterr().out


# ArchiveBox#1373
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff", b"\xe7\x8c"])
def test_a_folder_whose_name_is_not_utf_8_can_be_trained_in_resumed_evaluated_and_exported(
    name, tmp_path, capsysbinary, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run, program = os.fsdecode(name), os.fsdecode(name + b".gxnor")
    train = ["train", "digits", *QUICK, "--out", run]
    assert cli.main(train) == 0
    assert name + b"/report.html " in capsysbinary.readouterr().out
    os.remove(f"{run}/result.json")  # as if it had been killed at the end
    for command in ([*train, "--resume"], [*train, "--resume"], ["eval", run], ["export", run, "-o", program]):
        assert cli.main(command) == 0, command
    assert name + b".gxnor: " in capsysbinary.readouterr().out
    for command in (["eval", program, "--json"], ["inspect", program]):
        assert cli.main(command) == 0, command


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_a_recipe_whose_file_is_not_named_in_utf_8_is_read_and_such_a_value_is_refused_before_training(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.toml")
    (tmp_path / name).write_text(recipes.dump(recipes.load("digits")).replace('name = "digits"\n', "", 1))
    assert cli.main(["train", name, *QUICK, "--out", "run"]) == 0
    assert "caf\ufffd, seed 1" in capsys.readouterr().out
    assert cli.main(["train", "digits", "--set", os.fsdecode(b"data.path=caf\xe9"), "--out", "other"]) == 2
    assert "a recipe is UTF-8 text" in capsys.readouterr().err and not os.path.exists("other")


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_every_file_of_a_run_has_the_permissions_of_a_new_file(mask, tmp_path):
    before = os.umask(mask)
    try:
        assert cli.main(["train", "digits", *QUICK, "--out", str(tmp_path / "run")]) == 0
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "run").iterdir()}
    assert set(modes.values()) == {0o666 & ~mask}, modes
