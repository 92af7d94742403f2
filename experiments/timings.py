"""Tables of times: what the programs in benchmarks/ have measured and stored in benchmarks/results/."""

from __future__ import annotations

import json

from experiments.accuracies import RESULTS
from experiments.table import markdown


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
