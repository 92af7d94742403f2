"""The studies: `python -m experiments NAME` makes the runs of one, and leaves one JSON, one table and one picture.

    python -m experiments table --quick     minutes, on the digits
    python -m experiments table             the full form

`python -m experiments results` stores what runs and studies reached and writes the results pages (results.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments import results
from experiments.definitions import STUDIES
from gxnor.cli.main import execute


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m experiments", description="Sets of runs, and the pages made of them.")
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", metavar="NAME", required=True)
    for study in STUDIES.values():
        one = commands.add_parser(study.name, help=study.title)
        one.add_argument("--quick", action="store_true", help="the form of minutes, on the digits")
        one.add_argument("--seeds", type=int, metavar="N", help="runs of each point (default: the study's)")
        one.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: one a core; one on a GPU)")
        one.add_argument("--data", metavar="NAME", help="data set of the full form, where the study knows several")
        one.add_argument("--out", type=Path, metavar="DIR", help="folder (default: runs/study-NAME)")
        one.add_argument("--data-dir", type=Path, metavar="DIR")
        one.add_argument("--resume", action="store_true", help="go on with the study in the folder")
        one.set_defaults(main=_study)
    results.add_parser(commands)
    return top


def _study(arguments: argparse.Namespace) -> None:
    from experiments.command import study

    study(arguments.command, arguments.quick, arguments.data, arguments.seeds, arguments.jobs, arguments.out,
          arguments.data_dir, arguments.resume)  # fmt: skip


if __name__ == "__main__":
    sys.exit(execute(parser()))
