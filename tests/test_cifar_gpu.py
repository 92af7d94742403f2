"""The GPU script in miniature: pieces on the CPU, on small images."""

import json

import pytest

from tests.scripts import load

SMALL = ["data.name=digits", "data.validation=200", "network.layers=8C3-MP2-16FC-10", "augment.shift=1",
         "train.epochs=12", "train.batch=50", "train.batch_growth=2", "train.recalibration_batches=2",
         "train.compile=false"]  # fmt: skip


@pytest.fixture(scope="module")
def script():
    return load("cifar_gpu")


def test_a_run_in_pieces_ends_as_one_in_one_piece(script, tmp_path):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert script.piece(script.command("gxnor", 1, whole, None, SMALL), 10) == 0
    arguments = script.command("gxnor", 1, pieces, None, SMALL)
    assert script.piece(arguments, 1e-4) == script.GO_ON  # not even started
    codes, minutes = [], 0.04
    while not codes or codes[-1] == script.GO_ON:
        codes.append(script.piece(arguments, minutes))
        minutes *= 1.5
    assert codes[-1] == 0

    def lines(path):
        rows = [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

    assert lines(pieces) == lines(whole)
    assert script.piece(arguments, 10) == 0  # finished: nothing to do


@pytest.mark.parametrize("network", ["gxnor-adam", "full", "latent"])
def test_the_twins_train_too(script, network, tmp_path):
    out = tmp_path / "run"
    assert script.piece(script.command(network, 1, out, None, [*SMALL, "train.epochs=2"]), 10) == 0
    assert json.loads((out / "result.json").read_text())["bits_per_weight"] == pytest.approx(
        32 if network == "full" else 1.6, 0.05
    )


def test_wrong_settings_are_not_tried_again(script, tmp_path):
    assert script.piece(script.command("gxnor", 1, tmp_path / "run", None, ["train.epochs=0"]), 10) == 2
