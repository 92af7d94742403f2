"""What `gxnor memory` says of a training step."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gxnor.cli.main import main
from gxnor.cli.memory import parse_size
from gxnor.errors import WorkError
from gxnor.training import recipes
from gxnor.training.memory import measure as measuring
from gxnor.training.memory.measure import measure
from gxnor.training.memory.predict import predict, twin, widest, with_width

SMALL = [
    "network.layers=8C3-MP2-32FC-10",
    "train.batch=40",
    "train.batch_growth=1",
    "train.pack_saved_activations=true",
]
WEIGHTS = 8 * 9 + 8 * 9 * 32 + 32 * 10  # of SMALL on the digits' 8 x 8 pixels, valid padding


def test_what_is_held_by_count():
    recipe = recipes.load("digits", [*SMALL, "network.padding=valid"])
    ours, theirs = predict(recipe, (1, 8, 8)), predict(twin(recipe), (1, 8, 8))
    channels, vectors = 8 + 32 + 10, (8 + 9) + (32 + 72) + (10 + 32)
    norms = channels * (2 + 2) * 4 + 3 * 8
    assert ours.total("weights") == WEIGHTS // 4 + norms
    assert theirs.total("weights") == WEIGHTS * 4 + norms
    assert ours.total("optimizer") == WEIGHTS // 2 + 4 * vectors + 2 * 2 * 4 * channels
    assert theirs.total("optimizer") == 8 * WEIGHTS + 2 * 2 * 4 * channels
    assert ours.total("gradients") == 2 * 4 * channels  # of real parameters alone
    assert theirs.total("gradients") == 4 * WEIGHTS + 2 * 4 * channels
    assert ours.activations(64) == pytest.approx(2 * ours.activations(32), rel=0.05)
    assert ours.activations(64) < theirs.activations(64) / 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("arithmetic", ["float", "integer"])
def test_the_predicted_peak_is_the_measured_one(arithmetic):
    for growth in (1, 32):  # between the parts of a grown batch, all gradients wait
        settings = [f"train.batch_growth={growth}", "train.pack_saved_activations=true"]
        recipe = recipes.load("mnist", [*settings, f"train.arithmetic={arithmetic}"])
        measured = measure(recipe, (1, 28, 28))
        assert predict(recipe, (1, 28, 28)).peak(recipe.train.batch) == pytest.approx(measured["peak"], rel=0.1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize(
    "settings",
    [["train.arithmetic=float"], [], ["train.pack_saved_activations=false"], ["precision.shortcuts=5"]],
)
def test_the_predicted_peak_of_a_residual_network_is_the_measured_one(settings):
    recipe = recipes.load("cifar10-resnet20", ["network.layers=16C3-2x16R3-32D3-AP-10", *settings])
    measured = measure(recipe, (3, 32, 32))
    assert predict(recipe, (3, 32, 32)).peak(recipe.train.batch) == pytest.approx(measured["peak"], rel=0.1)


def test_a_run_with_stages_holds_what_its_first_one_does():
    staged, nine, three = (
        predict(recipes.load("digits", [*SMALL, *settings]), (1, 8, 8)).activations(40)
        for settings in (["precision.activation_stages=[3,2]"], ["precision.activations=3"], [])
    )
    assert staged == nine > three


def test_the_largest_batch_is_the_largest():
    prediction = predict(recipes.load("digits", SMALL), (1, 8, 8))
    for budget in (5e6, 1e7, 1e8):
        batch = prediction.largest_batch(budget)
        assert prediction.peak(batch) <= budget < prediction.peak(batch + 1)
    assert prediction.largest_batch(100) == 0


@pytest.mark.parametrize("settings", [SMALL, [*SMALL, "train.pack_saved_activations=true", "network.width=2.0"]])
def test_the_widest_network_takes_the_budget(settings):
    recipe, shape = recipes.load("digits", settings), (1, 8, 8)
    for budget in (5e6, 2e7):
        width = widest(recipe, shape, budget)
        assert predict(with_width(recipe, width), shape).peak(recipe.train.batch) == pytest.approx(budget, rel=0.03)
    assert widest(recipe, shape, 1e6) == 0  # less than the kernels take


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process is read from /proc")
def test_the_command_prints_json_and_what_fits(capsys):
    settings = [word for s in SMALL for word in ("--set", s)]
    assert main(["memory", "digits", *settings, "--batch", "16", "--budget", "20MB", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["batch"] == 16 and result["budget"] == 20_000_000
    for side in (result["gxnor"], result["twin"]):
        assert side["predicted_peak"] > 0 and side["measured"]["peak"] > 0 and side["largest_batch"] > 16
        assert side["largest_width"] > 1
        for what, total in side["total"].items():
            assert total == sum(layer[what] for layer in side["layers"])
    assert result["gxnor"]["largest_batch"] > result["twin"]["largest_batch"]


def test_what_does_not_fit_in_memory_is_predicted_and_not_tried(capsys, monkeypatch):
    monkeypatch.setattr(measuring, "available", lambda device: 1_000_000)
    monkeypatch.setattr(measuring, "measure", None)
    settings = [word for s in SMALL for word in ("--set", s)]
    assert main(["memory", "digits", *settings]) == 0
    assert "MB predicted, not measured, for 1.0 MB are free" in capsys.readouterr().out


def test_a_measurement_that_fails_takes_no_prediction_with_it(capsys, monkeypatch):
    def fail(recipe, shape):
        raise WorkError("the measured training step did not end well: killed")

    monkeypatch.setattr(measuring, "measure", fail)
    settings = [word for s in SMALL for word in ("--set", s)]
    assert main(["memory", "digits", *settings, "--budget", "1KiB"]) == 0
    out = capsys.readouterr().out
    assert out.count("MB predicted, not measured: the measured training step did not end well: killed") == 2
    assert out.count("in 0.001024 MB: nothing fits") == 2 and "a batch of 0" not in out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_measuring_process_ends_with_the_one_that_started_it(number):
    command = [sys.executable, "-m", "gxnor", "memory", "digits", "--batch", "1000", "--set", "network.width=4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():
        assert process.poll() is None
        time.sleep(0.02)
    child = Path(f"/proc/{children.read_text().split()[0]}/stat")
    process.send_signal(number)
    process.wait()
    deadline = time.monotonic() + 60
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("width", ["1e5", "1e9", "1e300"])
def test_a_width_beyond_all_memory_is_a_wrong_call(width, capsys, tmp_path):
    for command in (["memory", "digits"], ["train", "digits", "--out", str(tmp_path / "run")]):
        assert main([*command, "--set", f"network.width={width}"]) == 2
        assert "makes a layer of more than 2,147,483,647 weights" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "text, size", [("2GiB", 2**31), ("500MB", 500_000_000), ("1000000", 10**6), ("1.5K", 1500), ("3 kib", 3072)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "arguments",
    [
        ["--budget", "much"],
        ["--budget", "0"],
        ["--budget", "-1"],
        ["--budget", "1e9"],
        ["--batch", "0"],
        ["--set", "a=1"],
    ],
)
def test_a_wrong_call_is_told_so(arguments, capsys):
    assert main(["memory", "digits", *arguments]) == 2
    assert capsys.readouterr().err.startswith("gxnor: ")
