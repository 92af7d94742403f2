"""`gxnor run`: classifies images with an exported network."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gxnor import pretrained
from gxnor.cli import tables
from gxnor.cli.telling import warnings_told
from gxnor.cli.testset import expect_classes, ready
from gxnor.program import file


def add_parser(commands) -> None:
    parser = commands.add_parser("run", help="classify images with an exported network")
    parser.add_argument("file", type=Path, metavar="FILE.gxnor|NAME")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="an image, a folder of images or a .npy array")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """Class and score of every input; the score is the logit of that class."""
    program = file.read(pretrained.find(arguments.file))
    expect_classes(program, arguments.file)
    network = ready(program)
    with warnings_told():
        answers = network.classify(arguments.inputs)
    rows = [
        {"input": of.input, "class": of.label, "index": of.index, "score": float(of.logits[of.index]),
         "logits": of.logits.tolist()}
        for of in answers
    ]  # fmt: skip
    if arguments.json:
        print(json.dumps(rows))
        return
    table = tables.table(None, "input", "class", "score")
    for row in rows:
        table.add_row(row["input"], row["class"], f"{row['score']:.3f}")
    tables.show(table)
