"""Tables of accuracies: the runs that are stored in benchmarks/results/, one row per kind of network."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from experiments.again import arithmetic_of, stages
from experiments.scatter import COLUMN, half_widths
from experiments.table import markdown

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def kind(recipe: dict) -> str:
    """The name of a special case, as the tables print it, from the resolved recipe."""
    precision, optimizer = recipe["precision"], recipe["optimizer"]
    weights, activations = precision["weights"], precision["activations"]
    known = {
        ("real", "real"): "full precision",
        (0, "real"): "BWN",
        (1, "real"): "TWN",
        (0, 0): "BNN",
        (1, 1): "GXNOR",
    }
    name = known.get((weights, activations), f"N1 = {weights}, N2 = {activations}")
    width = recipe["network"].get("width", 1)
    name += f", width {width:g}" if width != 1 else ""
    shortcuts = precision.get("shortcuts", 0)
    name += f", shortcuts of {1 + 2**shortcuts} states" if shortcuts else ""
    if weights == "real":
        return name
    bits = recipe["train"].get("gradient_bits")
    integers = f", integers with gradients of {bits} bits" if arithmetic_of(recipe) == "integer" else ""
    dst = ["DST with Adam" if optimizer["increment"] == "adam" else f"DST, {optimizer['increment']}"]
    dst += [f"counter of {optimizer['counter']} bits"] if optimizer.get("counter") else []
    dst += ["split zero"] if optimizer.get("split_zero") else []
    dst += ["hysteresis"] if optimizer.get("hysteresis") else []
    earlier = [str(1 + 2**n) for n in precision.get("activation_stages", ())]
    dst += [f"activations of {', '.join(earlier)} levels first"] if earlier else []
    return f"{name}, {'latent float weights' if precision['latent'] else ', '.join(dst)}{integers}"


def accuracy_groups(data: str) -> dict[str, list[dict]]:
    """The stored runs of a table by kind of network, the best kind first, a kind's runs by seed."""
    groups: dict[str, list[dict]] = {}
    for path in sorted((RESULTS / data).glob("*.json")):
        result = json.loads(path.read_text())
        groups.setdefault(kind(result["settings"]), []).append(result)
    for results in groups.values():
        results.sort(key=lambda r: r["seed"])
    return dict(sorted(groups.items(), key=lambda item: -statistics.mean(r["test_accuracy"] for r in item[1])))


def accuracy_table(data: str, again: bool) -> str:
    """Markdown: a row for every kind of network that was run on a data set; `again` adds the command of each row."""
    groups = accuracy_groups(data)
    widths = half_widths([[r["test_accuracy"] for r in results] for results in groups.values()])
    known = None not in widths
    columns = (
        "network", "test accuracy, mean (each seed)", *([COLUMN] if known else []), "validation",
        "training state, bytes per weight", "shipped, bits per weight", "epochs, time", *["again by"] * again,
    )  # fmt: skip
    rows = []
    for (name, results), width in zip(groups.items(), widths, strict=True):
        test, validation = ([100 * r[key] for r in results] for key in ("test_accuracy", "val_accuracy"))
        first = results[0]
        rows.append((
            name, f"**{statistics.mean(test):.2f} %** ({', '.join(f'{a:.2f}' for a in test)})",
            *([f"± {100 * width:.2f}"] if known else []),
            f"{statistics.mean(validation):.2f} %", f"{first['train_state_bytes_per_weight']:.2f}",
            f"{first['bits_per_weight']:.2f}",
            f"{first['epochs']}, {statistics.median(r['seconds'] for r in results) / 60:.0f} min",
            *[f"`{'; '.join(stages(first))}`"] * again,
        ))  # fmt: skip
    every = [r for results in groups.values() for r in results]
    machine, versions, dates = every[0]["machine"], every[0]["versions"], sorted(r["date"][:10] for r in every)
    threads = sorted({r["machine"]["threads"] for r in every})
    shared = f"{machine['cpu']}, threads per run: {' or '.join(map(str, threads))}, on machines busy with other work"
    where = machine.get("gpu") or shared
    notes = "".join(f"{note} " for note in sorted({r.get("note", "") for r in every}) if note)
    lines = [
        markdown(columns, rows),
        "",
        f"{notes}The best epoch was chosen on {every[0]['settings']['data']['validation']:,} validation images, the test "
        f"set read once. {where}; PyTorch {versions['torch']}; {' to '.join(sorted({dates[0], dates[-1]}))}. Training "
        "state is what persists between steps (docs/memory.md).",
    ]
    return "\n".join(lines)


def table_with_commands(data: str) -> str:
    """The accuracies on a data set, and the command of each row, which is too long for a column."""
    groups, commands = accuracy_groups(data), []
    if not groups:
        return "Not run yet."
    for name, (first, *_) in groups.items():
        commands += [f"# {name}", *stages(first)]
    details = ["<details><summary>The command of each row</summary>", "", "```", *commands, "```", "", "</details>"]
    return "\n".join([accuracy_table(data, again=False), "", *details])
