"""`gxnor run`, `gxnor inspect` and `gxnor eval` of a file: what needs a program and no PyTorch."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from gxnor import energy, events, file, sizes
from gxnor.errors import GxnorError
from gxnor.program import Conv, Dense, Program, Threshold

BATCH = 1000  # images at a time
SAMPLES = 200  # of the test set, where nothing else is said: a second on MNIST, a minute on CIFAR-10


def add_parsers(commands) -> None:
    """Adds both commands to the subparsers of an argparse parser; each sets `run` to its function."""
    run_parser = commands.add_parser("run", help="classify images with an exported network")
    run_parser.add_argument("file", type=Path, metavar="FILE.gxnor")
    run_parser.add_argument("inputs", nargs="+", metavar="INPUT", help="an image, a folder of images or a .npy array")
    run_parser.add_argument("--json", action="store_true")
    run_parser.set_defaults(run=run)

    inspect_parser = commands.add_parser(
        "inspect", help="layers, bits and, on real data, events of an exported network"
    )
    inspect_parser.add_argument("file", type=Path, metavar="FILE.gxnor")
    inspect_parser.add_argument("--data", metavar="NAME", help="count events on the test set of digits, mnist, ...")
    inspect_parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the data is")
    inspect_parser.add_argument("--samples", type=int, metavar="N", help=f"of the test set (default: {SAMPLES})")
    inspect_parser.add_argument("--picture", type=Path, metavar="PATH", help="draw the events (png, svg, pdf)")
    inspect_parser.add_argument("--json", action="store_true")
    inspect_parser.set_defaults(run=inspect)


def run(arguments) -> int:
    """`gxnor run`: class and score of every input; the score is the logit of that class."""
    network, rows = _network(file.read(arguments.file)), []
    for path in arguments.inputs:
        names, logits = network.read(path)
        for name, row in zip(names, logits, strict=True):
            best = int(row.argmax())
            rows.append(
                {"input": name, "class": network.classes[best], "index": best, "score": float(row[best]),
                 "logits": [float(logit) for logit in row]}
            )  # fmt: skip
    if arguments.json:
        print(json.dumps(rows))
        return 0
    table = _table(None, "input", "class", "score")
    for row in rows:
        table.add_row(row["input"], row["class"], f"{row['score']:.3f}")
    _print(table)
    return 0


def evaluate(path: Path, data_dir: Path | None, as_json: bool) -> None:
    """`gxnor eval FILE`: accuracy of an exported network on the test set of the data that it was trained for."""
    program = file.read(path)
    if program.data is None:
        raise GxnorError(f"{path} does not say which data its network is for, so there is no test set to read")
    dataset = _load(program, program.data, data_dir)
    if dataset.classes != program.classes:
        raise GxnorError(f"{path} knows other classes than {program.data}: {', '.join(program.classes):.100}")
    network, images = _network(program), dataset.test_images
    _check_images(program, program.data, images)
    predicted = np.concatenate([network.predict(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])
    accuracy = float((predicted == dataset.test_labels).mean())
    if as_json:
        result = {"path": str(path), "images": len(images), "test_accuracy": accuracy}
        print(json.dumps({**result, "predictions": predicted.tolist()}))
    else:
        print(f"{100 * accuracy:.2f} % of {len(images):,} test images")


def _load(program: Program, name: str, folder: Path | None):
    """The data set of that name, for the program."""
    from gxnor.training import data

    options = {"size": program.input.shape[1:]} if name == "folder" else {}
    return data.load(name, folder, **options)


def _network(program: Program):
    """A program ready to run on all cores; what there is to warn of goes to stderr."""
    from gxnor.network import Network

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        network = Network(program, threads=os.cpu_count() or 1)
    for warning in caught:
        print(f"gxnor: {warning.message}", file=sys.stderr)
    return network


def inspect(arguments) -> int:
    """`gxnor inspect`: the layers and what they take; with data, what they do on it."""
    if arguments.data is None and (arguments.picture or arguments.data_dir or arguments.samples is not None):
        raise GxnorError("--picture, --samples and --data-dir are for what happens on data: add --data NAME")
    if arguments.samples is not None and arguments.samples < 1:
        raise GxnorError(f"expected --samples of at least 1, got {arguments.samples}")
    if arguments.picture:
        from gxnor import event_chart

        event_chart.picture_type(arguments.picture)  # before minutes of counting
    program = file.read(arguments.file)
    size = sizes.measure(program, arguments.file.stat().st_size)
    counted = None
    if arguments.data is not None:
        counted = events.count(program, _samples(program, arguments.data, arguments.data_dir, arguments.samples))
    if arguments.picture:
        event_chart.draw(counted, arguments.picture)
    if arguments.json:
        result = {"file": str(arguments.file), "input": list(program.input.shape), "classes": list(program.classes)}
        result |= {"largest_sum": program.largest_sum, "sizes": size.to_json()}
        if counted:
            result |= {"data": arguments.data, "events": counted.to_json(), "energy": energy.to_json(counted)}
        print(json.dumps(result))
        return 0
    _print(_layer_table(program, size))
    print(
        f"{size.weights:,} weights; file {size.disk:,} bytes{_bits(size.disk_bits)}; in memory {size.memory:,} bytes"
        f"{_bits(size.memory_bits)}; no sum beyond {program.largest_sum:,}"
    )
    if counted:
        _print(_event_table(counted, arguments.data))
        _print(_energy_table(counted))
        print(f"Energy of the operations alone, memory left out: {energy.SOURCE}; XNOR and bit count derived from it.")
    return 0


def _samples(program: Program, name: str, folder: Path | None, limit: int | None):
    images = _load(program, name, folder).test_images[: SAMPLES if limit is None else limit]
    _check_images(program, name, images)
    return images


def _check_images(program: Program, name: str, images: np.ndarray) -> None:
    if images.shape[1:] != program.input.shape or program.input.space is not None:
        raise GxnorError(
            f"expected data for an input of {program.input.shape}, {name} has images of {images.shape[1:]}"
        )


def _layer_table(program: Program, size: sizes.Sizes) -> Table:
    table = _table("Layers", "", "kind", "reads", "output", "states", "weights", "zero", "bits on disk")
    source = "pixels" if program.input.space is None else f"Z_{program.input.space.N}"
    table.add_row("0", "Input", "", _shape(program.values[0].shape), source)
    measured = {layer.layer: layer for layer in size.layers}
    for number, layer in enumerate(program.layers, 1):
        row = [
            str(number),
            type(layer).__name__,
            ", ".join(map(str, layer.inputs)),
            _shape(program.values[number].shape),
        ]
        if isinstance(layer, Conv | Dense):
            own = measured[number]
            row += [
                f"Z_{own.N} {_shape(layer.weight.shape)}",
                f"{own.weights:,}",
                _percent(own.zero_weights, own.weights),
            ]
            row += [f"{8 * own.disk / own.weights:.3f}"]
        elif isinstance(layer, Threshold):
            row += [f"Z_{layer.space.N}"]
        table.add_row(*row)
    return table


def _event_table(counted: events.Events, name: str) -> Table:
    title = f"Events on {counted.samples:,} samples of {name}; numbers a sample"
    table = _table(title, "", "kind", "MACs", "fired", "resting", "equal states", "bit counts", "zero w", "zero a")
    for row in (*counted.layers, counted.total):
        table.add_row(
            str(row.layer or ""), row.kind, *(_mean(n, counted.samples) for n in (row.macs, row.fired)),
            f"{100 * row.resting:.1f} %", f"{100 * row.expected_resting:.1f} %",
            _mean(row.active_neurons, counted.samples), _percent(row.zero_weights, row.weights),
            _percent(row.zero_inputs, row.inputs),
        )  # fmt: skip
    return table


def _energy_table(counted: events.Events) -> Table:
    columns = ("float ×", "float +", "8-bit ×", "int +", "XNOR", "bit counts", "resting", "µJ")
    table = _table("The same network as its counterparts; numbers a sample", "", *columns)
    macs = counted.total.macs
    for name, row in energy.counterparts(counted).items():
        numbers = (row.float_multiplications, row.float_additions, row.byte_multiplications, row.integer_additions)
        numbers = [_mean(n, counted.samples) for n in (*numbers, row.xnors, row.bit_counts)]
        table.add_row(name, *numbers, _percent(row.resting, macs), f"{row.energy / counted.samples / 1e6:.3g}")
    return table


def _table(title: str | None, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if title and at > 3 else "left", no_wrap=True)
    return table


def _print(table: Table) -> None:
    # As wide as it takes: a long path is to wrap in the terminal, not to be cut.
    Console(highlight=False, markup=False, emoji=False, width=10_000).print(table)


def _bits(bits: float | None) -> str:
    return "" if bits is None else f", {bits:.3f} bits a weight"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _mean(total: int, samples: int) -> str:
    return f"{total / samples:,.0f}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
