"""The tables of README.md and of the pages, made from the JSON in benchmarks/results/."""

from __future__ import annotations

import json
import statistics
from functools import partial

from experiments.accuracies import RESULTS, accuracy_groups, accuracy_table, kind, table_with_commands
from experiments.table import markdown
from experiments.timings import blocks_table, limits_table, speed_table, step_table, zoo_table
from gxnor.training import recipes


def summary_table() -> str:
    """Markdown: the README's few numbers, each beside what a reader would use instead."""
    study = json.loads((RESULTS / "studies" / "table-mnist-full.json").read_text())
    rows = {row["row"]: row for row in study["rows"] if row["chosen"]}
    groups = accuracy_groups("mnist")
    runs = groups[kind(recipes.load("mnist", ["train.arithmetic=integer"]).model_dump())]
    latent = groups["GXNOR, latent float weights"]
    speed = json.loads((RESULTS / "speed.json").read_text())["networks"]["CIFAR"]
    float_twin = rows["full precision"]

    def mean(results: list[dict]) -> str:
        return f"{100 * statistics.mean(r['test_accuracy'] for r in results):.2f} %"

    cifar10 = accuracy_groups("cifar10")[kind(recipes.load("cifar10", ["train.arithmetic=integer"]).model_dump())]
    published = json.loads((RESULTS / "published.json").read_text())["rows"][0]["cifar10"]
    lines = [
        (
            "MNIST, test accuracy", f"**{mean(runs)}**, {len(runs)} seeds",
            f"{mean(latent)} latent float weights; {100 * float_twin['test_mean']:.2f} % full precision",
        ),
        (
            f"CIFAR-10, test accuracy after {cifar10[0]['epochs']} epochs", f"**{mean(cifar10)}**",
            f"{published:.2f} % published, the best test epoch of 2,000",
        ),
        (
            "persistent training state", f"**{runs[0]['train_state_bytes_per_weight']:.2f} bytes per weight**",
            f"{latent[0]['train_state_bytes_per_weight']:.2f} latent float weights with Adam",
        ),
        ("shipped", f"**{runs[0]['bits_per_weight']:.2f} bits per weight**", "8 in int8, 32 in float32"),
    ]  # fmt: skip
    for entry in speed["results"]:
        if entry["batch"] in (1, 64):
            others = ", ".join(
                f"{entry[name]['us_per_image'] / 1000:.2f} {words}"
                for name, words in (
                    ("openvino-int8", "OpenVINO int8"), ("onnxruntime-int8", "ONNX Runtime int8"),
                    ("torch", "PyTorch float32"),
                )
            )  # fmt: skip
            lines.append((
                f"CIFAR network, ms per image, batch {entry['batch']}",
                f"**{entry['gxnor']['us_per_image'] / 1000:.2f}**", others,
            ))  # fmt: skip
    return markdown(("", "gxnor", "what you would use instead"), lines)


# Tables of runs: of each data set, and of recipes that train another network on it.
RUNS = ("mnist", "fashion", "fsdd", "cifar10", "cifar10-resnet20", "svhn")

TABLES = {
    "summary": summary_table,
    "mnist": lambda: accuracy_table("mnist", again=True),
    **{name: partial(table_with_commands, name) for name in RUNS if name != "mnist"},
    "training-step": step_table,
    "speed": speed_table,
    "blocks": blocks_table,
    "zoo": zoo_table,
    "limits": limits_table,
}


def write_tables(text: str) -> str:
    """The text with every block between `<!-- table NAME -->` and `<!-- end -->` written anew."""
    for name, table in TABLES.items():
        start = f"<!-- table {name} -->\n"
        if start in text:
            before, _, rest = text.partition(start)
            text = f"{before}{start}{table()}\n{rest[rest.index('<!-- end -->') :]}"
    return text
