"""How long a study will take: from its runs that are done, and from a few timed steps of the others."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path

import torch

from experiments.runs import Run
from gxnor.training.trainer import Trainer

STEPS = 3  # timed, after one that is not


def seconds_a_run(runs: list[Run], data_dir: Path | None, threads: int) -> dict[Run, float]:
    """Estimated seconds of every run from its first epoch to its last, on that many threads.

    Runs that do the same work (the same network, data, batch and kinds of precision) cost the same: one of each kind is
    looked at. Raises GxnorError where a recipe does not fit its data."""
    known: dict[tuple, list[float]] = {}
    for run in runs:
        if result := run.result:
            known.setdefault(_kind(run), []).append(result["seconds"])
    torch.set_num_threads(threads)
    for run in runs:
        if _kind(run) not in known:
            known[_kind(run)] = [_measure(run, data_dir)]
    return {run: statistics.median(known[_kind(run)]) for run in runs}


def _kind(run: Run) -> tuple:
    """What decides the cost of a run."""
    recipe = run.recipe
    precision = recipe.precision
    return (
        recipe.data.name, recipe.data.train, recipe.network.layers, recipe.network.width, recipe.network.padding,
        recipe.train.batch, recipe.train.epochs, recipe.train.compile, recipe.optimizer.increment,
        precision.weights == "real", precision.activations == "real", precision.latent,
    )  # fmt: skip


def _measure(run: Run, data_dir: Path | None) -> float:
    trainer = Trainer(run.recipe, data_dir)
    times = [time.perf_counter()]
    try:
        for _ in trainer.steps():
            times.append(time.perf_counter())
            if len(times) == STEPS + 2:
                break
    except FloatingPointError:
        times.append(time.perf_counter())  # the run itself will tell
    steps = [after - before for before, after in pairwise(times)]
    step = statistics.median(steps[1:] or steps)
    images = len(trainer.val_images) + run.recipe.train.recalibration_batches * run.recipe.train.batch
    evaluation = step * images / (3 * run.recipe.train.batch)  # a forward pass is a third of a step
    return run.recipe.train.epochs * (trainer.steps_per_epoch * step + evaluation)
