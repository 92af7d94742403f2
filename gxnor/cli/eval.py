"""`gxnor eval`: accuracy of a run or of an exported network on the test set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from gxnor import pretrained
from gxnor.cli.testset import check_images, load, ready
from gxnor.errors import GxnorError
from gxnor.program import file

BATCH = 1000  # images at a time


def add_parser(commands) -> None:
    parser = commands.add_parser("eval", help="accuracy of a run or of an exported network on the test set")
    parser.add_argument("path", type=Path, metavar="DIR|FILE|NAME")
    parser.add_argument("--data-dir", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """Accuracy of a run's best network, or of a program on the test set of the data that it was trained for."""
    path = pretrained.find(arguments.path)
    if path.is_file():
        predicted, labels, more = _evaluate_file(path, arguments.data_dir)
    else:
        if not path.exists():
            raise GxnorError(f"there is no {path}; expected a run folder or a .gxnor file")
        from gxnor.training.loop import test_run

        test = test_run(path, arguments.data_dir)
        predicted, labels, more = test.predicted.numpy(), test.labels.numpy(), {"test_loss": test.loss}
    accuracy = float((predicted == labels).mean())
    if arguments.json:
        result = {"path": str(path), "images": len(labels), "test_accuracy": accuracy, **more}
        print(json.dumps({**result, "predictions": predicted.tolist()}))
    else:
        print(f"{100 * accuracy:.2f} % of {len(labels):,} test images")


def _evaluate_file(path: Path, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray, dict]:
    """(predicted, labels, what else there is to say) of a program's file."""
    program = file.read(path)
    if program.data is None:
        raise GxnorError(f"{path} does not say which data its network is for, so there is no test set to read")
    dataset = load(program, program.data, data_dir)
    if dataset.classes != program.classes:
        raise GxnorError(f"{path} knows other classes than {program.data}: {', '.join(program.classes):.100}")
    network, images = ready(program), dataset.test_images
    check_images(program, program.data, images)
    predicted = np.concatenate([network.predict(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])
    return predicted, dataset.test_labels, {}
