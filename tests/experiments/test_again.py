"""Runs that went on from others: what is stored of them, and the commands that make them again."""

import json

import pytest

from experiments.again import folder, stages, whole
from gxnor.errors import GxnorError
from gxnor.training.loop import export_run, train


@pytest.fixture
def two(tiny, tmp_path):
    """A run of two epochs and one of an epoch that started from its exported network."""
    first, second, network = tmp_path / "first", tmp_path / "second", tmp_path / "first.gxnor"
    train(tiny("train.epochs=2"), first)
    export_run(first).save(network)
    train(tiny("train.epochs=1", f"train.start={network}"), second)
    return first, second, network


def test_a_run_in_stages_is_stored_whole(two, tmp_path):
    first, second, network = two
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps(whole(first, None)))
    one, both = whole(first, None), whole(second, stored)
    alone = json.loads((second / "result.json").read_text())
    assert one["epochs"] == 2 and both["epochs"] == 3 and both["best_epoch"] == 3
    assert both["seconds"] == one["seconds"] + alone["seconds"] and both["test_accuracy"] == alone["test_accuracy"]
    assert both["before"] == [one["settings"]] and "before" not in one
    begin, export, go_on = stages(both, "1")
    assert stages(one, "1") == [begin] and begin.startswith("gxnor train digits --seed 1 --set ")
    assert export == f"gxnor export {folder(one, '1')} -o {network}"
    assert f"--set train.start={network}" in go_on and go_on.endswith(f" --out {folder(both, '1')}")
    assert folder(one, "1") == "runs/digits-seed1" and folder(both, "1") == "runs/digits-seed1-stage2"


def test_a_run_that_started_from_a_folder_needs_no_export(two):
    settings = whole(two[0], None)["settings"]
    later = {**settings, "train": {**settings["train"], "start": "runs/before"}}
    begin, go_on = stages({"before": [settings], "settings": later}, "1")
    assert begin.endswith(" --out runs/before") and "--set train.start=runs/before" in go_on
    assert go_on.endswith(" --out runs/digits-seed1-stage2")


def test_what_a_run_started_from_is_asked_for(two, tmp_path):
    first, second, network = two
    with pytest.raises(
        GxnorError, match=f"started from {network}: expected --after with the stored result of {network}"
    ):
        whole(second, None)
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps(whole(first, None)))
    stored.write_text(json.dumps(whole(second, stored)))
    with pytest.raises(GxnorError, match="is the result of this run itself: expected that of the run that"):
        whole(second, stored)
    stored.write_text(json.dumps({"settings": {"network": {"layers": "10"}}}))
    with pytest.raises(GxnorError, match="is the result of another network: expected that of the run that"):
        whole(second, stored)
    with pytest.raises(GxnorError, match="started from random states: expected no --after"):
        whole(first, tmp_path / "stored.json")
    with pytest.raises(GxnorError, match=r"has no result\.json: let the run end first"):
        whole(tmp_path, None)
