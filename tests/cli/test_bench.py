import dataclasses
import json
import os
import sys

import numpy as np
import pytest

from benchmarks import competitors, programs
from gxnor import native
from gxnor.cli import bench
from gxnor.cli import main as cli
from gxnor.errors import GxnorError
from gxnor.program import Program, Scale, Threshold, file, reference

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "SECONDS", 0.0)
    monkeypatch.setattr(bench, "TURNS", 2)
    file.save(programs.one_d(), tmp_path / "net.gxnor")
    return tmp_path / "net.gxnor"


def test_json_has_every_batch_size_and_what_was_measured(path, capsys):
    assert cli.main(["bench", str(path), "--batch", "1", "3", "--threads", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [entry["batch"] for entry in result["results"]] == [1, 3]
    for entry in result["results"]:
        assert 0 < entry["gxnor"]["us_per_image_min"] <= entry["gxnor"]["us_per_image"]
        assert entry["gxnor"]["over_gxnor"] == 1
    assert result["contestants"]["gxnor"]["threads"] == 2
    assert result["load"]["file_bytes"] == path.stat().st_size
    assert {"cpu", "cores", "load", "python"} <= result["machine"].keys()


def test_settings_that_depend_on_the_batch_are_kept(path, monkeypatch):
    class Fickle:
        @staticmethod
        def build(program, x, threads):
            return {"fickle": (lambda: None, {"kernel": "small" if len(x) < 3 else "large"})}

    monkeypatch.setattr(competitors, "find", lambda name: Fickle)
    result = bench.bench(path, [1, 2, 4], 1, ["fickle"])
    assert list(result["contestants"]) == ["gxnor", "fickle"]
    assert result["contestants"]["fickle"] == {"kernel": "small"}
    assert [entry["fickle"].get("about") for entry in result["results"]] == [None, None, {"kernel": "large"}]


def test_table_names_the_contestants(path, capsys):
    pytest.importorskip("torch")
    assert cli.main(["bench", str(path), "--batch", "2", "--threads", "1", "--against", "torch"]) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["2", "gxnor"] in lines and ["2", "torch"] in lines and ["2", "torch-compiled"] in lines


def test_the_engine_explains_itself(path, capsys):
    file.save(programs.cifar(width=24), path)
    call = ["bench", str(path), "--batch", "2", "--threads", "1", "--explain"]
    assert cli.main([*call, "--kernel", "winograd4"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("%")]
    assert "input" in lines[0] and any("product, Winograd" in line for line in lines)
    assert sum(float(line.split()[-1].strip("%")) for line in lines) == pytest.approx(100, abs=1)
    assert cli.main([*call, "--kernel", "direct", "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["results"][0]["steps"]
    assert not any("Winograd" in step["step"] for step in steps) and steps[-1]["step"] == "scale"


def test_an_instruction_set_is_forced(path, capsys):
    call = ["bench", str(path), "--batch", "1", "--threads", "1", "--json", "--isa"]
    assert cli.main([*call, "portable"]) == 0
    assert json.loads(capsys.readouterr().out)["contestants"]["gxnor"]["isa"] == "portable"
    assert cli.main([*call, "avx1024"]) == 2
    assert "portable" in capsys.readouterr().err and "avx1024" not in capsys.readouterr().out


def test_wrong_calls_are_refused(path, capsys):
    assert cli.main(["bench", str(path), "--against", "abacus"]) == 2
    assert "torch" in capsys.readouterr().err
    with pytest.raises(GxnorError, match="positive"):
        bench.bench(path, [0], 1, [])
    with pytest.raises(GxnorError, match="positive"):
        bench.bench(path, [1], 0, [])


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino"])
@pytest.mark.parametrize("network", [programs.mnist, programs.residual, programs.one_d, programs.u_net])
def test_competitors_run_a_network_of_the_same_shape(name, network):
    for package in {"torch", name}:
        pytest.importorskip(package)
    program = network()
    x = programs.batch(program, 3)
    logits = {}
    for form, (run, about) in competitors.find(name).build(program, x, 1).items():
        if form == "torch-compiled":  # takes half a minute
            continue
        logits[form] = np.array(np.asarray(run()))  # a copy: the next run may write there
        assert logits[form].shape == (3, *program.values[-1].shape) and about["threads"] == 1
        np.testing.assert_array_equal(np.asarray(run()), logits[form])  # a run leaves its input as it was
    expected = np.asarray(competitors.find("torch").build(program, x, 1)["torch"][0]())
    np.testing.assert_allclose(logits[name], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_competitors_want_one_output(tmp_path, capsys):
    pytest.importorskip("torch")
    programs.two_heads().save(tmp_path / "net.gxnor")
    assert cli.main(["bench", str(tmp_path / "net.gxnor"), "--against", "torch"]) == 2
    assert "a network with one output, got head 1, head 2, head 3" in capsys.readouterr().err


def test_a_missing_package_is_named(path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "benchmarks.competitors.openvino", raising=False)
    assert cli.main(["bench", str(path), "--against", "openvino"]) == 2
    assert (
        "--against openvino needs the package openvino: pip install openvino onnx onnxruntime"
        in capsys.readouterr().err
    )


needs_larq = pytest.mark.skipif(not os.environ.get("GXNOR_LARQ_PYTHON"), reason="GXNOR_LARQ_PYTHON is not set")


@needs_larq
def test_larq_computes_a_binary_program(path):
    """Exactly, where nothing is padded and no sign is negative; logits are the integer sums here."""
    program, layers = programs.mnist(0, 0), []
    for layer in program.layers:
        if isinstance(layer, Threshold):
            layer = dataclasses.replace(layer, sign=np.ones_like(layer.sign))
        if isinstance(layer, Scale):
            layer = dataclasses.replace(layer, scale=np.ones_like(layer.scale), bias=np.zeros_like(layer.bias))
        layers.append(layer)
    program = Program(program.input, tuple(layers), program.classes)
    x = programs.batch(program, 5)
    run, about = competitors.find("larq").build(program, x, 2)["larq"]
    np.testing.assert_array_equal(run(), reference.run(program, x))
    assert run.seconds(3) > 0 and about["threads"] == 2


@needs_larq
def test_larq_runs_what_is_padded_and_added(path, capsys):
    file.save(programs.residual(), path)
    assert cli.main(["bench", str(path), "--batch", "1", "2", "--threads", "1", "--against", "larq"]) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["1", "larq"] in lines and ["2", "larq"] in lines


def test_larq_says_what_it_needs(path, capsys, monkeypatch):
    monkeypatch.delenv("GXNOR_LARQ_PYTHON", raising=False)
    file.save(programs.mnist(), path)
    call = ["bench", str(path), "--against", "larq"]
    assert cli.main(call) == 2
    assert "pip install larq larq-compute-engine tensorflow-cpu tf-keras" in capsys.readouterr().err
    monkeypatch.setenv("GXNOR_LARQ_PYTHON", str(path.parent / "python"))
    assert cli.main(call) == 2
    assert "No such file" in capsys.readouterr().err
    monkeypatch.setenv("GXNOR_LARQ_PYTHON", sys.executable)
    assert cli.main(call) == 2
    assert "No module named 'larq'" in capsys.readouterr().err
    file.save(programs.one_d(), path)
    assert cli.main(call) == 2
    assert "images" in capsys.readouterr().err
