"""Results that can be quoted: collected from run folders as JSON, and from there into the tables of the README.

python -m experiments results add RUN ... [--note WORDS]
                                             copies what a finished run or study reached to benchmarks/results/; the words
                                             say what is special about a run's data, and stand below its table
python -m experiments results write          rewrites the tables of README.md and docs/engine.md, and docs/results.md with
                                             its pictures
python -m experiments results picture RUN    draws docs/images/run.png from the run's history
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from experiments import page
from experiments.pictures import log_scale
from experiments.scatter import COLUMN, half_widths
from experiments.table import markdown

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
LEFT_OUT = ("confusion", "classes")


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
    counter = f", counter of {optimizer['counter']} bits" if optimizer.get("counter") else ""
    dst = "DST with Adam" if optimizer["increment"] == "adam" else f"DST, {optimizer['increment']}"
    return f"{name}, {'latent float weights' if precision['latent'] else dst + counter}"


def add(run: Path, note: str = "") -> Path:
    """Stores a finished run's result with its resolved recipe and the note, or a study's JSON; returns where."""
    if (run / "study.json").exists():
        return page.add(run, RESULTS)
    result = json.loads((run / "result.json").read_text())
    recipe = tomllib.loads((run / "recipe.toml").read_text())
    kept = {key: value for key, value in result.items() if key not in LEFT_OUT}
    kept["command"] = re.sub(r" --(out|data-dir) \S+", "", kept["command"])  # somebody's folders
    name = "-".join(kind(recipe).lower().replace(",", "").split())
    path = RESULTS / recipe["data"]["name"] / f"{name}-seed{result['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept |= {"note": note} if note else {}
    path.write_text(json.dumps({**kept, "settings": recipe}, indent=1) + "\n")
    return path


def accuracy_groups(data: str) -> dict[str, list[dict]]:
    """The stored runs on a data set by kind of network, the best kind first, a kind's runs by seed."""
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
        "training state, bytes a weight", "shipped, bits a weight", "epochs, time", *["again by"] * again,
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
            *[f"`gxnor train {recipe_of(first['settings'])} --seed N`"] * again,
        ))  # fmt: skip
    every = [r for results in groups.values() for r in results]
    machine, versions, dates = every[0]["machine"], every[0]["versions"], sorted(r["date"][:10] for r in every)
    where = machine.get("gpu") or f"{machine['cpu']}, one thread a run, on machines busy with other work"
    notes = "".join(f"{note} " for note in sorted({r.get("note", "") for r in every}) if note)
    lines = [
        markdown(columns, rows),
        "",
        f"{notes}The best epoch was chosen on {every[0]['settings']['data']['validation']:,} validation images, the test "
        f"set read once. {where}; PyTorch {versions['torch']}; {' to '.join(sorted({dates[0], dates[-1]}))}. Training "
        "state is what persists between steps (docs/memory.md).",
    ]
    return "\n".join(lines)


def cifar10_table() -> str:
    """The accuracies on CIFAR-10, and the command of each row, too long for a column of it."""
    groups, commands = accuracy_groups("cifar10"), []
    if not groups:
        return "Not run yet."
    for name, (first, *_) in groups.items():
        command = re.sub(r" --seed \d+", " --seed N", first["command"].replace(" --resume", ""))
        commands += [f"# {name}", command]
    details = ["<details><summary>The command of each row</summary>", "", "```", *commands, "```", "", "</details>"]
    return "\n".join([accuracy_table("cifar10", again=False), "", *details])


def recipe_of(settings: dict) -> str:
    """The recipe for MNIST that has these settings today."""
    if settings["precision"]["latent"]:
        return "mnist-latent"
    return "mnist-adam" if settings["optimizer"]["increment"] == "adam" else "mnist"


def step_table() -> str:
    """Markdown: the cost of a training step, from what benchmarks/training_step.py has written."""
    report = json.loads((RESULTS / "training_step.json").read_text())
    columns = (
        "network, batch", "memory format", "full precision", "GXNOR, Adam", "low memory", "low memory, small activations",
        "Brevitas",
    )  # fmt: skip
    rows = []
    for result in report["results"]:
        ratios = result["ratio_to_full"]
        shown = ("{median:.2f} ({q25:.2f} to {q75:.2f})".format(**ratios[who]) for who in ("gxnor", "low", "small"))
        theirs = f"{ratios['brevitas']['median']:.2f}" if "brevitas" in ratios else "not installed"
        rows.append((
            f"{result['network']}, {result['batch']}", result["memory_format"].replace("_", " "),
            f"{result['milliseconds']['full']['median']:.0f} ms", *shown, theirs,
        ))  # fmt: skip
    machine, versions = report["machine"], report["versions"]
    brevitas = f", Brevitas {versions['brevitas']}" if versions["brevitas"] else ""
    lines = [
        markdown(columns, rows),
        "",
        f"Times the full-precision step: median and quartiles of {report['rounds']} alternating rounds. {machine['cpu']}, "
        f"threads: {machine['threads']}; PyTorch {versions['torch']}{brevitas}; {report['date'][:10]}. "
        "The full-precision twin has ReLU and torch's Adam in its fastest form.",
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


def spread(values: list[float]) -> str:
    low, high = (f"{value:.0f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def limits_table() -> str:
    """Markdown: what bit planes can do at most, from what benchmarks/limits.py has written."""
    report = json.loads((RESULTS / "limits.json").read_text())
    columns = (
        "product", "products at a time", "instructions", "cycles, derived", "cycles, measured",
        "billion products a second", "reached by convolutions",
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


TABLES = {
    "mnist": lambda: accuracy_table("mnist", again=True),
    "cifar10": cifar10_table,
    "training-step": step_table,
    "speed": speed_table,
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


def picture(run: Path, path: Path) -> None:
    """Validation error, flip rate and share of zeros along a run."""
    import matplotlib.pyplot as plt

    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    recipe = tomllib.loads((run / "recipe.toml").read_text())
    epochs = [line["epoch"] for line in history]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for name, label in (("train_accuracy", "training (augmented)"), ("val_accuracy", "validation")):
        left.plot(epochs, [100 * (1 - line[name]) for line in history], label=label)
    left.set(title="error, %", xlabel="epoch")
    left.legend(frameon=False)
    for i, layer in enumerate(history[0]["layers"]):
        rates = [100 * line["layers"][i]["flip_rate"] for line in history]
        middle.plot(epochs, rates, label=layer["name"])
        right.plot(epochs, [100 * line["layers"][i]["states"][1] for line in history], label=layer["name"])
    middle.set(title="weights that move in a step, %", xlabel="epoch")
    for axes in (left, middle):
        log_scale(axes)
    right.set(title="weights at zero, %", xlabel="epoch", ylim=(0, None))
    right.legend(frameon=False)
    figure.suptitle(f"recipe {recipe['name']}, seed {recipe['train']['seed']}: {kind(recipe)}")
    figure.savefig(path, dpi=110)


def add_parser(commands) -> None:
    """`python -m experiments results add|write|picture`."""
    verbs = commands.add_parser("results", help="store what was reached, write the pages").add_subparsers(required=True)
    store = verbs.add_parser("add", help="copy what finished runs and studies reached to benchmarks/results/")
    store.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    store.add_argument("--note", default="", help="what is special about a run's data; stands below its table")
    store.set_defaults(main=lambda arguments: [print(add(run, arguments.note)) for run in arguments.runs])
    verbs.add_parser("write", help="rewrite the tables and pictures of the pages").set_defaults(main=_write)
    draw = verbs.add_parser("picture", help="draw docs/images/run.png from a run's history")
    draw.add_argument("run", type=Path, metavar="RUN")
    draw.set_defaults(main=lambda arguments: picture(arguments.run, ROOT / "docs" / "images" / "run.png"))


def _write(arguments: argparse.Namespace) -> None:
    for path in (ROOT / "README.md", ROOT / "docs" / "engine.md", page.write(RESULTS, ROOT / "docs")):
        path.write_text(write_tables(path.read_text()))
