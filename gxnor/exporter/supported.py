"""The table of what exports, from the code: `python -m gxnor.exporter.supported docs/own-model.md` writes it there."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from gxnor.exporter.operations import FUNCTIONS, METHODS, MODULES

BEGIN, END = "<!-- table supported -->\n", "<!-- end -->"


def table() -> str:
    """Markdown, a row per operation: modules, functions and methods of tensors that do it."""
    rows: dict[Callable, tuple[list[str], list[str]]] = {}

    def row(operation: Callable) -> tuple[list[str], list[str]]:
        operation = inspect.unwrap(operation)
        return rows.setdefault(operation, ([], []))

    for kinds, operation in MODULES.items():
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            row(operation)[0].append(SHORT.get(kind.__name__, kind.__name__))
    for function, operation in FUNCTIONS.items():
        if function is not getattr:
            row(operation)[1].append(_name(function))
    for name, operation in METHODS.items():
        row(operation)[1].append(f".{name}()")
    lines = ["| modules | functions and methods |", "|---|---|"]
    for modules, functions in rows.values():
        names = (dict.fromkeys(part) for part in (modules, functions))
        lines.append("| " + " | ".join(", ".join(f"`{name}`" for name in part) for part in names) + " |")
    return "\n".join(lines) + "\n"


# What stands for several classes.
SHORT = {
    "DiscreteLayer": "gnn.Linear, gnn.Conv1d, gnn.Conv2d",
    "Activation": "gnn.Activation",
    "Pixels": "gnn.Pixels",
    "_BatchNorm": "BatchNorm1d, BatchNorm2d",
    "_DropoutNd": "Dropout and its kin",
}


def _name(function: Callable) -> str:
    module = getattr(function, "__module__", "") or ""
    if module.startswith("gxnor"):
        return f"gnn.{function.__name__}"
    if "operator" in module:
        return OPERATORS.get(function.__name__, function.__name__)
    prefix = "F." if module == "torch.nn.functional" or "pool" in function.__name__ else "torch."
    return prefix + function.__name__.removeprefix("boolean_dispatch")


OPERATORS = {
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "truediv": "a / b",
    "neg": "-a",
    "getitem": "x[:, i:j], x[:, :, ::2], x[..., -1]",
}


def rewrite(text: str) -> str:
    """A page with the table between its markers made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(rewrite(page.read_text()))
