"""The results pages: every stored study as text, picture, table and commands, those of the full forms with the published
figures beside ours.

Markers `<!-- table NAME -->` are left in it for tables that others fill in (experiments/results.py).
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from PIL import Image

from experiments import pictures
from experiments.accuracies import accuracy_groups
from experiments.definitions import STUDIES, find
from experiments.summary import joined
from experiments.table import markdown, section
from gxnor.errors import GxnorError

INTRODUCTION = """# Results

Written by `python -m experiments results write` from the JSON in `benchmarks/results/`; no number is typed by hand. Every
accuracy is of the epoch that was best on validation images, with the test set read once, at the end of the run.

`python -m experiments NAME` (`--quick` for the quick form) makes all of a study's runs again, and the command of a row
one of them. On another machine or with another PyTorch, sums round otherwise and the same seed gives another run: expect its
test accuracy within what "another run" says of the row's mean, 19 times of 20, not to the last digit. That is Student's
prediction interval, from the scatter of all rows of a table (`experiments.scatter`): where some scatter more
than the rest, it is too wide for the others and too narrow for those.

## MNIST

<!-- table mnist -->
<!-- end -->

## Fashion-MNIST

The network of MNIST on pictures of clothes, at the rates of MNIST.

<!-- table fashion -->
<!-- end -->

## Spoken digits

The Free Spoken Digit Dataset, 3,000 recordings at 8 kHz, by convolutions along the time of a spectrogram; the test set is
the official one, repetitions 0 to 4 of each speaker and digit.

<!-- table fsdd -->
<!-- end -->

## CIFAR-10

The paper's network at its full width.

<!-- table cifar10 -->
<!-- end -->

ResNet-20, recipe `cifar10-resnet20`. Published with weights and activations of two bits, latent weights, and first and last
layers in float: PACT 89.7 % (arXiv 1805.06085), LQ-Nets 90.2 % (arXiv 1807.10029), APoT 91.0 % (arXiv 1909.13144).
Ours has three states everywhere: in the first and the last layer, and in what a shortcut carries from block to block,
unless the row says that shortcuts have more.

<!-- table cifar10-resnet20 -->
<!-- end -->

## SVHN

<!-- table svhn -->
<!-- end -->

## Time per image

Networks with random states, since time does not depend on them (`python benchmarks/speed.py`).

<!-- table speed -->
<!-- end -->

![Time per image over batch size](images/speed.png)

Networks of residual and separable blocks, every layer ternary (`python benchmarks/speed.py blocks`).

<!-- table blocks -->
<!-- end -->

The small networks of `benchmarks/zoo.py`, as users write them, for images of 8x8 pixels (`python benchmarks/speed.py zoo`).

<!-- table zoo -->
<!-- end -->

## Cost of a training step

`python benchmarks/training_step.py`

<!-- table training-step -->
<!-- end -->"""

QUICK = """# The quick forms

Written by `python -m experiments results write` from the JSON in `benchmarks/results/studies/`.
`python -m experiments NAME --quick` runs every study on scikit-learn's digits, 1,797 images of 8 x 8 pixels, with a
small network: minutes on two cores, and no data to fetch. They show that everything works, and what to look for in
the full forms ([results](results.md)). With so few images seeds lie far apart, and a trend that shows here need not
hold on MNIST."""


def add(folder: Path, results: Path) -> Path:
    """Stores a study's JSON under `results`/studies; returns where. Rows that the folder lacks and that are stored already
    stay. Of a study that is not finished, the page says how many of its runs it shows. Raises GxnorError where none is."""
    summary = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    if not summary["runs"]:
        raise GxnorError(f"{folder} has none of its {summary['runs_planned']} runs yet; go on with --resume")
    study, form = find(summary["study"]), summary["form"]
    path = results / "studies" / f"{study.name}-{summary['data']}-{form}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        summary = joined(summary, before, study.form(form == "quick", summary["data"]))
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return path


def stored(results: Path, form: str) -> list[dict]:
    """The studies in their "full" or "quick" form, in the order of the definitions."""
    summaries = [json.loads(path.read_text(encoding="utf-8")) for path in (results / "studies").glob(f"*-{form}.json")]
    order = list(STUDIES)
    return sorted(summaries, key=lambda summary: (order.index(summary["study"]), summary["data"]))


def picture(summary: dict) -> str:
    """Where the picture lies, below docs/."""
    return f"images/{summary['study']}-{summary['data']}.png"


def text(results: Path) -> str:
    """The page of the full forms, with the tables between markers still empty."""
    summaries = stored(results, "full")
    parts = [INTRODUCTION, published(results, summaries), *_sections(summaries)]
    here = {summary["study"] for summary in summaries}
    missing = [f"`python -m experiments {name}` ({find(name).title})" for name in STUDIES if name not in here]
    parts += [f"Not run yet: {', '.join(missing)}."] if missing else []
    return "\n\n".join(parts) + "\n"


def quick_text(results: Path) -> str:
    """The page of the quick forms."""
    return "\n\n".join([QUICK, *_sections(stored(results, "quick"))]) + "\n"


def _sections(summaries: list[dict]) -> list[str]:
    return [section(summary, picture(summary)) for summary in summaries]


def published(results: Path, summaries: list[dict]) -> str:
    """The published figures, and ours on the same data: the runs of this kind that are best on validation images."""
    figures = json.loads((results / "published.json").read_text(encoding="utf-8"))
    names = {"mnist": "MNIST", "cifar10": "CIFAR-10", "svhn": "SVHN"}
    ours = {data: _reached(data, summaries) for data in names}
    missing = []

    def cells(row: dict):
        yield row["network"]
        for data in names:
            yield f"{row[data]:.2f} %" if data in row else ""
            mine = [
                reached for kind, *reached in ours[data] if kind.startswith(row["network"]) and "latent" not in kind
            ]
            if mine:
                _, test, epochs = max(mine, key=lambda reached: reached[0])
                yield f"{100 * test:.2f} %, {epochs} epochs"
            else:
                missing.append(data)
                yield "not run"

    columns = ["network", *(name for title in names.values() for name in (f"{title}, published", "ours"))]
    table = markdown(columns, map(cells, figures["rows"]))
    why = "".join(f" {names[data]}, not run: {figures['not run'][data]}." for data in dict.fromkeys(missing))
    about = (
        f"Published: {figures['source']}; networks other than GXNOR {figures['others']}. Ours, from "
        f"`python -m experiments table` and the tables above, are chosen on validation images, which is harder than the "
        f"best test accuracy of a run.{why}"
    )
    return "\n\n".join(["## Published figures beside ours", table, about])


def _reached(data: str, summaries: list[dict]) -> list[tuple[str, float, float, int]]:
    """Every kind of network that was run on a data set at the paper's size: its mean accuracy on validation and on test,
    and the epochs."""
    tables = [summary for summary in summaries if (summary["study"], summary["data"]) == ("table", data)]
    rows = [row for summary in tables if "network.width" not in summary["settings"] for row in summary["rows"]]
    reached = [(row["row"], row["val_mean"], row["test_mean"], row["epochs"]) for row in rows]
    for kind, runs in accuracy_groups(data).items():
        if runs[0]["settings"]["network"]["width"] == 1:
            validation, test = (statistics.mean(run[key] for run in runs) for key in ("val_accuracy", "test_accuracy"))
            reached.append((kind, validation, test, runs[0]["epochs"]))
    return reached


def write(results: Path, docs: Path) -> Path:
    """Writes both pages, and the pictures that do not show the stored numbers yet; returns the path of results.md."""
    (docs / "quick.md").write_text(quick_text(results), encoding="utf-8")
    path = docs / "results.md"
    path.write_text(text(results), encoding="utf-8")
    for summary in stored(results, "full") + stored(results, "quick"):
        if not up_to_date(summary, docs):
            pictures.draw(summary, docs / picture(summary))
    return path


def up_to_date(summary: dict, docs: Path) -> bool:
    path = docs / picture(summary)
    return path.exists() and Image.open(path).info.get("Source") == pictures.fingerprint(summary)
