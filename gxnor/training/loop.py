"""The training loop, from a recipe to a finished run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from pathlib import Path

from gxnor.errors import GxnorError, WorkError
from gxnor.exporter import export
from gxnor.locking import alone_in
from gxnor.program import Program
from gxnor.training import checkpoint, distributed, recipes
from gxnor.training.build import load_network, pick_device, start_from
from gxnor.training.console import Console
from gxnor.training.evaluate import Evaluation, weight_summary
from gxnor.training.recipe import Recipe
from gxnor.training.report import page as report
from gxnor.training.result import make_result, save_worst
from gxnor.training.runfolder import RunFolder
from gxnor.training.trainer import Trainer

PATIENCE = 2.0  # seconds that a run being stopped is waited for: it writes its checkpoint
CHECKPOINT_SECONDS = float(os.environ.get("GXNOR_CHECKPOINT_SECONDS", "60"))


def train(recipe: Recipe, out: Path, *, data_dir: Path | None = None, resume: bool = False, command: str = "") -> dict:
    """Runs a recipe to its end and returns what `result.json` holds.

    Raises GxnorError for what the user can correct, and WorkError on Ctrl-C or SIGTERM, after writing the checkpoint."""
    with distributed.workers(pick_device(recipe.train.device)):
        return _train(recipe, out, data_dir, resume, command)


def _train(recipe: Recipe, out: Path, data_dir: Path | None, resume: bool, command: str) -> dict:
    """What every worker does. All take the same way; where only worker 0 acts, it is inside `on_first`, or in `save`."""
    with contextlib.ExitStack() as held:
        folder, result = distributed.on_first(lambda: _claim(held, out, recipe, resume))
        return result or _train_in(folder, recipe, data_dir, resume, command)


def _claim(held: contextlib.ExitStack, out: Path, recipe: Recipe, resume: bool) -> tuple[RunFolder, dict | None]:
    """The folder, `held` for this run alone, and the result of a finished run that there is nothing to add to."""
    if resume and (out / "result.json").exists():
        folder = RunFolder(out, recipe, resume)
        return folder, folder.read_result()
    held.enter_context(alone_in(out, "run", patience=PATIENCE if resume else 0.0))
    return RunFolder(out, recipe, resume), None


def _train_in(folder: RunFolder, recipe: Recipe, data_dir: Path | None, resume: bool, command: str) -> dict:
    trainer = distributed.in_turn(lambda: Trainer(recipe, data_dir))
    if recipe.train.start and not (resume and folder.checkpoint.exists()):
        distributed.in_turn(lambda: start_from(trainer.model, recipe.train.start, trainer.images))
    if state := distributed.on_first(lambda: _open(folder, recipe, resume)):
        trainer.load_state(state)
    distributed.check_equal(trainer.tensors())
    trainer.forward = distributed.replicate(trainer.forward)
    now = trainer.progress
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        checkpoint.save(folder.checkpoint, trainer.state())
        saved = time.monotonic()

    def stop() -> None:
        save()
        raise WorkError(f"stopped in epoch {now.epoch + 1}; go on with --resume")

    def keep(line: dict) -> None:
        folder.append_history(line)
        save()

    with Console(recipe, trainer, folder) as console:
        while now.epoch < recipe.train.epochs:
            for _ in trainer.steps():
                console.stepped()
                if distributed.any_of(console.stopping):
                    distributed.on_first(stop)
                if distributed.rank() == 0 and time.monotonic() - saved > CHECKPOINT_SECONDS:
                    save()
            line = trainer.finish_epoch(folder.best)
            distributed.on_first(functools.partial(keep, line))
            console.epoch(line)

    return distributed.on_first(lambda: _finish(trainer, folder, command))


def _open(folder: RunFolder, recipe: Recipe, resume: bool) -> dict | None:
    """Writes the recipe, and returns the state of the checkpoint to go on from, if there is one."""
    folder.create(recipe)
    state = checkpoint.load(folder.checkpoint) if resume and folder.checkpoint.exists() else None
    if state and "progress" not in state:
        raise WorkError(f"{folder.checkpoint} is not a checkpoint of a run, which holds its progress")
    folder.start_history(state["progress"]["epoch"] if state else 0)
    return state


def _finish(trainer: Trainer, folder: RunFolder, command: str) -> dict:
    """Reads the test set and writes what the run has reached."""
    summary = weight_summary(trainer.model, trainer.optimizer)
    test = trainer.test(folder.best)
    result = make_result(trainer, test, {**summary, **weight_summary(trainer.model, None)}, command)
    save_worst(folder.path / "worst.safetensors", trainer.dataset, test)
    folder.write_result(result)
    report.write(folder.path)
    return result


def test_run(path: Path, *, data_dir: Path | None = None) -> Evaluation:
    """The test set's scores of a run's best network. Raises GxnorError where the folder holds no run that has finished an
    epoch."""
    return Trainer(_recipe(path), data_dir).test(path / "best.safetensors")


def export_run(path: Path) -> Program:
    """A run's best network as an integer program. Raises GxnorError as `test_run` does, and where it cannot be one."""
    recipe = _recipe(path)
    program = export(*load_network(path / "best.safetensors", recipe))
    return dataclasses.replace(program, data=recipe.data.name)


def _recipe(path: Path) -> Recipe:
    if not path.exists():
        raise GxnorError(f"there is neither a file nor a folder {path}")
    if not (path / "recipe.toml").exists():
        raise GxnorError(f"{path} is not a run folder: recipe.toml is missing")
    if not (path / "best.safetensors").exists():
        raise GxnorError(
            f"the run in {path} has no network yet: it keeps the first one after its first epoch, or, where there are "
            "precision.activation_stages, after the first epoch of the last stage"
        )
    return recipes.load(str(path / "recipe.toml"))
