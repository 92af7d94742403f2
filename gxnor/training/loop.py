"""The training loop, from a recipe to a finished run folder."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

from gxnor.errors import GxnorError, WorkError
from gxnor.program import Program
from gxnor.training import checkpoint, report
from gxnor.training import recipe as recipes
from gxnor.training.console import Console
from gxnor.training.evaluate import Evaluation, weight_summary
from gxnor.training.export import to_program
from gxnor.training.recipe import Recipe
from gxnor.training.result import make_result, save_worst
from gxnor.training.runfolder import RunFolder
from gxnor.training.trainer import Trainer, load_network

CHECKPOINT_SECONDS = float(os.environ.get("GXNOR_CHECKPOINT_SECONDS", "60"))


def train(recipe: Recipe, out: Path, data_dir: Path | None = None, resume: bool = False, command: str = "") -> dict:
    """Runs a recipe to its end and returns what `result.json` holds.

    Raises GxnorError for what the user can mend, and WorkError, with the checkpoint written, on Ctrl-C or SIGTERM."""
    folder = RunFolder(out, recipe, resume)
    if resume and folder.result.exists():
        return folder.read_result()
    trainer = Trainer(recipe, data_dir)
    folder.create(recipe)
    if resume and folder.checkpoint.exists():
        trainer.load_state(checkpoint.load(folder.checkpoint))
    now = trainer.progress
    folder.start_history(now.epoch)
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        checkpoint.save(folder.checkpoint, trainer.state())
        saved = time.monotonic()

    with Console(recipe, trainer, folder) as console:

        def pause() -> None:
            if console.stopping:
                save()
                raise WorkError(f"stopped in epoch {now.epoch + 1}; go on with --resume")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save()

        while now.epoch < recipe.train.epochs:
            trainer.train_epoch(pause, console.stepped)
            line = trainer.finish_epoch(folder.best)
            folder.append_history(line)
            save()
            console.epoch(line)

    summary = weight_summary(trainer.model, trainer.optimizer)
    test = trainer.test(folder.best)
    result = make_result(trainer, test, {**summary, **weight_summary(trainer.model, None)}, command)
    save_worst(folder.path / "worst.safetensors", trainer.dataset, test)
    folder.write_result(result)
    report.write(folder.path)
    return result


def test_run(path: Path, data_dir: Path | None = None) -> Evaluation:
    """The test set's scores of a run's best network. Raises GxnorError where the folder holds no run that has finished an
    epoch."""
    return Trainer(_recipe(path), data_dir).test(path / "best.safetensors")


def export_run(path: Path) -> Program:
    """A run's best network as an integer program. Raises GxnorError as `test_run` does, and where it cannot be one."""
    recipe = _recipe(path)
    program = to_program(*load_network(path / "best.safetensors", recipe))
    return dataclasses.replace(program, data=recipe.data.name)


def _recipe(path: Path) -> Recipe:
    if not (path / "recipe.toml").exists():
        raise GxnorError(f"{path} is no run folder: recipe.toml is missing")
    return recipes.load(str(path / "recipe.toml"))
