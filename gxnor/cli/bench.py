"""`gxnor bench`: time per image of a network, side by side with what a user would run instead.

All contestants are warm and take turns, so that whatever else the machine does hits them alike; medians of many turns,
and ratios turn by turn, are what is printed.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gxnor import pretrained
from gxnor.errors import GxnorError
from gxnor.machine import cores, describe
from gxnor.program import file
from gxnor.runtime.engine import KERNELS, Engine
from gxnor.version import VERSION

SECONDS, TURNS = 5.0, 7  # what the contestants take turns for, at the least, at every batch size
SAMPLE = 0.005  # seconds that one measurement takes at the least, in as many calls as that needs
PAUSE, PAUSES = 0.005, 40  # seconds between measurements, at least once and until the threads of the one before rest


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("bench", help="time per image, side by side with other engines")
    parser.add_argument("path", type=Path, metavar="FILE.gxnor|NAME")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64], metavar="N")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N")
    parser.add_argument("--against", nargs="+", default=[], metavar="NAME", help="torch, onnxruntime, openvino, larq")
    parser.add_argument("--kernel", choices=KERNELS[1:], help="for 3x3 convolutions; default: the fastest")
    parser.add_argument("--isa", help="the engine's instruction set; default: the fastest that this machine has")
    parser.add_argument("--explain", action="store_true", help="the engine's steps, their kernels and times")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """Measures and prints."""
    result = bench(
        pretrained.find(arguments.path), arguments.batch, arguments.threads, arguments.against, arguments.kernel,
        arguments.explain, arguments.isa,
    )  # fmt: skip
    print(json.dumps(result, indent=2) if arguments.json else table(result))


def bench(
    path: Path,
    batches: list[int],
    threads: int,
    against: list[str],
    kernel: str | None = None,
    explain: bool = False,
    isa: str | None = None,
) -> dict:
    """Measures the network in a file on random inputs.

    Returns a dict for JSON: `machine`, `contestants` (versions and settings, at the first batch size), `load`
    (milliseconds from file to ready, bytes of the file and held), and `results`: by batch size, for every contestant the
    median and smallest microseconds per image, the median of its time over ours, and settings that are others than at
    the first batch size as `about`; with `explain`, the engine's steps, in microseconds of all threads together.
    Raises GxnorError where there is nothing to measure."""
    if min(batches) < 1 or threads < 1:
        raise GxnorError(f"expected positive --batch and --threads, got {batches} and {threads}")
    others = {name: competitor(name) for name in against}
    program = file.read(path)
    unable = [name for name, other in others.items() if not hasattr(other, "SEVERAL_OUTPUTS")]
    if unable and program.output_names:
        raise GxnorError(
            f"--against {' '.join(unable)} wants a network with one output, got {', '.join(program.output_names)}"
        )
    engine = Engine(program, threads, isa, kernel)
    load = [_seconds(lambda: Engine(file.read(path), threads, isa, kernel)) for _ in range(TURNS)]
    about = {"gxnor": {"gxnor": VERSION, "isa": engine.isa, "threads": threads}}
    results = []
    for batch in batches:
        top = 256 if program.input.space is None else program.input.space.size
        x = np.random.default_rng(0).integers(top, size=(batch, *program.input.shape), dtype=np.uint8)
        runs: dict[str, Callable[[], object]] = {"gxnor": functools.partial(engine.run, x)}
        here = {"gxnor": about["gxnor"]}
        for other in others.values():
            for name, contestant in other.build(program, x, threads).items():
                runs[name], here[name] = contestant
        about |= {name: settings for name, settings in here.items() if name not in about}
        times = _take_turns(runs)
        entry: dict[str, Any] = {"batch": batch, "turns": len(times["gxnor"])}
        for name, seconds in times.items():
            entry[name] = {
                "us_per_image": 1e6 * statistics.median(seconds) / batch,
                "us_per_image_min": 1e6 * min(seconds) / batch,
                "over_gxnor": statistics.median(s / own for s, own in zip(seconds, times["gxnor"], strict=True)),
            }
            if here[name] != about[name]:
                entry[name]["about"] = here[name]
        if explain:
            profile = min((engine.profile(x) for _ in range(TURNS)), key=lambda steps: sum(s for _, s in steps))
            entry["steps"] = [{"step": name, "us_per_image": 1e6 * s / batch} for name, s in profile]
        results.append(entry)
    return {
        "file": str(path),
        "machine": {**describe(), "load": os.getloadavg()[0], "numpy": np.__version__},
        "contestants": about,
        "load": {
            "ms": 1e3 * statistics.median(load),
            "file_bytes": path.stat().st_size,
            "held_bytes": engine.nbytes,
        },
        "results": results,
    }


def competitor(name: str) -> ModuleType:
    """The module of `benchmarks.competitors` by that name. The package leaves them out, a checkout has them beside it.
    Raises GxnorError for an unknown name, and where they, or what they need, are not at hand."""
    checkout = str(Path(__file__).parents[2])
    if checkout not in sys.path:
        sys.path.append(checkout)
    try:
        competitors = importlib.import_module("benchmarks.competitors")
    except ModuleNotFoundError:
        raise GxnorError(
            "--against needs the folder benchmarks/ of gxnor's sources beside the package: run it from a checkout "
            "(pip install --editable .)"
        ) from None
    return competitors.find(name)


def table(result: dict) -> str:
    """The result for people."""
    about, load = result["machine"], result["load"]
    ratio = load["held_bytes"] / load["file_bytes"]
    lines = [
        f"{about['cpu']}, {about['cores']} cores, load {about['load']:.1f}",
        f"{about['system']}, Python {about['python']}, NumPy {about['numpy']}",
        *(f"{name}: {', '.join(f'{k} {v}' for k, v in of.items())}" for name, of in result["contestants"].items()),
        f"loaded in {load['ms']:.1f} ms, holds {load['held_bytes']:,} bytes, {ratio:.2f} x the file",
        f"{'batch':>6}  {'':<18} {'us/image':>10} {'smallest':>10} {'x gxnor':>8}",
    ]
    for entry in result["results"]:
        for name in result["contestants"]:
            at = entry[name]
            lines.append(
                f"{entry['batch']:>6}  {name:<18} {at['us_per_image']:>10.1f} {at['us_per_image_min']:>10.1f}"
                f" {at['over_gxnor']:>8.2f}"
            )
    for entry in result["results"]:
        total = sum(step["us_per_image"] for step in entry.get("steps", ()))
        for step in entry.get("steps", ()):
            share = f"{step['us_per_image'] / total:>9.1%}"
            lines.append(f"{entry['batch']:>6}  {step['step']:<18} {step['us_per_image']:>10.1f} {share}")
    return "\n".join(lines)


def _take_turns(runs: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds a call, by contestant and turn."""
    calls = {name: max(1, round(SAMPLE / min(_seconds(run) for _ in range(3)))) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    while len(times["gxnor"]) < TURNS or time.perf_counter() - start < SECONDS:
        for name, run in runs.items():
            _rest()
            run()  # not counted: the caches are the last one's
            times[name].append(_seconds(run, calls[name]))
    return times


def _rest() -> None:
    """Waits until this process's threads have stopped spinning, as ONNX Runtime's do for 45 to 55 ms after a run: with two
    cores they take one of the next contestant's."""
    for _ in range(PAUSES):
        used = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - used < PAUSE / 5:
            return


def _seconds(run: Callable[[], object], calls: int = 1) -> float:
    if hasattr(run, "seconds"):  # it runs in another process
        return run.seconds(calls)
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
