"""Finished runs with the runs they went on from, and the commands that make them again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from gxnor.errors import GxnorError
from gxnor.training import recipes

# Settings that do not change what a run reaches, and the seed, which commands name apart.
WITHOUT_EFFECT = {"seed", "device", "tensorboard", "pack_saved_activations"}


def arithmetic_of(recipe: dict) -> str:
    """Of the products of a stored run's training steps; runs from before there was a choice do not name it."""
    return recipe["train"].get("arithmetic", "float")


def again_by(settings: dict, seed: str = "N") -> str:
    """The command that makes a stored run again: today's recipe, and what the run did otherwise."""
    name, arithmetic = recipe_of(settings), arithmetic_of(settings)
    real = "real" in (settings["precision"]["weights"], settings["precision"]["activations"])
    today = recipes.load(name, [f"train.arithmetic={'float' if real else 'integer'}"])  # what a CPU decides
    then = {**settings, "train": {**settings["train"], "arithmetic": arithmetic}}
    unused = WITHOUT_EFFECT | ({"gradient_bits"} if arithmetic == "float" else set())
    words = [f"gxnor train {name} --seed {seed}"]
    for section, values in today:
        for key, value in values if section != "name" else ():
            default = type(values).model_fields[key].get_default(call_default_factory=True)
            was = then[section].get(key, default)  # a setting that there was not yet
            if was != value and key not in unused:
                words.append(f"--set {section}.{key}={json.dumps(was) if isinstance(was, bool | list) else was}")
    return " ".join(words)


def recipe_of(settings: dict) -> str:
    """The recipe that is the nearest to these settings."""
    name = settings["data"]["name"]
    if name != "mnist":
        return settings["name"]
    if settings["precision"]["latent"]:
        return "mnist-latent"
    return "mnist-adam" if settings["optimizer"]["increment"] == "adam" else "mnist"


def whole(run: Path, after: Path | None) -> dict:
    """What a finished run has reached, with its resolved recipe as `settings`. Where it went on from another, whose stored
    result `after` is, epochs and time are those of both, and `before` has the recipes so far.

    Raises GxnorError where the run has not ended, and where `after` is missing, is another's, or has no use."""
    if not (run / "result.json").exists():
        raise GxnorError(f"{run} has no result.json: let the run end first")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    result["settings"] = settings = tomllib.loads((run / "recipe.toml").read_text(encoding="utf-8"))
    start = settings["train"].get("start", "")
    if bool(start) != (after is not None):
        expected = f"--after with the stored result of {start}" if start else "no --after"
        raise GxnorError(f"{run} started from {start or 'random states'}: expected {expected}")
    if after is not None:
        first = json.loads(after.read_text(encoding="utf-8"))
        if first["settings"] == settings or first["settings"]["network"] != settings["network"]:
            whose = "this run itself" if first["settings"] == settings else "another network"
            raise GxnorError(f"{after} is the result of {whose}: expected that of the run that {run} started from")
        for key in ("epochs", "seconds"):
            result[key] += first[key]
        result["best_epoch"] += first["epochs"]
        result["before"] = [*first.get("before", []), first["settings"]]
    return result


def stages(result: dict, seed: str = "N") -> list[str]:
    """The commands of a run that is `whole`, one after the other; an exported network that a run starts from is exported
    before it."""
    commands = []
    for number, settings in enumerate([*result.get("before", []), result["settings"]], 1):
        if number > 1 and settings["train"]["start"].endswith(".gxnor"):
            commands.append(f"gxnor export {folder(result, seed, number - 1)} -o {settings['train']['start']}")
        out = folder(result, seed, number)
        usual = f"runs/{recipe_of(settings)}-seed{seed}"
        commands.append(again_by(settings, seed) + (f" --out {out}" if out != usual else ""))
    return commands


def folder(result: dict, seed: str, number: int | None = None) -> str:
    """Of a stage by its number, by default the last one, where these commands are followed: the one that the next stage
    starts from, or else a name of its own."""
    every = [*result.get("before", []), result["settings"]]
    number = number or len(every)
    if number < len(every):
        start = every[number]["train"]["start"]
        if not start.endswith(".gxnor"):
            return start
    return f"runs/{recipe_of(result['settings'])}-seed{seed}{f'-stage{number}' if number > 1 else ''}"
