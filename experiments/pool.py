"""Runs several runs at a time, each in a process of its own, with one bar over all of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.runs import Run, last_words, work
from gxnor.errors import WorkError


def run_all(
    waiting: list[Run], seconds: dict[Run, float], jobs: int, threads: int, data_dir: Path | None, count: bool,
    finished: Callable[[], None],
) -> None:  # fmt: skip
    """Runs what is in `waiting`; `finished()` follows each run's end.

    Raises WorkError on Ctrl-C and SIGTERM, with every run's checkpoint written, and after the last run where some have
    failed."""
    context = _context()
    terminal = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rate]}"), TextColumn("left"), TimeRemainingColumn(compact=True),
        console=terminal, disable=not terminal.is_terminal, transient=True, speed_estimate_period=600,
    )  # fmt: skip
    queue, working, failed = list(waiting), {}, []
    epochs_before = {run: len(run.history) for run in waiting}
    task = bar.add_task("", total=sum(seconds[run] for run in waiting), rate="")
    started = time.monotonic()
    with _raising_on_sigterm(), bar:
        try:
            while queue or working:
                while queue and len(working) < jobs:
                    run = queue.pop(0)
                    run.path.parent.mkdir(parents=True, exist_ok=True)
                    process = context.Process(target=work, args=(run, data_dir, threads, count), name=run.path.name)
                    process.start()
                    working[run] = process
                time.sleep(0.2)
                for run in [run for run, process in working.items() if not process.is_alive()]:
                    process = working.pop(run)
                    process.join()
                    if process.exitcode:
                        failed.append(run)
                        terminal.print(f"{run.path.name}: {last_words(run)}")
                    else:
                        result = run.result
                        done = len(waiting) - len(queue) - len(working)
                        terminal.print(
                            f"{done:>3}/{len(waiting)}  {run.point.row}, seed {run.seed}: validation "
                            f"{100 * result['val_accuracy']:.2f} %, {result['seconds']:.0f} s"
                        )
                        finished()
                over = [run for run in waiting if run not in queue and run not in working]
                epochs = {run: len(run.history) for run in working}
                shares = {run: epochs[run] / run.recipe.train.epochs for run in working}
                epochs |= {run: run.recipe.train.epochs for run in over}
                new = sum(epochs[run] - epochs_before[run] for run in epochs)
                bar.update(
                    task, completed=sum(seconds[r] for r in over) + sum(seconds[r] * s for r, s in shares.items()),
                    description=f"run {len(over) + len(working)}/{len(waiting)}",
                    rate=f"{60 * new / (time.monotonic() - started):,.0f} epochs/min",
                )  # fmt: skip
        except KeyboardInterrupt:
            for process in working.values():
                process.terminate()  # a run that gets SIGTERM writes its checkpoint
            for process in working.values():
                process.join()
            left = len(queue) + sum(run.result is None for run in working)
            raise WorkError(f"stopped with {left} of {len(waiting)} runs to go; go on with --resume") from None
    if failed:
        raise WorkError(f"{len(failed)} runs failed, the first one {failed[0].path}: {last_words(failed[0])}")


def _context():
    """Processes are forked from a server that has imported what they need and has done nothing else."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.runs"])
    return context


@contextlib.contextmanager
def _raising_on_sigterm():
    def stop(number, frame):
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread: whoever is there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
