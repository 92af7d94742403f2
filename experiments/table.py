"""A study's JSON as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.scatter import COLUMN, half_widths
from gxnor.training.report.page import duration


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(columns)
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, *rows)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])


def table(summary: dict) -> str:
    """A row for every row of the study, its chosen point where there are several candidates."""
    rows = [row for row in summary["rows"] if row["chosen"]]
    some = [row for row in rows if row.get("operations")]
    widths = half_widths([[seed["test_accuracy"] for seed in row["seeds"]] for row in rows])
    columns = ["", "test accuracy, mean", "lowest to highest (seeds)"]
    columns += [COLUMN] if None not in widths else []
    columns += ["validation, mean"]
    columns += ["chosen from"] if any(row["candidates"] > 1 for row in rows) else []
    columns += ["training state, bytes per weight", "shipped, bits per weight"] if summary["study"] in MEMORY else []
    columns += ["zero activations"] if summary["study"] == "sparsity" else []
    columns += ["operations per image"] if some else []
    return markdown(columns, (_cells(row, width, columns) for row, width in zip(rows, widths, strict=True)))


MEMORY = ("table", "memory")


def _cells(row: dict, width: float | None, columns: list[str]) -> Iterable[str]:
    n, counted = len(row["seeds"]), row.get("operations")
    known = {
        "": row["row"],
        "test accuracy, mean": f"**{100 * row['test_mean']:.2f} %**",
        "lowest to highest (seeds)": f"{100 * row['test_min']:.2f} to {100 * row['test_max']:.2f} ({n})"
        if n > 1
        else "one seed",
        COLUMN: "" if width is None else f"± {100 * width:.2f}",
        "validation, mean": f"{100 * row['val_mean']:.2f} %",
        "chosen from": f"{row['candidates']} rates: {row['settings'].get('optimizer.lr', 0):g}",
        "training state, bytes per weight": f"{row['train_state_bytes_per_weight']:.2f}",
        "shipped, bits per weight": f"{row['bits_per_weight']:.2f}",
        "zero activations": _share(counted and counted["zero_activations"]),
        "operations per image": _operations(counted),
    }
    return (known[column] for column in columns)


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _operations(counted: dict | None) -> str:
    if not counted:
        return ""
    share = counted["fired"] / counted["products"]
    return f"{counted['fired']:,.0f} {counted['operation']}s ({100 * share:.0f} %)"


def provenance(summary: dict) -> str:
    """Where the numbers come from, in two sentences; a study that was resumed elsewhere names every place."""
    form = f"the {summary['form']} form, on {summary['data']}"
    if not summary["complete"]:
        form += f", {summary['runs']} of {summary['runs_planned']} runs so far"
    places = " and ".join(dict.fromkeys(map(_place, summary["made_on"])))
    return (
        f"This is {form}: {summary['runs']} runs, {duration(summary['seconds'])} of training in all, "
        f"{summary['rows'][0]['epochs']} epochs each, the best epoch chosen on the validation images, test set read once. "
        f"{places}; {summary['date'][:10]}; `{summary['command']}`."
    )


def _place(made_on: dict) -> str:
    machine, versions = made_on["machine"], made_on["versions"]
    return (
        f"{machine.get('gpu') or machine['cpu']}, threads a run: {machine['threads']}; gxnor {versions['gxnor']}, "
        f"PyTorch {versions['torch']}"
    )


COUNTED = (
    "Operations are products that are formed, and their share of the full-precision network's. The first layer's are "
    "among them; there, each adds or subtracts a pixel."
)


def section(summary: dict, picture: str) -> str:
    """The study's part of the results page: text, picture, table, and the command of every row, folded away."""
    commands = "\n".join(f"# {row['row']}\n{row['command']}" for row in summary["rows"] if row["chosen"])
    return "\n\n".join([
        f"## {summary['title']}", f"{summary['text']}", f"![{summary['title']}]({picture})", table(summary),
        *([COUNTED] if any(row.get("operations") for row in summary["rows"]) else []), provenance(summary),
        "<details><summary>The command of each row, for its first seed; `--seed N` for the others</summary>",
        f"```\n{commands}\n```", "</details>",
    ])  # fmt: skip
