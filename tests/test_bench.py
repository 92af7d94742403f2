import json

import numpy as np
import pytest

from gxnor import bench, cli, file, native
from gxnor.errors import GxnorError
from tests import programs

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


def test_table_names_the_contestants(path, capsys):
    pytest.importorskip("torch")
    assert cli.main(["bench", str(path), "--batch", "2", "--threads", "1", "--against", "torch"]) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["2", "gxnor"] in lines and ["2", "torch"] in lines


def test_wrong_calls_are_refused(path, capsys):
    assert cli.main(["bench", str(path), "--against", "abacus"]) == 2
    assert "torch" in capsys.readouterr().err
    with pytest.raises(GxnorError, match="positive"):
        bench.bench(path, [0], 1, [])
    with pytest.raises(GxnorError, match="positive"):
        bench.bench(path, [1], 0, [])


@pytest.mark.parametrize("network", [programs.mnist, programs.residual, programs.one_d])
def test_torch_runs_a_network_of_the_same_shape(network):
    torch_opponent = pytest.importorskip("gxnor.opponents.torch")
    program = network()
    run, about = torch_opponent.build(program, programs.batch(program, 3), 1)
    logits = run()
    assert logits.shape == (3, len(program.classes)) and about["threads"] == 1
    assert np.isfinite(logits.numpy()).all()
    np.testing.assert_array_equal(run().numpy(), logits.numpy())  # a run leaves its input as it was
