"""`python -m experiments NAME`: runs what is missing of a study, and writes its JSON, table and picture after every run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from rich.console import Console

from experiments import pictures, pool
from experiments.definitions import Form, Study, find
from experiments.estimate import seconds_a_run
from experiments.runs import Run, plan
from experiments.summary import summarise
from experiments.table import provenance, table
from gxnor.errors import GxnorError
from gxnor.locking import alone_in, is_empty
from gxnor.training.report.page import duration
from gxnor.writing import write_text


def study(
    name: str, quick: bool, data: str | None, seeds: int | None, jobs: int | None, out: Path | None,
    data_dir: Path | None, resume: bool,
) -> dict:  # fmt: skip
    """Returns what `study.json` holds.

    Raises GxnorError for what the user can mend, and WorkError where runs were stopped or have failed."""
    found = find(name)
    form = found.form(quick, data)
    for value, option in ((seeds, "--seeds"), (jobs, "--jobs")):
        if value is not None and value < 1:
            raise GxnorError(f"{option} must be at least 1, got {value}")
    jobs = jobs or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    suffix = "-quick" if quick else "" if form is found.full else f"-{form.recipe}"
    out = out or Path("runs") / f"study-{name}{suffix}"
    command = f"python -m experiments {name}" + (" --quick" if quick else f" --data {data}" if data else "")
    command += f" --seeds {seeds}" if seeds else ""
    with alone_in(out, "study"):
        _check(out, resume, {"study": name, "form": "quick" if quick else "full", "data": form.recipe})
        return _run(found, form, quick, plan(form, seeds, out), jobs, out, data_dir, command)


def _run(
    found: Study, form: Form, quick: bool, runs: list[Run], jobs: int, out: Path, data_dir: Path | None, command: str
) -> dict:
    waiting = [run for run in runs if run.result is None or (found.operations and run.operations is None)]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    seconds = seconds_a_run(runs, data_dir, threads)
    left = sum(seconds[run] * (1 - len(run.history) / run.recipe.train.epochs) for run in waiting)
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    console.print(
        f"{len(waiting)} of {len(runs)} runs to go, {min(jobs, max(len(waiting), 1))} at a time: about "
        f"{duration(left / max(1, min(jobs, len(waiting))))}"
    )

    def write() -> dict:
        summary = summarise(found, form, quick, runs, command)
        write_text(out / "study.json", json.dumps(summary, indent=1) + "\n")
        return summary

    write()
    pool.run_all(waiting, seconds, jobs, threads, data_dir, found.operations, write)
    summary = write()
    write_text(out / "table.md", f"{table(summary)}\n\n{provenance(summary)}\n")
    pictures.draw(summary, out / "picture.png")
    print(f"{summary['title']}\n\n{table(summary)}\n\n{out}/study.json, table.md, picture.png")
    return summary


def _check(out: Path, resume: bool, what: dict) -> None:
    """Raises GxnorError where the folder is taken, or holds another study."""
    if is_empty(out):
        return
    if not resume:
        raise GxnorError(f"{out} is there already; go on with --resume, or give another folder with --out")
    try:
        stored = json.loads((out / "study.json").read_text(encoding="utf-8"))
        there = {key: stored[key] for key in what}
    except (OSError, ValueError, KeyError, TypeError):
        raise GxnorError(
            f"{out} holds no study to resume: study.json is missing or damaged; give another folder"
        ) from None
    if there != what:
        raise GxnorError(
            f"{out} holds the {there['form']} form of {there['study']} on {there['data']}; give another folder"
        )
