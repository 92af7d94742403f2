"""The runs of a study: their recipes, folders and commands, and what one of them does in a process of its own."""

from __future__ import annotations

import contextlib
import json
import multiprocessing.connection
import os
import re
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments import operations
from experiments.definitions import Form, Point
from gxnor.errors import GxnorError
from gxnor.training import recipes
from gxnor.training.build import load_data, load_network
from gxnor.training.loop import train
from gxnor.training.recipe import Recipe
from gxnor.training.runfolder import RunFolder, read_history

COUNTED = 64  # test images on which operations are counted


@dataclass(frozen=True, eq=False)
class Run:
    """One point with one seed, in a folder of its own below the study's."""

    point: Point
    seed: int
    recipe: Recipe
    command: str
    path: Path

    @property
    def log(self) -> Path:
        """Beside the folder; names have dots."""
        return self.path.with_name(self.path.name + ".log")

    @property
    def result(self) -> dict | None:
        """What the run has reached; None while it is not finished."""
        path = self.path / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def operations(self) -> dict | None:
        path = self.path / "operations.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def history(self) -> list[dict]:
        return read_history(self.path)


def plan(form: Form, seeds: int | None, folder: Path) -> list[Run]:
    """Every run of the form, seed by seed, so that a study that is stopped has seen every point. `seeds`: of all points;
    None: as many as the form and its points say."""
    runs = []
    for seed in range(1, (seeds or form.seeds) + 1):
        for number, point in enumerate(form.points, 1):
            if seed > (seeds or point.seeds or form.seeds):
                continue
            settings = [f"{key}={_toml(value)}" for key, value in {**form.settings, **point.settings}.items()]
            words = " ".join(f"--set {setting}" for setting in settings)
            name = f"{number:02d}-{re.sub('[^A-Za-z0-9.]+', '-', point.row).strip('-')}-seed{seed}"
            runs.append(Run(
                point, seed, recipes.load(form.recipe, [*settings, f"train.seed={seed}"]),
                f"gxnor train {form.recipe} --seed {seed} {words}", folder / "runs" / name,
            ))  # fmt: skip
    return runs


def _toml(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def work(run: Run, data_dir: Path | None, threads: int, count: bool) -> None:
    """Trains one run to its end and counts its operations, in a process that does nothing else. What it prints goes to
    a file beside the run's folder. Leaves with the exit code of `gxnor train`."""
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    log = os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(threads)
    try:
        train(run.recipe, run.path, data_dir=data_dir, resume=True, command=run.command)
        if count and run.operations is None:
            model, _, classes = load_network(run.path / "best.safetensors", run.recipe)
            images = load_data(run.recipe, data_dir).test_images[:COUNTED]
            counted = operations.count(model, run.recipe, images, classes)
            RunFolder(run.path, run.recipe, resume=True).write("operations.json", json.dumps(counted) + "\n")
    except (GxnorError, FloatingPointError, OSError) as error:
        print(f"gxnor: {error}", file=sys.stderr, flush=True)
        sys.exit(getattr(error, "exit_code", 1))


def _stop_with_parent() -> None:
    """Where the study is killed, its runs write their checkpoints and end, rather than go on without it."""
    if parent := multiprocessing.parent_process():
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def last_words(run: Run) -> str:
    """The last line of a run's log."""
    with contextlib.suppress(OSError, IndexError):
        return run.log.read_text(errors="replace").strip().splitlines()[-1]
    return "it left no message"
