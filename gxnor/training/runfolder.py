"""The run folder: what a training run writes, and what it needs to continue.

recipe.toml              resolved, every default written out
history.jsonl            one line per epoch
checkpoint.safetensors   where the run stands
best.safetensors         the network of the best epoch on the validation split
worst.safetensors        the worst-classified test images
result.json, report.html
"""

from __future__ import annotations

import json
from pathlib import Path

from gxnor.errors import GxnorError, WorkError
from gxnor.locking import is_empty
from gxnor.training import recipes
from gxnor.training.recipe import Recipe
from gxnor.writing import write_text


class RunFolder:
    """The folder of a run, checked but not yet written to: see `create`.

    Raises GxnorError where a run is there already and `resume` is not asked for, and where the run to resume has another
    recipe."""

    def __init__(self, path: Path, recipe: Recipe, resume: bool):
        self.path = path
        stored = path / "recipe.toml"
        if not is_empty(path):
            if not resume:
                raise GxnorError(f"{path} is there already; go on with --resume, or give another folder with --out")
            if not stored.exists():
                raise GxnorError(
                    f"{path} holds no run to resume: recipe.toml is missing; give another folder with --out"
                )
            _check_same(recipe, recipes.load(str(stored)), path)

    def create(self, recipe: Recipe) -> None:
        """Writes the first file, once nothing that the user gave can be wrong any more."""
        self.write("recipe.toml", recipes.dump(recipe))

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    def write(self, name: str, text: str) -> None:
        """Writes a file whole or not at all."""
        write_text(self.path / name, text)

    def read_result(self) -> dict:
        try:
            return json.loads(self.result.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WorkError(f"{self.result} is damaged: {error}") from None

    def write_result(self, result: dict) -> None:
        self.write("result.json", json.dumps(result, indent=1) + "\n")

    def history(self) -> list[dict]:
        return read_history(self.path)

    def start_history(self, epochs: int) -> None:
        """Keeps the lines of the first epochs: what a killed run wrote past its checkpoint will be written again."""
        lines = (self.path / "history.jsonl").read_text().splitlines()[:epochs] if epochs else []
        self.write("history.jsonl", "".join(line + "\n" for line in lines))

    def append_history(self, line: dict) -> None:
        with open(self.path / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_history(folder: Path) -> list[dict]:
    """The lines of a run's history. One that is being written, by a run that is under way, does not count yet."""
    path = folder / "history.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _check_same(given: Recipe, stored: Recipe, path: Path) -> None:
    a, b = given.model_dump(), stored.model_dump()
    for section in a:
        keys = a[section] if isinstance(a[section], dict) else {"": None}
        for key in keys:
            new, old = (tree[section][key] if key else tree[section] for tree in (a, b))
            if new != old:
                name = f"{section}.{key}" if key else section
                raise GxnorError(f"{path} was started with {name} = {old!r}, not {new!r}; resume with the same recipe")
