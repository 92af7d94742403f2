"""The commands that need PyTorch, behind `gxnor.cli`."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gxnor import file, sizes
from gxnor.errors import GxnorError
from gxnor.training import distributed
from gxnor.training import recipe as recipes
from gxnor.training.loop import export_run, test_run
from gxnor.training.loop import train as run_training


def train(recipe: str, settings: list[str], out: Path | None, data_dir: Path | None, resume: bool, line: str) -> None:
    """`gxnor train`: runs the recipe and prints what it reached."""
    resolved = recipes.load(recipe, settings)
    out = out or Path("runs") / f"{resolved.name}-seed{resolved.train.seed}"
    result = run_training(resolved, out, data_dir, resume, line)
    if distributed.rank() > 0:
        return
    table = Table(title=f"{result['recipe']}, seed {result['seed']}", show_header=False, title_justify="left")
    rows = {
        "test accuracy": f"{100 * result['test_accuracy']:.2f} %, read once, with the network of epoch "
        f"{result['best_epoch']} of {result['epochs']}",
        "validation accuracy": f"{100 * result['val_accuracy']:.2f} %",
        "weights": f"{result['weights']:,} at {result['bits_per_weight']:.2f} bits as shipped, "
        f"{100 * result['zero_fraction']:.1f} % of them zero",
        "training state": f"{result['train_state_bytes_per_weight']:.2f} bytes a weight",
        "time": f"{result['seconds']:.0f} s",
        "report": str(out / "report.html"),
    }
    for row in rows.items():
        table.add_row(*row)
    Console().print(table)


def evaluate(path: Path, data_dir: Path | None, as_json: bool) -> None:
    """`gxnor eval`: accuracy of a run's best network on the test set."""
    if not path.exists():
        raise GxnorError(f"there is no {path}; expected a run folder or a .gxnor file")
    test = test_run(path, data_dir)
    result = {"path": str(path), "images": len(test.labels), "test_accuracy": test.accuracy, "test_loss": test.loss}
    if as_json:
        print(json.dumps({**result, "predictions": test.predicted.tolist()}))
    else:
        print(f"{100 * test.accuracy:.2f} % of {len(test.labels):,} test images")


def export(path: Path, output: Path) -> None:
    """`gxnor export`: writes a run's best network as an integer program."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        program = export_run(path)
    for warning in caught:
        print(f"gxnor: {warning.message}", file=sys.stderr)
    file.save(program, output)
    size = sizes.measure(program, output.stat().st_size)
    print(f"{output}: {size.weights:,} weights in {size.disk:,} bytes, {size.disk_bits:.3f} bits a weight")
