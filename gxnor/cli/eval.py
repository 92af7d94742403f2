"""`gxnor eval`: accuracy of a run or of an exported network on the test set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from gxnor import pretrained
from gxnor.cli.testset import DATA, expect_classes, load, of_data_set, ready
from gxnor.errors import GxnorError
from gxnor.program import file

BATCH = 1000  # images at a time


def add_parser(commands) -> None:
    parser = commands.add_parser("eval", help="accuracy of a run or of an exported network on the test set")
    parser.add_argument("path", type=Path, metavar="DIR|FILE|NAME")
    parser.add_argument("--data", metavar="NAME|PATH", help=f"of a file: {DATA} (default: what it was trained for)")
    parser.add_argument("--labels", type=Path, metavar="FILE.npy", help="class indices of the samples of --data")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the data set is")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """Accuracy of a run's best network, or of a program, on the test set of the data that it was trained for or on other
    samples."""
    path = pretrained.find(arguments.path)
    if path.is_file():
        predicted, labels, more = _evaluate_file(path, arguments.data, arguments.data_dir, arguments.labels)
    else:
        if arguments.data or arguments.labels:
            raise GxnorError("--data and --labels are for a .gxnor file: gxnor export makes one of a run")
        if not path.exists():
            raise GxnorError(f"there is no {path}; expected a run folder or a .gxnor file")
        from gxnor.training.loop import test_run

        test = test_run(path, data_dir=arguments.data_dir)
        predicted, labels, more = test.predicted.numpy(), test.labels.numpy(), {"test_loss": test.loss}
    accuracy = float((predicted == labels).mean())
    if arguments.json:
        result = {"path": str(path), "images": len(labels), "test_accuracy": accuracy, **more}
        print(json.dumps({**result, "predictions": predicted.tolist()}))
    else:
        print(f"{100 * accuracy:.2f} % of {len(labels):,} test images")


def _evaluate_file(
    path: Path, data: str | None, data_dir: Path | None, labels: Path | None
) -> tuple[np.ndarray, np.ndarray, dict]:
    """(predicted, labels, what else there is to say) of a program's file."""
    program = file.read(path)
    expect_classes(program, path)
    if data is not None:
        samples = load(program, data, data_dir, labels)
    elif labels is not None:
        raise GxnorError("--labels says what the samples of --data are: add --data PATH")
    elif program.data is None:
        raise GxnorError(f"{path} does not say which data its network is for: name it with --data, or give your own")
    else:
        samples = of_data_set(program, program.data, data_dir)
    if samples.labels is None:
        from gxnor.data import NAMES  # here, as the other commands do without

        if samples.name not in NAMES:
            raise GxnorError(f"{data} does not say of which classes its samples are: give --labels FILE.npy, or put them "
                             "into folders named after the classes")  # fmt: skip
        raise GxnorError(f"{path} knows other classes than {samples.name}: {', '.join(program.classes):.100}")
    network, images = ready(program), samples.images
    predicted = [network.predict(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    return np.concatenate(predicted), samples.labels, {}
