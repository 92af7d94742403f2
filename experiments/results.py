"""Results that can be quoted: collected from run folders as JSON, and from there into the tables of the README.

python -m experiments results add RUN ... [--note WORDS] [--after JSON]
                                             copies what a finished run or study reached to benchmarks/results/; the words
                                             say what is special about a run's data, and stand below its table; where a run
                                             started from another, JSON is the stored result of that one
python -m experiments results write          rewrites the tables of README.md and docs/engine.md, and docs/results.md with
                                             its pictures
python -m experiments results picture RUN    draws docs/images/run.png from the run's history
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from experiments import page, pretrained
from experiments.accuracies import RESULTS, ROOT, kind
from experiments.again import whole
from experiments.pictures import log_scale
from experiments.tables import RUNS, write_tables
from gxnor.errors import GxnorError
from gxnor.training import recipes
from gxnor.training.runfolder import read_history

LEFT_OUT = ("confusion", "classes")
KEPT_OF_EPOCHS = ("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


def add(run: Path, note: str = "", after: Path | None = None) -> Path:
    """Stores a finished run's result with its resolved recipe and the note, beside it a line for every epoch, or a study's
    JSON; returns where. What a run went on from is the stored result `after`, see `again.whole`. A table, the recipe's own
    or the data set's, compares kinds of one network, at one width or several: raises GxnorError for another network than
    its stored runs have, and for data that no page has a table of."""
    if (run / "study.json").exists():
        return page.add(run, RESULTS)
    result = whole(run, after)
    recipe = result["settings"]
    kept = {key: value for key, value in result.items() if key not in LEFT_OUT}
    kept["command"] = re.sub(r" --(out|data-dir) \S+", "", kept["command"])  # somebody's folders
    name = "-".join(kind(recipe).lower().replace(",", "").split())
    table = recipe["name"] if recipe["name"] in RUNS else recipe["data"]["name"]
    if table not in RUNS:
        raise GxnorError(f"no page has a table of runs on {table!r}; there are {', '.join(RUNS)}")
    path = RESULTS / table / f"{name}-seed{result['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob("*.json"):
        network = json.loads(other.read_text())["settings"]["network"]
        if {**network, "width": 1} != {**recipe["network"], "width": 1}:
            raise GxnorError(f"{run} trained {recipe['network']}, but the runs stored in {path.parent} have {network}")
    kept |= {"note": note} if note else {}
    lines = after.with_suffix(".jsonl").read_text().splitlines() if after else []
    for line in read_history(run):
        lines.append(json.dumps({**{key: line[key] for key in KEPT_OF_EPOCHS}, "epoch": len(lines) + 1}))
    path.write_text(json.dumps(kept, indent=1) + "\n")
    path.with_suffix(".jsonl").write_text("".join(f"{line}\n" for line in lines))
    return path


def picture(run: Path, path: Path) -> None:
    """Validation error, flip rate and share of zeros along a run."""
    import matplotlib.pyplot as plt

    history = read_history(run)
    recipe = recipes.load(str(run / "recipe.toml")).model_dump()
    epochs = [line["epoch"] for line in history]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for name, label in (("train_accuracy", "training (augmented)"), ("val_accuracy", "validation")):
        left.plot(epochs, [100 * (1 - line[name]) for line in history], label=label)
    left.set(title="error, %", xlabel="epoch")
    left.legend(frameon=False)
    for i, layer in enumerate(history[0]["layers"]):
        rates = [100 * line["layers"][i]["flip_rate"] for line in history]
        middle.plot(epochs, rates, label=layer["name"])
        right.plot(epochs, [100 * line["layers"][i]["states"][1] for line in history], label=layer["name"])
    middle.set(title="weights that move in a step, %", xlabel="epoch")
    for axes in (left, middle):
        log_scale(axes)
    right.set(title="weights at zero, %", xlabel="epoch", ylim=(0, None))
    right.legend(frameon=False)
    figure.suptitle(f"recipe {recipe['name']}, seed {recipe['train']['seed']}: {kind(recipe)}")
    figure.savefig(path, dpi=110)


def add_parser(commands) -> None:
    """`python -m experiments results add|write|picture|pretrained`."""
    verbs = commands.add_parser("results", help="store what was reached, write the pages").add_subparsers(required=True)
    store = verbs.add_parser("add", help="copy what finished runs and studies reached to benchmarks/results/")
    store.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    store.add_argument("--note", default="", help="what is special about a run's data; stands below its table")
    _add_after(store)
    store.set_defaults(
        main=lambda arguments: [print(add(run, arguments.note, arguments.after)) for run in arguments.runs]
    )
    verbs.add_parser("write", help="rewrite the tables and pictures of the pages").set_defaults(main=_write)
    draw = verbs.add_parser("picture", help="draw docs/images/run.png from a run's history")
    draw.add_argument("run", type=Path, metavar="RUN")
    draw.set_defaults(main=lambda arguments: picture(arguments.run, ROOT / "docs" / "images" / "run.png"))
    publish = verbs.add_parser("pretrained", help="put a run's network and its card into the package")
    publish.add_argument("run", type=Path, metavar="RUN")
    _add_after(publish)
    publish.set_defaults(main=lambda arguments: print(pretrained.publish(arguments.run, arguments.after)))


def _add_after(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--after", type=Path, metavar="JSON", help="the stored result of the run that train.start names"
    )


def _write(arguments: argparse.Namespace) -> None:
    for path in (ROOT / "README.md", ROOT / "docs" / "engine.md", page.write(RESULTS, ROOT / "docs")):
        path.write_text(write_tables(path.read_text()))
