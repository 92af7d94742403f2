"""`gxnor export --to`: which calls are refused, and that a target's function gets what it names."""

import sys
import types

import pytest

from benchmarks.programs import mnist
from gxnor import targets
from gxnor.cli import main as cli
from gxnor.program import file


@pytest.fixture
def probe(monkeypatch, tmp_path):
    """A target of the test's own, which keeps the calls that reach it; and a program's file."""
    calls = []

    def write(program, path, *, name="net"):
        calls.append((program.classes, path, name))
        return f"{path}: written"

    module = types.ModuleType("probe_target")
    module.write = write
    monkeypatch.setitem(sys.modules, "probe_target", module)
    monkeypatch.setitem(targets.TARGETS, "probe", "probe_target")
    file.save(mnist(), tmp_path / "net.gxnor")
    return calls


def test_a_target_gets_the_program_and_its_options(probe, tmp_path, capsys):
    assert cli.main(["export", str(tmp_path / "net.gxnor"), "--to", "probe", "-o", "out", "--name", "digit"]) == 0
    assert [(path.name, name) for _, path, name in probe] == [("out", "digit")]
    assert probe[0][0] == mnist().classes
    assert capsys.readouterr().out == "out: written\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--to", "probe", "--arena", "3"], "--arena is not an option of an export to probe"),
        (["--to", "probe", "--data", "digits"], "--data is not an option of an export to probe"),
        (["--to", "c", "--data-dir", "."], "add --data NAME"),
        (["--to", "c", "--data", "digits"], "expected data for an input of (1, 28, 28), digits has images of"),
        (["--name", "digit"], "--name is not an option of an export to a .gxnor file"),
        ([], "is a file already: add --to"),
    ],
)
def test_refused(probe, tmp_path, capsys, arguments, message):
    assert cli.main(["export", str(tmp_path / "net.gxnor"), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not probe and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["net.onnx", "net.c", "net", "net.gxnor.zip"])
def test_a_program_is_written_under_no_other_kind_of_name(tmp_path, capsys, name):
    (tmp_path / "run").mkdir()
    assert cli.main(["export", str(tmp_path / "run"), "-o", str(tmp_path / name)]) == 2
    assert f"expected the name of a .gxnor file after -o, got {tmp_path / name}" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
