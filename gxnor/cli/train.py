"""`gxnor train`: trains a network by a recipe."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from gxnor.cli import tables
from gxnor.cli.telling import warnings_told


def add_parser(commands) -> None:
    parser = commands.add_parser("train", help="train a network by a recipe")
    parser.add_argument("recipe", metavar="RECIPE", help="digits, mnist, cifar10, svhn, ... or a TOML file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/RECIPE-seedN)")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where the data is (default: $GXNOR_DATA, then cache)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key, as optimizer.lr=0.05")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """Runs the recipe and prints what it reached."""
    # PyTorch reads it before its first tensor: large ones then lie in large pages, which Linux hands out with a fraction of
    # the work. A step of the CIFAR-10 network in integer arithmetic takes a tenth less time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

    from rich.table import Table

    from gxnor.training import distributed, loop, recipes

    settings = list(arguments.set)
    settings += [f"train.seed={arguments.seed}"] if arguments.seed is not None else []
    settings += [f"train.epochs={arguments.epochs}"] if arguments.epochs is not None else []
    resolved = recipes.load(arguments.recipe, settings)
    out = arguments.out or Path("runs") / f"{resolved.name}-seed{resolved.train.seed}"
    with warnings_told():
        result = loop.train(resolved, out, data_dir=arguments.data_dir, resume=arguments.resume, command=arguments.line)
    if distributed.rank() > 0:
        return
    table = Table(title=f"{result['recipe']}, seed {result['seed']}", show_header=False)
    rows = {
        "test accuracy": f"{100 * result['test_accuracy']:.2f} %, read once, with the network of epoch "
        f"{result['best_epoch']} of {result['epochs']}",
        "validation accuracy": f"{100 * result['val_accuracy']:.2f} %",
        "weights": f"{result['weights']:,} at {result['bits_per_weight']:.2f} bits as shipped, "
        f"{100 * result['zero_fraction']:.1f} % of them zero",
        "training state": f"{result['train_state_bytes_per_weight']:.2f} bytes per weight",
        "time": f"{result['seconds']:.0f} s",
        "report": str(out / "report.html"),
    }
    for row in rows.items():
        table.add_row(*row)
    tables.show(table)
