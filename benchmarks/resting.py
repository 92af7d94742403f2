"""How much of the circuit of `gxnor export --to verilog` rests, over the sparsity that r gives a network.

python benchmarks/resting.py measure   for every r trains `mnist-mcu` (runs/resting; what is there is kept), counts its
                                       events, simulates its circuit and the dense twin on 10 test images in Verilator:
                                       benchmarks/results/resting.json; an hour or two
python benchmarks/resting.py draw      docs/images/resting.png of that
python benchmarks/resting.py neuron    docs/images/neuron.png: the waves of one lane

Needs Verilator 5, Icarus Verilog, PyTorch, Matplotlib and MNIST.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.programs import Builder, batch
from benchmarks.verilog import call, test_images
from benchmarks.verilog import toggles as switching
from gxnor import pretrained
from gxnor.analysis import energy, events
from gxnor.program import file
from gxnor.targets.verilog import write
from gxnor.writing import replacing, write_text

RESULT = Path(__file__).parent / "results" / "resting.json"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
RUNS = Path("runs/resting")
SHIPPED = 0.5  # r of the network that comes with the package, trained for 20 epochs
RECIPE, EPOCHS, R, SAMPLES, LANES = "mnist-mcu", 8, (0.2, 0.5, 0.9), 10, 32
SHOWN = 24  # cycles
COLOURS = ("#2a6fd0", "#d9631e", "#13916b", "#8a4fc4", "#b3315f")


def main() -> None:
    if sys.argv[1:] == ["measure"]:
        with tempfile.TemporaryDirectory() as folder:
            rows = [measure(r, Path(folder) / str(r)) for r in R]
        found = {"recipe": RECIPE, "epochs": EPOCHS, "images": SAMPLES, "rows": rows}
        write_text(RESULT, json.dumps(found, indent=1) + "\n")
    elif sys.argv[1:] == ["draw"]:
        draw(json.loads(RESULT.read_text())["rows"])
    elif sys.argv[1:] == ["neuron"]:
        with tempfile.TemporaryDirectory() as folder:
            draw_neuron(waves(Path(folder)))
    else:
        sys.exit(__doc__)


def measure(r: float, folder: Path) -> dict:
    """A network with that r, its events, and toggles and cycles of both forms of its circuit."""
    path = pretrained.find(RECIPE)
    if r != SHIPPED:
        run, path = RUNS / f"r{r}", Path(f"{folder}.gxnor")
        settings = (f"precision.r={r}", "train.arithmetic=integer")
        call(sys.executable, "-m", "gxnor", "train", RECIPE, "--epochs", str(EPOCHS), "--out", str(run), "--resume",
             *(word for setting in settings for word in ("--set", setting)), cwd=Path.cwd())  # fmt: skip
        call(sys.executable, "-m", "gxnor", "export", str(run), "-o", str(path), cwd=Path.cwd())
    program = file.read(path)
    told = json.loads(call(sys.executable, "-m", "gxnor", "eval", str(path), "--json", cwd=Path.cwd()))
    counted = events.count(program, test_images(program, SAMPLES))
    return {
        "r": r,
        "test_accuracy": told["test_accuracy"],
        "zero_activations": [layer.zero_inputs / layer.inputs for layer in counted.layers],
        "zero_weights": [layer.zero_weights / layer.weights for layer in counted.layers],
        "products": [layer.macs for layer in counted.layers],
        "events": [layer.fired for layer in counted.layers],
        "operations_pj": {name: row["energy_pj"] for name, row in energy.to_json(counted)["networks"].items()},
        **switching(program, folder, SAMPLES, {"lanes": LANES}),
    }


def toggles(form: dict) -> int:
    return sum(sum(layer["toggles"].values()) for layer in form["layers"])


def draw(rows: list[dict]) -> None:
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    r = [row["r"] for row in rows]
    full = [sum(row["products"]) for row in rows]
    left.plot(r, [row["operations_pj"]["this network"] / row["operations_pj"]["BNN"] for row in rows], "o-",
              color=COLOURS[0], label="operations of the paper's table / a binary network's")  # fmt: skip
    left.plot(r, [sum(row["events"]) / n for row, n in zip(rows, full, strict=True)], "s-", color=COLOURS[1],
              label="events counted / products")  # fmt: skip
    left.plot(r, [toggles(row["gated"]) / toggles(row["dense"]) for row in rows], "^-", color=COLOURS[2],
              label="toggles simulated / the dense twin's")  # fmt: skip
    left.plot(r, [row["gated"]["cycles_per_image"] / row["dense"]["cycles_per_image"] for row in rows], "v-",
              color=COLOURS[3], label="cycles / the dense twin's")  # fmt: skip
    labels = [f"{row['r']}\n{100 * row['test_accuracy']:.2f} %" for row in rows]
    left.set(xlabel="r, and the network's test accuracy", ylim=(0, 1.05), title="What is left of the work")
    left.set_xticks(r, labels)
    for at in range(len(rows[0]["events"])):
        ratio = [
            sum(row["gated"]["layers"][at]["toggles"].values()) / sum(row["dense"]["layers"][at]["toggles"].values())
            for row in rows
        ]
        zeros = [1 - row["events"][at] / row["products"][at] for row in rows]
        right.plot(zeros, ratio, "o", color=COLOURS[at], label=f"layer {at + 1}")
    right.plot([0, 1], [1, 0], color="#b9b6ad", linewidth=1, label="toggles in proportion to events")
    right.axhline(0.5, color="#b9b6ad", linewidth=0.8, linestyle=":")
    right.set(xlabel="products that rest", ylabel="toggles / the dense twin's", xlim=(0, 1), ylim=(0, 1.05),
              title="Layer by layer")  # fmt: skip
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    save(figure, "resting.png")


def waves(folder: Path) -> dict[str, list[str]]:
    """Bits of one lane and of what reaches it, by cycle, while the second layer adds."""
    net = Builder((1, 6, 6), seed=2)
    net.conv(8, 3)
    net.threshold()
    net.conv(8, 3)
    net.threshold()
    net.flatten()
    net.dense(5)
    program = net.program()
    write(program, folder, name="net", lanes=8, samples=batch(program, 1))
    call("iverilog", "-g2005", "-Ptestbench.WAVES=1", "-o", "sim.vvp", "testbench.v", "net.v", cwd=folder)
    call("vvp", "-n", "sim.vvp", cwd=folder)
    text = (folder / "waves.vcd").read_text()
    head, body = text.split("$enddefinitions $end", 1)
    wanted = {"step": "dut"} | {name: "engine" for name in ("adds_1", "clears", "value_1")}
    wanted |= {name: "lane2" for name in ("weight", "open", "found", "sum", "operand", "writes")}
    codes: dict[str, str] = {}
    scopes: list[str] = []
    for kind, rest in re.findall(r"\$(scope|upscope|var)\b(.*?)\$end", head, re.DOTALL):
        words = rest.split()
        if kind == "scope":
            scopes.append(words[1])
        elif kind == "upscope":
            scopes.pop()
        elif wanted.get(words[3]) == scopes[-1]:
            codes[words[2]] = words[3]
    now: dict[str, str] = {name: "x" for name in wanted}
    found: dict[str, list[str]] = {name: [] for name in wanted}
    for line in body.split("\n"):
        if line.startswith("#"):
            if int(line[1:]) % 10 == 0:  # the falling edge: all registers have settled
                for name, bits in now.items():
                    found[name].append(bits)
        elif line:
            bits, code = line[1:].split(" ") if line[0] == "b" else (line[0], line[1:])
            if code in codes:
                now[codes[code]] = bits
    return found


def number(bits: str, width: int, signed: bool = True) -> int | None:
    if not set(bits) <= {"0", "1"}:
        return None
    value = int(bits, 2)
    return value - (1 << width) if signed and len(bits) == width and bits[0] == "1" else value


def draw_neuron(found: dict[str, list[str]]) -> None:
    widths = {name: max(len(bits) for bits in column) for name, column in found.items()}
    steps = [number(bits, 8, False) for bits in found["step"]]
    starts = [i for i in range(3, len(steps) - SHOWN) if all(step == 1 for step in steps[i - 3 : i + SHOWN])]

    def disturbed(i: int) -> tuple[int, int]:
        """By emitting, which takes all sums of a place; by waiting."""
        return found["clears"][i - 3 : i + SHOWN].count("1"), found["adds_1"][i : i + SHOWN].count("0")

    begin = min(starts, key=disturbed)
    cycles = range(begin, begin + SHOWN)
    rows = (
        ("value of the event", "value_1", True), ("weight: down, not 0", "weight", False), ("the lane opens", "open", False),
        ("sum read", "found", True), ("operand", "operand", True), ("sum at the adder", "sum", True),
        ("written back", "writes", False),
    )  # fmt: skip
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots()
    for level, (label, name, signed) in enumerate(reversed(rows)):
        texts = [found[name][i] for i in cycles]
        values = [number(bits, widths[name], signed) for bits in texts]
        axes.text(-0.4, level + 0.35, label, ha="right", va="center", fontsize=9)
        if widths[name] == 1:
            axes.step(range(len(values) + 1), [level + 0.7 * (v or 0) for v in (*values, values[-1])], where="post",
                      color=COLOURS[1] if name == "open" else COLOURS[0])  # fmt: skip
            continue
        start = 0
        for i in range(1, len(values) + 1):
            if i == len(values) or values[i] != values[start]:
                axes.fill_between(
                    [start + 0.06, i - 0.06], level, level + 0.7, color=COLOURS[2], alpha=0.22, linewidth=0
                )
                shown = texts[start].zfill(2) if name == "weight" else values[start]
                axes.text((start + i) / 2, level + 0.35, str(shown), ha="center", va="center", fontsize=7)
                start = i
    for i in range(len(cycles) + 1):
        axes.axvline(i, color="#e6e4de", linewidth=0.6, zorder=0)
    axes.set(xlim=(0, len(cycles)), ylim=(-0.2, len(rows)), yticks=[], xlabel="cycles")
    axes.set_title(
        "One lane: opens where its weight is not 0, writes its sum two cycles later; where it rests, nothing toggles"
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    save(figure, "neuron.png")


def save(figure: Figure, name: str) -> None:
    with replacing(IMAGES / name) as part:
        figure.savefig(part, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
