"""Recipes by name (`gxnor/recipes/NAME.toml`) and from TOML files.

The resolved recipe, every default written out and train.arithmetic decided, is stored in the run folder. `--set
section.key=value` overrides one key.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
import torch
from pydantic import ValidationError

from gxnor import native
from gxnor.errors import GxnorError
from gxnor.training.recipe import Recipe, Section

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RENAMED = {
    "train.growth": "train.batch_growth",
    "train.parts": "train.micro_batches",
    "train.norm_batches": "train.recalibration_batches",
    "train.small_activations": "train.pack_saved_activations",
}


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(p.name[:-5] for p in resources.files("gxnor.recipes").iterdir() if p.name.endswith(".toml"))


def load(recipe: str, settings: Sequence[str] = ()) -> Recipe:
    """Reads a recipe by name or path and applies `section.key=value` settings, in order.

    Raises GxnorError for a recipe that is not there, TOML that cannot be read, an unknown key or an impossible value."""
    path = Path(recipe)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8-sig")  # editors of some systems begin a file with a mark
        except OSError as error:
            raise GxnorError(f"cannot read the recipe {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise GxnorError(f"the recipe {path} is not UTF-8 text ({error.reason}): save it as UTF-8") from None
        name = os.fsencode(path.stem).decode("utf-8", "replace")
    elif recipe in names():
        text = resources.files("gxnor.recipes").joinpath(f"{recipe}.toml").read_text(encoding="utf-8")
        name = recipe
    else:
        raise GxnorError(f"no recipe is called {recipe!r}; there are {', '.join(names())}, or give a .toml file")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GxnorError(f"the recipe {path} is not valid TOML: {error}") from None
    tree = {"name": name, **tree}
    for setting in settings:
        _set(tree, setting)
    resolved = _with_arithmetic(_validate(tree))
    try:
        dump(resolved).encode()
    except UnicodeEncodeError as error:
        raise GxnorError(
            f"a recipe is UTF-8 text, got {error.object[max(0, error.start - 40) : error.end]!r}: rename the file or folder"
        ) from None
    return resolved


def _with_arithmetic(recipe: Recipe) -> Recipe:
    """ "auto" decided, so that a run folder says what its run did and --resume does the same or is refused: integers where
    that is faster, which is on a CPU with the kernels, for a network whose weights and activations are discrete."""
    settings, spaces = recipe.train, recipe.precision
    if settings.arithmetic != "auto":
        return recipe
    on_cpu = settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available())
    possible = "real" not in (spaces.weights, spaces.activations) and not (settings.compile or settings.bfloat16)
    decided = "integer" if on_cpu and possible and native.library() else "float"
    return recipe.model_copy(update={"train": settings.model_copy(update={"arithmetic": decided})})


def dump(recipe: Recipe) -> str:
    """The resolved recipe as TOML, every default written out."""
    return tomli_w.dumps(recipe.model_dump())


def _set(tree: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    section, dot, leaf = key.strip().partition(".")
    if not equals or not dot:
        raise GxnorError(f"expected a setting like optimizer.lr=0.05, got {setting!r}")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word is a string
    branch = tree.setdefault(section, {})
    if not isinstance(branch, dict):
        raise GxnorError(f"{section!r} is not a section of a recipe; a setting looks like optimizer.lr=0.05")
    branch[leaf] = parsed


def _validate(tree: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        kinds = {kind: [".".join(map(str, e["loc"])) for e in error.errors() if e["type"] == kind] for kind in _KINDS}
        if missing := [key for name in kinds["missing"] for key in _required(name)]:
            unknown = "".join(f"; it has an unknown key {name!r}" for name in kinds["extra_forbidden"])
            raise GxnorError(f"the recipe lacks {', '.join(missing)}, which have no default{unknown}") from None
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("int", "constrained-int"))
        if first["type"] == "extra_forbidden":
            if where in RENAMED:
                raise GxnorError(f"the recipe has the key {where!r}, which is called {RENAMED[where]!r} now") from None
            reason = f"the recipe has an unknown key {where!r}"
            model = Recipe.model_fields.get(str(first["loc"][0])) if len(first["loc"]) > 1 else None
            section = model.annotation if model else None
            known = (section if isinstance(section, type) and issubclass(section, Section) else Recipe).model_fields
            raise GxnorError(f"{reason}; known are {', '.join(known)}") from None
        message = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
        raise GxnorError(": ".join(filter(None, ("recipe", where, message))) + got) from None


_KINDS = ("missing", "extra_forbidden")  # of pydantic's errors


def _required(name: str) -> list[str]:
    """The keys to give for a missing one: of a section, those that have no default."""
    kind = Recipe.model_fields[name].annotation if name in Recipe.model_fields else str
    if not (isinstance(kind, type) and issubclass(kind, Section)):
        return [name]
    return [f"{name}.{key}" for key, field in kind.model_fields.items() if field.is_required()]
