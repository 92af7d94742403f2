"""`gxnor inspect`: the layers of an exported network and, on real data, what they do."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gxnor import pretrained
from gxnor.analysis import energy, events, sizes
from gxnor.cli import tables
from gxnor.cli.testset import DATA, load
from gxnor.errors import GxnorError
from gxnor.program import Conv, Dense, Program, Threshold, file

if TYPE_CHECKING:
    from rich.table import Table

SAMPLES = 200  # of the test set, where nothing else is said: a second on MNIST, a minute on CIFAR-10


def add_parser(commands) -> None:
    parser = commands.add_parser("inspect", help="layers, bits and, on real data, events of an exported network")
    parser.add_argument("file", type=Path, metavar="FILE.gxnor|NAME")
    parser.add_argument("--data", metavar="NAME|PATH", help=f"count events on {DATA}")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the data is")
    parser.add_argument("--samples", type=int, metavar="N", help=f"of the test set (default: {SAMPLES})")
    parser.add_argument("--picture", type=Path, metavar="PATH", help="draw the events (png, svg, pdf)")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> None:
    """The layers and what they take; with data, what they do on it."""
    if arguments.data is None and (arguments.picture or arguments.data_dir or arguments.samples is not None):
        raise GxnorError("--picture, --samples and --data-dir are for what happens on data: add --data NAME")
    if arguments.samples is not None and arguments.samples < 1:
        raise GxnorError(f"expected --samples of at least 1, got {arguments.samples}")
    if arguments.picture:
        from gxnor.analysis import chart

        chart.picture_type(arguments.picture)  # before minutes of counting
    path = pretrained.find(arguments.file)
    program = file.read(path)
    size = sizes.measure(program, path.stat().st_size)
    counted = None
    if arguments.data is not None:
        images = load(program, arguments.data, arguments.data_dir).images
        counted = events.count(program, images[: arguments.samples or SAMPLES])
    if arguments.picture and counted is not None:
        chart.draw(counted, arguments.picture)
    if arguments.json:
        result: dict[str, Any] = {"file": str(arguments.file), "input": list(program.input.shape)}
        outputs = {output.name: {"shape": output.shape, "classes": output.classes} for output in program.outputs}
        result |= {"classes": list(program.classes), "outputs": outputs}
        result |= {"largest_sum": program.largest_sum, "sizes": size.to_json()}
        if counted:
            result |= {"data": arguments.data, "events": counted.to_json(), "energy": energy.to_json(counted)}
        print(json.dumps(result))
        return
    tables.show(_layer_table(program, size))
    print(
        f"{size.weights:,} weights; file {size.disk:,} bytes{tables.bits(size.disk_bits)}; in memory {size.memory:,} bytes"
        f"{tables.bits(size.memory_bits)}; no sum beyond {program.largest_sum:,}"
    )
    if program.output_names:
        print(f"outputs: {', '.join(f'{of.name} ({len(of.classes)} classes)' for of in program.outputs)}")
    if counted:
        tables.show(_event_table(counted, arguments.data))
        tables.show(_energy_table(counted))
        print(f"Energy of the operations alone, memory left out: {energy.SOURCE}; XNOR and bit count derived from it.")


def _layer_table(program: Program, size: sizes.Sizes) -> Table:
    table = tables.table("Layers", "", "kind", "reads", "output", "states", "weights", "zero", "bits on disk")
    source = "pixels" if program.input.space is None else f"Z_{program.input.space.N}"
    table.add_row("0", "Input", "", tables.shape(program.values[0].shape), source)
    measured = {layer.layer: layer for layer in size.layers}
    for number, layer in enumerate(program.layers, 1):
        row = [
            str(number),
            type(layer).__name__,
            ", ".join(map(str, layer.inputs)),
            tables.shape(program.values[number].shape),
        ]
        if isinstance(layer, Conv | Dense):
            own = measured[number]
            row += [
                f"Z_{own.N} {tables.shape(layer.weight.shape)}",
                f"{own.weights:,}",
                tables.percent(own.zero_weights, own.weights),
            ]
            row += [f"{8 * own.disk / own.weights:.3f}"]
        elif isinstance(layer, Threshold):
            row += [f"Z_{layer.space.N}"]
        table.add_row(*row)
    return table


def _event_table(counted: events.Events, name: str) -> Table:
    title = f"Events on {counted.samples:,} samples of {name}; numbers per sample"
    table = tables.table(
        title, "", "kind", "MACs", "fired", "resting", "equal states", "bit counts", "zero w", "zero a"
    )
    for row in (*counted.layers, counted.total):
        table.add_row(
            str(row.layer or ""), row.kind, *(tables.mean(n, counted.samples) for n in (row.macs, row.fired)),
            f"{100 * row.resting:.1f} %", f"{100 * row.expected_resting:.1f} %",
            tables.mean(row.active_neurons, counted.samples), tables.percent(row.zero_weights, row.weights),
            tables.percent(row.zero_inputs, row.inputs),
        )  # fmt: skip
    return table


def _energy_table(counted: events.Events) -> Table:
    columns = ("float ×", "float +", "8-bit ×", "int +", "XNOR", "bit counts", "resting", "µJ")
    table = tables.table("The same network as its counterparts; numbers per sample", "", *columns)
    macs = counted.total.macs
    for name, row in energy.counterparts(counted).items():
        numbers = (row.float_multiplications, row.float_additions, row.byte_multiplications, row.integer_additions)
        texts = [tables.mean(n, counted.samples) for n in (*numbers, row.xnors, row.bit_counts)]
        table.add_row(name, *texts, tables.percent(row.resting, macs), f"{row.energy / counted.samples / 1e6:.3g}")
    return table
