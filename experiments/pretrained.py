"""Puts a finished run's network into the package, with a card: `python -m experiments results pretrained RUN`."""

from __future__ import annotations

from pathlib import Path

from experiments.again import folder, stages, whole
from gxnor import pretrained
from gxnor.analysis import sizes
from gxnor.training import recipes
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

    {commands}
    gxnor export {folder} -o {name}.gxnor
"""


def publish(run: Path, after: Path | None = None) -> Path:
    """Exports the run's best network to the folder of `gxnor.pretrained` under the recipe's name; returns the file. What a
    run went on from is the stored result `after`.

    Raises GxnorError as `again.whole`."""
    result = whole(run, after)
    recipe, program = recipes.load(str(run / "recipe.toml")), export_run(run)
    name, seed = result["recipe"], str(result["seed"])
    path = pretrained.FOLDER / f"{name}.gxnor"
    program.save(path)
    size = sizes.measure(program, path.stat().st_size)
    text = CARD.format(
        name=name, data=recipe.data.name, shape=" x ".join(map(str, program.input.shape)), classes=len(program.classes),
        states=f"{2**recipe.precision.weights + 1} states", test=100 * result["test_accuracy"],
        validation=100 * result["val_accuracy"], best=result["best_epoch"], epochs=result["epochs"],
        weights=size.weights, disk=size.disk, bits=size.disk_bits, held=result["train_state_bytes_per_weight"],
        cpu=result["machine"]["cpu"], threads=result["machine"]["threads"], torch=result["versions"]["torch"],
        date=result["date"][:10], commands="\n    ".join(stages(result, seed)), folder=folder(result, seed),
    )  # fmt: skip
    write_text(path.with_suffix(".md"), text)
    return path
