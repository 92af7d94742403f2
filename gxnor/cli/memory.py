"""`gxnor memory`: what a training step holds, predicted and measured, beside the latent-weight Adam twin."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from gxnor.cli import tables
from gxnor.errors import GxnorError, WorkError

if TYPE_CHECKING:
    from gxnor.training.memory.predict import Prediction
    from gxnor.training.recipe import Recipe

HELD = ("weights", "optimizer", "gradients")


def add_parser(commands) -> None:
    parser = commands.add_parser("memory", help="what a training step holds, predicted and measured")
    parser.add_argument("recipe", metavar="RECIPE", help="as of train; its data need not be there")
    parser.add_argument("--batch", type=int, metavar="N", help="default: the recipe's train.batch")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key, as network.width=0.5")
    parser.add_argument("--budget", metavar="SIZE", help="also say what batch and what width fit, as 2GiB")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """Prints the report on a recipe. Raises GxnorError for a recipe, batch or budget that cannot be."""
    from rich.console import Console

    from gxnor.training import recipes

    settings = list(arguments.set)
    settings += [f"train.batch={arguments.batch}"] if arguments.batch is not None else []
    bytes_allowed = None if arguments.budget is None else parse_size(arguments.budget)
    recipe = recipes.load(arguments.recipe, settings)
    with Console(stderr=True).status("one training step of each network, twice"):
        result = report(recipe, bytes_allowed)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _print(result)


def parse_size(text: str) -> int:
    """Bytes in a size like 2GiB, 500MB or 1000000. Raises GxnorError for any other text."""
    from pydantic import ByteSize, PositiveInt, TypeAdapter, ValidationError

    try:
        return TypeAdapter(PositiveInt).validate_python(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise GxnorError(f"expected a --budget such as 2GiB or 500MB, got {text!r}") from None


def report(recipe: Recipe, budget: int | None = None) -> dict:
    """A dict for JSON: recipe, batch, growth, device; under `gxnor` and `twin` the layers' bytes, their totals, the
    predicted and the measured peak (null, with the reason as `not_measured`, where it cannot be measured or is predicted to
    be more than there is) and, with a budget, the largest batch and about the largest width within it."""
    from gxnor.training.build import pick_device
    from gxnor.training.memory.predict import input_shape, predict, twin, widest

    shape = input_shape(recipe)
    result: dict[str, Any] = {"recipe": recipe.name, "batch": recipe.train.batch, "batch_growth": recipe.train.batch_growth,
              "width": recipe.network.width, "budget": budget}  # fmt: skip
    result["device"] = pick_device(recipe.train.device).type
    for who, its in (("gxnor", recipe), ("twin", twin(recipe))):
        prediction = predict(its, shape)
        result[who] = _side(prediction, its.train.batch)
        result[who] |= _measured(its, shape, result[who]["predicted_peak"])
        if budget is not None:
            result[who]["largest_batch"] = prediction.largest_batch(budget)
            result[who]["largest_width"] = widest(its, shape, budget)
    return result


def _measured(recipe: Recipe, shape: tuple[int, ...], predicted: int) -> dict:
    from gxnor.training.build import pick_device
    from gxnor.training.memory.measure import available, measure

    free = available(pick_device(recipe.train.device))
    if free is not None and predicted > free:
        return {"measured": None, "not_measured": f"not measured, for {_mb(free)} MB are free"}
    try:
        measured = measure(recipe, shape)
    except WorkError as error:
        return {"measured": None, "not_measured": f"not measured: {error}"}
    return {"measured": measured} | ({} if measured else {"not_measured": "not measurable here"})


def _side(prediction: Prediction, batch: int) -> dict:
    layers = [
        {"name": layer.name, **{what: getattr(layer, what) for what in HELD},
         "activations": round(layer.at(batch // prediction.parts, "saved"))}
        for layer in prediction.layers
    ]  # fmt: skip
    total = {what: sum(layer[what] for layer in layers) for what in (*HELD, "activations")}
    return {"layers": layers, "total": total, "predicted_peak": round(prediction.peak(batch))}


def _print(result: dict) -> None:
    title = f"{result['recipe']}, batch {result['batch']}, {result['device']}: held in a training step, MB"
    held = ("weights", "optimizer", "gradients", "activations")
    table = tables.table(title, "", *held, "twin: weights", *held[1:], words=1)
    own, other = result["gxnor"], result["twin"]
    rows = zip(own["layers"], other["layers"], strict=True)
    for a, b in [*rows, ({"name": "total", **own["total"]}, other["total"])]:
        table.add_row(a["name"], *(_mb(side[what]) for side in (a, b) for what in (*HELD, "activations")))
    tables.show(table)
    for who, side in (("gxnor", own), ("latent-weight Adam twin", other)):
        measured = side["measured"]
        shown = side.get("not_measured")
        if measured:
            error = side["predicted_peak"] / measured["peak"] - 1
            shown = f"{_mb(measured['peak'])} MB measured ({100 * error:+.1f} %), above {_mb(measured['baseline'])} MB"
            shown += " of Python and libraries"
        print(f"{who}: peak {_mb(side['predicted_peak'])} MB predicted, {shown}")
        if result["budget"]:
            batch = f"a batch of {side['largest_batch']:,}" if side["largest_batch"] else "no batch at this width"
            width = f"a width of about {side['largest_width']:.2f}" if side["largest_width"] else "no width"
            fits = f"{batch}, or {width} at batch {result['batch']}"
            fits = fits if side["largest_batch"] or side["largest_width"] else "nothing fits"
            print(f"  in {result['budget'] / 1e6:,.6g} MB: {fits}")
    if own["measured"] and other["measured"]:
        print(f"measured peak: 1/{other['measured']['peak'] / own['measured']['peak']:.2f} of the twin's")
    if own["total"]["gradients"] < other["total"]["gradients"]:
        print("Discrete weights move inside the backward pass: of their gradients one layer's is held at a time.")
    elif result["batch_growth"] > 1:
        print("The batch grows by parts: at the end of the run the gradients of one part wait for the next.")


def _mb(size: float) -> str:
    return f"{size / 1e6:,.1f}"
