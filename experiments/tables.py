"""The tables of README.md and of the pages, made from the JSON in benchmarks/results/."""

from __future__ import annotations

import json
import statistics
from functools import partial
from pathlib import Path

from experiments.again import arithmetic_of, stages
from experiments.scatter import COLUMN, half_widths
from experiments.table import markdown
from gxnor.training import recipe as recipes

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
    if weights == "real":
        return name
    bits = recipe["train"].get("gradient_bits")
    integers = f", integers with gradients of {bits} bits" if arithmetic_of(recipe) == "integer" else ""
    counter = f", counter of {optimizer['counter']} bits" if optimizer.get("counter") else ""
    counter += " and split zero" if optimizer.get("split_zero") else ""
    dst = "DST with Adam" if optimizer["increment"] == "adam" else f"DST, {optimizer['increment']}"
    return f"{name}, {'latent float weights' if precision['latent'] else dst + counter}{integers}"


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


def step_table() -> str:
    """Markdown: the cost of a training step, from what benchmarks/training_step.py has written."""
    report = json.loads((RESULTS / "training_step.json").read_text())
    contenders = {
        "latent": "latent weights, Adam", "gxnor": "GXNOR, Adam", "low": "low memory",
        "small": "low memory, small activations", "integer": "low memory, integers",
        "bfloat16": "full precision, bfloat16", "brevitas": "Brevitas",
    }  # fmt: skip
    rows = []
    for result in report["results"]:
        ratios = result["processor_time_ratio_to_full"]
        shown = (
            "{median:.2f} ({q25:.2f} to {q75:.2f})".format(**ratios[who]) if who in ratios else "not run"
            for who in contenders
        )
        rows.append((f"{result['network']}, {result['batch']}", *shown))
    machine, versions = report["machine"], report["versions"]
    brevitas = f", Brevitas {versions['brevitas']}" if versions["brevitas"] else ""
    formats = {result["memory_format"].replace("_", " ") for result in report["results"]}
    commands = "".join(
        f"\n{result['command']}  # {result['rounds']} rounds, {result['date'][:10]}" for result in report["results"]
    )
    lines = [
        markdown(("network, batch", *contenders.values()), rows),
        "",
        "Processor time, times the full-precision step's: median and quartiles of alternating rounds, "
        f"{' and '.join(sorted(formats))}. {machine['cpu']}, threads: {machine['threads']}; PyTorch "
        f"{versions['torch']}{brevitas}. The full-precision twin has ReLU and torch's Adam in its fastest form. Images and "
        "labels are random.",
        "",
        f"```{commands}\n```",
    ]
    return "\n".join(lines)


def speed_table() -> str:
    """Markdown: time an image, ours and theirs, from what benchmarks/speed.py has written."""
    report = json.loads((RESULTS / "speed.json").read_text())
    rows = []
    for name, network in report["networks"].items():
        others = [other for other in network["contestants"] if other != "gxnor"]
        for entry in network["results"]:
            rows.append((
                f"{name}, {entry['batch']}, {network['contestants']['gxnor']['threads']}",
                f"**{entry['gxnor']['us_per_image'] / 1000:.3g} ms**",
                *(f"{entry[other]['us_per_image'] / 1000:.3g} ms, {entry[other]['over_gxnor']:.1f} x" for other in others),
            ))  # fmt: skip
    machine, about = report["networks"]["CIFAR"]["machine"], report["networks"]["CIFAR"]["contestants"]
    kept = ", ".join(
        f"{name.removeprefix('CIFAR, ')}: {network['contestants']['gxnor']['isa']}"
        for name, network in report["networks"].items()
        if name.startswith("CIFAR, no ")
    )
    without = (
        f" Ours with {kept}; PyTorch and OpenVINO by environment variables that the command sets, ONNX Runtime still with "
        "everything, for it has no such switch."
        if kept
        else ""
    )
    versions = {
        key: value
        for its in about.values()
        for key, value in its.items()
        if key in ("torch", "onnxruntime", "openvino")
    }
    lines = [
        markdown(("network, batch, threads", *about), rows),
        "",
        f"Medians of alternating turns, and the median ratio turn by turn. {machine['cpu']}, {about['gxnor']['isa']}; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; {report['date']}. int8 is ONNX Runtime's "
        "static quantisation (QDQ, per channel; activations signed, symmetric or unsigned, as is fastest there), without "
        f"`-int8` is float32.{without}",
    ]
    return "\n".join(lines)


def blocks_table() -> str:
    """Markdown: networks of residual and separable blocks, from what `benchmarks/speed.py blocks` has written."""
    return ratios_table("blocks")


def zoo_table() -> str:
    """Markdown: the small networks of benchmarks/zoo.py, from what `benchmarks/speed.py zoo` has written."""
    return ratios_table("zoo")


def ratios_table(stored: str) -> str:
    report = json.loads((RESULTS / f"{stored}.json").read_text())
    names = ["onnxruntime", "onnxruntime-int8", "openvino", "openvino-int8"]
    rows = [
        (
            f"{name}, {entry['batch']}", f"**{entry['gxnor']['us_per_image'] / 1000:.3g} ms**",
            *(f"{entry[other]['over_gxnor']:.2f} x" for other in names),
        )
        for name, network in report["networks"].items()
        for entry in network["results"]
    ]  # fmt: skip
    network = next(iter(report["networks"].values()))
    about, loads = network["contestants"], [each["machine"]["load"] for each in report["networks"].values()]
    lines = [
        markdown(("network, batch", "gxnor", *names), rows),
        "",
        f"Time per image, and how many times as long the others take: the median ratio of alternating turns. "
        f"{network['machine']['cpu']}, {about['gxnor']['isa']}, threads: {about['gxnor']['threads']}; onnxruntime "
        f"{about['onnxruntime']['onnxruntime']}, openvino {about['openvino']['openvino']}; {report['date']}. Load average "
        f"when the measurements ended: {spread(loads)} on {network['machine']['cores']} cores.",
    ]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    low, high = (f"{value:.0f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def limits_table() -> str:
    """Markdown: what bit planes can do at most, from what benchmarks/limits.py has written."""
    report = json.loads((RESULTS / "limits.json").read_text())
    columns = (
        "product", "products at a time", "instructions", "cycles, derived", "cycles, measured",
        "billion products per second", "reached by convolutions",
    )  # fmt: skip
    rows = []
    for isa, found in report["sets"].items():
        for form, limit in found["forms"].items():
            shares = [100 * n["share"] for n in found["layers"] if n["network"].endswith(form) and "x" in n["layer"]]
            derived = limit["cycles_derived"]
            rows.append((
                f"{isa}, {form}", str(found["bits"]), str(limit["instructions"]), f"{derived:.2f}" if derived else "",
                f"{limit['cycles_measured']:.2f}", f"{limit['limit']:.0f}", f"{spread(shares)} %",
            ))  # fmt: skip
    clocks = " and ".join(f"{found['clock_ghz']:.2f} GHz ({isa})" for isa, found in report["sets"].items())
    return "\n".join(
        [
            markdown(columns, rows),
            "",
            f"{report['machine']['cpu']} at {clocks}, one thread; {report['date']}; `{report['command']}`.",
        ]
    )


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
