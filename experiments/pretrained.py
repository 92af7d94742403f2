"""Puts a finished run's network into the package, with a card: `python -m experiments results pretrained RUN`."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.tables import again_by
from gxnor import pretrained
from gxnor.analysis import sizes
from gxnor.errors import GxnorError
from gxnor.training import recipe as recipes
from gxnor.training.loop import export_run
from gxnor.writing import write_text

CARD = """# {name}

Classifies {data}: input {shape}, {classes} classes. Weights have {states} in
every layer, the first and the last one included.

| | |
|---|---|
| test accuracy | {test:.2f} %, test set read once |
| validation accuracy | {validation:.2f} %, which chose epoch {best} of {epochs} |
| weights | {weights:,} in {disk:,} bytes, {bits:.2f} bits per weight |
| persistent training state | {held:.2f} bytes per weight |
| made on | {cpu}, {threads} thread(s), PyTorch {torch}, {date} |

To make it again:

    {command}
    gxnor export runs/{name}-seed{seed} -o {name}.gxnor
"""


def publish(run: Path) -> Path:
    """Exports the run's best network to the folder of `gxnor.pretrained` under the recipe's name; returns the file.

    Raises GxnorError where the run has not ended."""
    if not (run / "result.json").exists():
        raise GxnorError(f"{run} has no result.json: let the run end first")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    recipe, program = recipes.load(str(run / "recipe.toml")), export_run(run)
    name = result["recipe"]
    path = pretrained.FOLDER / f"{name}.gxnor"
    program.save(path)
    size = sizes.measure(program, path.stat().st_size)
    text = CARD.format(
        name=name, data=recipe.data.name, shape=" x ".join(map(str, program.input.shape)), classes=len(program.classes),
        states=f"{2**recipe.precision.weights + 1} states", test=100 * result["test_accuracy"],
        validation=100 * result["val_accuracy"], best=result["best_epoch"], epochs=result["epochs"],
        weights=size.weights, disk=size.disk, bits=size.disk_bits, held=result["train_state_bytes_per_weight"],
        cpu=result["machine"]["cpu"], threads=result["machine"]["threads"], torch=result["versions"]["torch"],
        date=result["date"][:10], command=again_by(recipe.model_dump(), str(result["seed"])), seed=result["seed"],
    )  # fmt: skip
    write_text(path.with_suffix(".md"), text)
    return path
