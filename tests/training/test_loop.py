"""Whole runs: what they leave behind, that they can be stopped anywhere, and that wrong calls cost nothing."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from gxnor.errors import GxnorError, WorkError
from gxnor.program.ops import Threshold
from gxnor.training import checkpoint
from gxnor.training.build import load_network
from gxnor.training.loop import export_run, train
from gxnor.training.loop import test_run as evaluate_run
from gxnor.training.runfolder import read_history
from gxnor.training.trainer import Trainer
from tests.runs import final_tensors

SETTINGS = ["network.layers=16C3-MP2-64FC-10", "train.epochs=6", "train.batch=25", "data.validation=200"]
COMMAND = [sys.executable, "-m", "gxnor", "train", "digits", *(word for s in SETTINGS for word in ("--set", s))]


def without_time(line):
    return {key: value for key, value in line.items() if key != "seconds"}


def history(path):
    return [without_time(json.loads(line)) for line in (path / "history.jsonl").read_text().splitlines()]


def finish(trainer):
    """The steps of the epoch that are left."""
    for _ in trainer.steps():
        pass


def test_a_run_leaves_everything_the_contract_names(tiny, tmp_path):
    out = tmp_path / "run"
    result = train(tiny(), out)
    assert {p.name for p in out.iterdir()} == {
        "recipe.toml", "history.jsonl", "checkpoint.safetensors", "best.safetensors", "worst.safetensors", "result.json",
        "report.html",
    }  # fmt: skip
    assert json.loads((out / "result.json").read_text()) == result
    keys = ("recipe", "seed", "epochs", "seconds", "val_accuracy", "test_accuracy", "weights", "bits_per_weight",
            "train_state_bytes_per_weight", "zero_fraction")  # fmt: skip
    assert all(key in result for key in keys)
    assert result["weights"] == 8 * 9 + 8 * 16 * 32 + 320
    rows_and_columns, channels = (8 + 9) + (32 + 128) + (10 + 32), 8 + 32 + 10
    norms = channels * (2 + 2 + 4) * 4 + 3 * 8  # floats: weight and bias, statistics, moments; a count of batches each
    expected = (result["weights"] * (2 + 4) / 8 + 4 * rows_and_columns + norms) / result["weights"]
    assert result["train_state_bytes_per_weight"] == expected
    assert result["bits_per_weight"] == pytest.approx(1.6, abs=0.02)
    assert sum(map(sum, result["confusion"])) == 359
    assert evaluate_run(out).accuracy == result["test_accuracy"]
    lines = history(out)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    first, last = lines[0]["layers"][0], lines[0]["layers"][-1]
    assert first["name"] == "conv1" and 0 < first["flip_rate"] < 1 and 0 < first["zero_activations"] < 1
    assert sum(first["states"]) == pytest.approx(1) and len(first["states"]) == 3
    assert last["name"] == "fc3" and last["zero_activations"] is None
    assert result["val_accuracy"] == max(line["val_accuracy"] for line in lines)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tiny, tmp_path):
    train(tiny(), tmp_path / "a")
    train(tiny(), tmp_path / "b")
    train(tiny("train.seed=2"), tmp_path / "c")
    assert final_tensors(tmp_path / "a") == final_tensors(tmp_path / "b")
    assert final_tensors(tmp_path / "a") != final_tensors(tmp_path / "c")


@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
def test_resume_after_kill_9_ends_in_the_same_weights(tmp_path):
    environment = {**os.environ, "GXNOR_CHECKPOINT_SECONDS": "0.05"}
    subprocess.run([*COMMAND, "--out", tmp_path / "whole"], check=True, capture_output=True)
    out, kills = tmp_path / "killed", 0
    for delay in (0.3, 0.9, 1.4):
        process = subprocess.Popen([*COMMAND, "--out", out, "--resume"], env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (out / "checkpoint.safetensors").exists():
            time.sleep(0.01)
        time.sleep(delay)
        kills += process.poll() is None
        process.kill()
        process.wait()
    done = subprocess.run([*COMMAND, "--out", out, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert kills >= 1
    assert final_tensors(out) == final_tensors(tmp_path / "whole")
    assert history(out) == history(tmp_path / "whole")


@pytest.mark.parametrize("arithmetic, stages", [("float", []), ("integer", []), ("integer", [2])])
def test_resume_in_the_middle_of_an_epoch_is_exact(tiny, tmp_path, arithmetic, stages):
    """At every step of a run: what a trainer saves there and a fresh one loads goes on exactly."""
    settings = [f"train.arithmetic={arithmetic}", f"precision.activation_stages={stages}", "train.micro_batches=2"]
    settings += ["train.pack_saved_activations=true", "train.epochs=2", "augment.flip=true", "augment.rotate=5"]
    recipe = tiny(*settings, "optimizer.increment=sgd", "optimizer.norm_decay=0.1")

    def run(trainer, epochs):
        while trainer.progress.epoch < epochs:
            finish(trainer)
            trainer.finish_epoch(tmp_path / "best.safetensors")

    whole = Trainer(recipe)
    run(whole, 2)

    for stop_at in (0, 1, 7, 11):
        first = Trainer(recipe)
        for _ in itertools.islice(first.steps(), stop_at):
            pass
        checkpoint.save(tmp_path / "c.safetensors", first.state())
        second = Trainer(recipe)
        second.load_state(checkpoint.load(tmp_path / "c.safetensors"))
        run(second, 2)
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(
                torch.as_tensor(tensor.float()), torch.as_tensor(second.model.state_dict()[name].float())
            )


@pytest.mark.parametrize(
    "settings", [[], ["optimizer.increment=adam", "optimizer.counter=0"], ["precision.latent=true"]]
)
def test_integer_arithmetic_trains_as_float_arithmetic_does(tiny, settings):
    losses = []
    for arithmetic in ("float", "integer"):
        trainer = Trainer(tiny(f"train.arithmetic={arithmetic}", "train.gradient_bits=8", "train.epochs=1", *settings))
        finish(trainer)
        trainer._read_totals()
        losses.append(trainer.progress.loss_sum / trainer.progress.step)
        assert [what for _, what in trainer.arithmetic] == (["integer"] * 3 if arithmetic == "integer" else [])
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.03)


def test_a_network_scores_the_same_in_either_arithmetic(tiny, tmp_path):
    run, scores = train(tiny("train.arithmetic=integer", "train.epochs=2"), tmp_path / "run"), []
    for arithmetic in ("float", "integer"):
        test = Trainer(tiny(f"train.arithmetic={arithmetic}")).test(tmp_path / "run" / "best.safetensors")
        assert test.accuracy == run["test_accuracy"]
        scores.append(test.scores)
    assert torch.equal(*scores)


def test_what_trains_in_float_is_said(tmp_path, capsys):
    from gxnor.cli import main as cli

    settings = ["train.arithmetic=integer", "precision.activations=real", "network.layers=4C3-10", "train.epochs=1"]
    words = [word for setting in settings for word in ("--set", setting)]
    assert cli.main(["train", "digits", *words, "--out", str(tmp_path / "run")]) == 0
    assert "layer fc2 trains in float: its input is not small integers" in " ".join(capsys.readouterr().err.split())


def test_interrupt_saves_and_says_how_to_go_on(tmp_path):
    out = tmp_path / "run"
    command = [*COMMAND, "--out", out, "--epochs", "500"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (out / "history.jsonl").exists() or not (out / "history.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--resume" in errors.splitlines()[-1] and "Traceback" not in errors
    assert checkpoint.load(out / "checkpoint.safetensors")["progress"]["epoch"] >= 1


def test_an_existing_folder_is_refused_and_left_alone(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(GxnorError, match="--resume"):
        train(tiny(), tmp_path / "run")
    with pytest.raises(GxnorError, match="no run to resume"):
        train(tiny(), tmp_path / "run", resume=True)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]
    with pytest.raises(GxnorError, match="is a file"):
        train(tiny(), tmp_path / "run" / "mine.txt")


def test_norm_decay_holds_batch_norm_near_its_start_but_for_the_scores(tiny):
    def distances(decay):
        trainer = Trainer(tiny(f"optimizer.norm_decay={decay}", "optimizer.lr=0.5", "optimizer.lr_end=0.5"))
        finish(trainer)
        norms = [
            module
            for module in trainer.model.modules()
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
        ]
        return [max(norm.bias.abs().max().item(), (norm.weight - 1).abs().max().item()) for norm in norms]

    *free, scores_free = distances(0.0)
    *held, scores = distances(1.0)
    assert all(a > 2 * b for a, b in zip(free, held, strict=True)), (free, held)
    assert scores > scores_free / 2


def test_resume_with_another_recipe_is_refused(tiny, tmp_path):
    result = train(tiny("train.epochs=1", "optimizer.lr=0.1"), tmp_path / "run")
    with pytest.raises(GxnorError, match=r"optimizer\.lr = 0\.1, not 0\.2"):
        train(tiny("train.epochs=1", "optimizer.lr=0.2"), tmp_path / "run", resume=True)
    again = train(tiny("train.epochs=1", "optimizer.lr=0.1"), tmp_path / "run", resume=True)
    assert again == result  # finished: nothing to do


def test_a_full_disk_is_one_line_and_loses_nothing(tiny, tmp_path, monkeypatch, capsys):
    from gxnor.cli import main as cli

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", str(tmp_path / "run" / "checkpoint.safetensors.tmp"))

    out = tmp_path / "run"
    arguments = ["train", "digits", *(w for s in SETTINGS for w in ("--set", s)), "--epochs", "2", "--out", str(out)]
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", full)
        assert cli.main(arguments) == 1
    assert "No space left" in capsys.readouterr().err.splitlines()[-1]
    assert cli.main([*arguments, "--resume"]) == 0


def test_a_grown_batch_is_that_many_batches_in_one_step(tiny):
    """In the last epoch, a batch grown from 50 to 150 images and one of 150 in three parts are the same step."""
    runs = []
    for settings in (
        ["train.batch=50", "train.batch_growth=3"],
        ["train.batch=150", "train.micro_batches=3", "train.batch_growth=1"],
    ):
        trainer = Trainer(tiny(*settings, "train.epochs=2"))
        trainer.progress.epoch = 1
        assert (trainer.batch, trainer.parts) == (150, 3)
        finish(trainer)
        runs.append([t.tolist() for t in trainer.tensors()])
    assert runs[0] == runs[1]


def test_impossible_sizes(tiny):
    for settings, words in (
        (["train.batch=5000"], "train.batch"),
        (["train.batch=1", "train.batch_growth=1"], "train.batch is 1, expected a multiple of 1 .*, and more than it"),
        (["train.batch=500", "train.batch_growth=10"], "train.batch is 500, and train.batch_growth 10, but only"),
        (["data.validation=5000"], "data.validation"),
        (["network.layers=8C3-9"], "9 outputs"),
        (["network.layers=8C9-10", "network.padding=valid"], "too small"),
    ):
        with pytest.raises(GxnorError, match=words):
            Trainer(tiny(*settings))


@pytest.mark.parametrize(
    "weights, activations, latent",
    [("real", "real", "false"), (0, "real", "false"), (1, "real", "false"), (0, 0, "false"), (1, 1, "true"),
     (2, 3, "false"), (6, 6, "false"), (0, 2, "true")],
)  # fmt: skip
def test_every_special_case_trains_by_settings_alone(tiny, weights, activations, latent, tmp_path):
    rate = "optimizer.lr=0.01" if weights == "real" or latent == "true" else "optimizer.lr=0.1"
    recipe = tiny(f"precision.weights={weights}", f"precision.activations={activations}", f"precision.latent={latent}",
                  "train.epochs=20", "train.batch=50", "train.recalibration_batches=5", rate)  # fmt: skip
    result = train(recipe, tmp_path / "run")
    assert result["test_accuracy"] > 0.6  # chance is 0.1
    _, shape, classes = load_network(tmp_path / "run" / "best.safetensors", recipe)
    assert shape == (1, 8, 8) and len(classes) == 10
    if weights != "real" and latent == "false":
        assert result["train_state_bytes_per_weight"] <= 2  # at most a byte for 65 states, a bit, and what is real


def test_stages_of_activations_end_in_the_network_that_the_recipe_names(tiny, tmp_path):
    result = train(tiny("precision.activation_stages=[3,2]"), tmp_path / "staged")
    train(tiny("precision.activations=3"), tmp_path / "nine levels")
    assert history(tmp_path / "staged")[0] == history(tmp_path / "nine levels")[0]
    assert result["best_epoch"] == 3  # of three, and the only one of the last stage
    (tmp_path / "nine levels" / "best.safetensors").unlink()  # as before the last stage
    with pytest.raises(GxnorError, match=r"has no network yet: .* after the first epoch of the last stage"):
        evaluate_run(tmp_path / "nine levels")
    thresholds = [layer for layer in export_run(tmp_path / "staged").layers if isinstance(layer, Threshold)]
    assert [layer.space.N for layer in thresholds] == [1, 1]


def test_a_run_starts_from_the_best_network_of_another(tiny, tmp_path):
    first, second = tmp_path / "more levels", tmp_path / "ternary"
    train(tiny("precision.activations=3"), first)
    still = [f"train.start={first}", "optimizer.lr=1e-12", "optimizer.lr_end=1e-12", "train.epochs=1"]
    train(tiny(*still), second)
    before, after = (checkpoint.load(run / "best.safetensors")["model"] for run in (first, second))
    packed = [key for key, value in before.items() if isinstance(value, dict)]
    assert len(packed) == 3 and all(torch.equal(after[key]["packed"], before[key]["packed"]) for key in packed)
    (second / "result.json").unlink()
    shutil.rmtree(first)
    train(tiny(*still), second, resume=True)  # stands on its own from then on


def test_a_run_starts_from_an_exported_network(tiny, tmp_path):
    first = train(tiny("train.epochs=15"), tmp_path / "first")
    export_run(tmp_path / "first").save(tmp_path / "first.gxnor")
    still = "optimizer.lr=1e-12", "optimizer.lr_end=1e-12", "train.epochs=1"
    second = train(tiny(f"train.start={tmp_path / 'first.gxnor'}", *still), tmp_path / "second")
    before, after = (checkpoint.load(tmp_path / run / "best.safetensors")["model"] for run in ("first", "second"))
    packed = [key for key, value in before.items() if isinstance(value, dict)]
    assert len(packed) == 3 and all(torch.equal(after[key]["packed"], before[key]["packed"]) for key in packed)
    assert second["test_accuracy"] == pytest.approx(first["test_accuracy"], abs=0.05) and first["test_accuracy"] > 0.7


def test_what_a_run_cannot_start_from_is_said_before_anything_is_written(tiny, tmp_path):
    train(tiny("network.layers=8C3-MP2-10"), tmp_path / "other")
    export_run(tmp_path / "other").save(tmp_path / "other.gxnor")
    (tmp_path / "broken.gxnor").write_bytes(b"12345678")
    for start, words in (
        (tmp_path / "nowhere", "expected the folder of a run with a finished epoch or a .gxnor file"),
        (tmp_path / "other", "another network"),
        (tmp_path / "other.gxnor", "of another network: expected"),
        (tmp_path / "broken.gxnor", "broken.gxnor"),
        (tmp_path / "missing.gxnor", "missing.gxnor"),
        ("unheard-of", "there is no file 'unheard-of', nor a network of that name"),
        ("mnist", "of another network: expected"),
    ):
        with pytest.raises(GxnorError, match=words):
            train(tiny(f"train.start={start}"), tmp_path / "run")
        assert not (tmp_path / "run" / "recipe.toml").exists()


def test_restart_search_runs_and_goes_back_to_the_best(tiny, tmp_path):
    recipe = tiny("train.epochs=2", "optimizer.lr=1e-12", "optimizer.lr_end=1e-12", "train.restart_patience=1",
                  "train.restart_share=0.25")  # fmt: skip
    trainer = Trainer(recipe)
    best = tmp_path / "best.safetensors"
    finish(trainer)
    trainer.finish_epoch(best)
    before = trainer.model.conv1.weight.indices()
    trainer.progress.best_accuracy = 2.0  # nothing can improve now
    finish(trainer)
    trainer.finish_epoch(best)
    moved = (trainer.model.fc3.weight.indices() != load_network(best, recipe)[0].fc3.weight.indices()).float().mean()
    # A ternary weight meets a random state 0, 1 or 2 steps away with probability 1/3, 4/9 and 2/9.
    assert moved.item() == pytest.approx(0.25 * 4 / 9 + 0.5 * 2 / 9, abs=0.05)
    assert trainer.progress.waited == 0
    assert before.shape == trainer.model.conv1.weight.shape


def test_damaged_checkpoints_are_named(tiny, tmp_path):
    recipe = tiny("train.epochs=1")
    train(recipe, tmp_path / "run")
    path = tmp_path / "run" / "best.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(GxnorError, match=r"best\.safetensors"):
            evaluate_run(tmp_path / "run")
    path.write_bytes(whole)
    tree = checkpoint.load(path)
    tree["model"]["conv1.weight"]["packed"][0] = 255  # no ternary states
    checkpoint.save(path, tree)
    with pytest.raises(WorkError, match=r"damaged: conv1\.weight: packed states hold an index beyond"):
        evaluate_run(tmp_path / "run")
    path.write_bytes((tmp_path / "run" / "checkpoint.safetensors").read_bytes())
    with pytest.raises(WorkError, match="holds no network: it lacks classes, input_shape"):
        load_network(path, recipe)
    path.write_bytes(whole)
    with pytest.raises(GxnorError, match="another network"):
        load_network(path, tiny("network.layers=9C3-MP2-32FC-10"))
    with pytest.raises(GxnorError, match="another network"):
        load_network(path, tiny("precision.weights=2"))


def test_tensorboard_is_written_where_asked_for(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    train(tiny("train.epochs=1", "train.tensorboard=true"), tmp_path / "run")
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_work_errors_leave_with_code_1_and_wrong_calls_with_2():
    assert (WorkError.exit_code, GxnorError.exit_code) == (1, 2)


@pytest.mark.parametrize("setting", ["bfloat16", pytest.param("compile", marks=pytest.mark.slow)])
def test_options_for_a_gpu_train_on_the_cpu_too(setting, tiny, tmp_path):
    recipe = tiny(f"train.{setting}=true", "train.epochs=8", "train.batch=50")
    assert train(recipe, tmp_path / "run")["test_accuracy"] > 0.4  # chance is 0.1


def test_a_line_of_history_that_is_being_written_does_not_count(tmp_path):
    assert read_history(tmp_path) == []
    (tmp_path / "history.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert read_history(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
