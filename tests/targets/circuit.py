"""The circuit of a program, written and simulated for the tests."""

import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.programs import Builder, batch
from gxnor.analysis import events
from gxnor.errors import GxnorError
from gxnor.program import StateTensor
from gxnor.space import DiscreteSpace
from gxnor.targets.verilog import write

icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog: apt install iverilog")
verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="needs Verilator 5: apt install verilator")
yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="needs Yosys: apt install yosys")


def simulate(program, folder, samples, lanes=4, *, events_per_cycle=1, pipelined=False, **parameters):
    """What the testbench says: whether it passed, and of every step: accumulators that changed, that were written, cycles
    with an addition, cycles with an event at hand, toggled bits (with TOGGLES=1)."""
    form = {"lanes": lanes, "events_per_cycle": events_per_cycle, "pipelined": pipelined}
    write(program, folder, name="net", samples=samples, **form)
    return run(folder, **parameters)


def run(folder, **parameters):
    options = [f"-Ptestbench.{name}={value}" for name, value in parameters.items()]
    compiled = subprocess.run(
        ["iverilog", "-g2005", "-Wall", "-Wno-timescale", "-o", "sim.vvp", *options, "testbench.v", "net.v"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    output = subprocess.run(["vvp", "-n", "sim.vvp"], cwd=folder, capture_output=True, text=True, check=True).stdout
    steps = re.findall(r"step \d+: (\d+) lanes fired, (\d+) written, adding in (\d+) of (\d+) cycles", output)
    fired, writes, adds, runs = zip(*(map(int, step) for step in steps), strict=True)
    bits = [sum(map(int, re.findall(r"(\d+) of", line))) for line in re.findall(r"toggled bits: (.*)", output)]
    return SimpleNamespace(
        passed="PASS" in output, output=output, fired=fired, writes=writes, adds=adds, runs=runs, bits=bits,
        cycles=int(re.search(r"(\d+) cycles per image", output)[1]), between=int(re.search(r"one every (\d+)", output)[1]),
    )  # fmt: skip


def check_in_verilator(folder):
    """It has nothing to warn of, and finds no wrong sum among four images."""
    warned = subprocess.run(["verilator", "--lint-only", "net.v"], cwd=folder, capture_output=True, text=True)
    assert not warned.stderr
    done = subprocess.run(["make", "fast"], cwd=folder, capture_output=True, text=True)
    assert "PASS: 4 images, 0 wrong sums" in done.stdout, done.stderr


def check_in_yosys(folder, part):
    """It has nothing to warn of, and makes block RAM on both devices, and such a part of an ECP5, out of the circuit."""
    check = "read_verilog net.v; hierarchy -check -top net; proc; check -assert"
    checked = subprocess.run(["yosys", "-q", "-p", check], cwd=folder, capture_output=True, text=True)
    assert checked.returncode == 0 and not checked.stderr
    done = subprocess.run(["make", "synth"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert part in (folder / "ecp5.txt").read_text()
    assert "SB_RAM40_4K" in (folder / "ice40.txt").read_text()


def events_of(program, x):
    """What every layer's lanes are to count: black pixels are not events to the circuit."""
    counted = [layer.fired for layer in events.count(program, x).layers]
    first = program.layers[0]
    counted[0] = int(events.neuron_events(first, x != 0, first.weight.levels() != 0).sum())
    return counted


def at_the_bounds(channels, side):
    """A network of one convolution, weights of +1 alone and of -1 alone, and images that are white, black and next to it."""
    net = Builder((channels, side, side))
    net.weight = lambda N, *shape: one_sign(N, shape)
    net.conv(3, side)
    net.flatten()
    return net.program(), np.stack([np.full((channels, side, side), value, np.uint8) for value in (255, 0, 1)])


def one_sign(N, shape):
    """Channels of -1 alone, of +1 alone, of -1 alone, ..."""
    space = DiscreteSpace(N)
    indices = np.zeros(shape, np.uint8)
    indices[1::2] = space.size - 1
    return StateTensor.from_indices(space, indices)


def samples(program, size=2):
    """Random pixels or states, half of them zero; nothing but zeros; nothing but the largest."""
    space = program.input.space
    zero, largest = (0, 255) if space is None else (space.size // 2, space.size - 1)
    x = batch(program, size)
    x[np.random.default_rng(1).random(x.shape) < 0.5] = zero
    return np.concatenate([x, np.full_like(x[:1], zero), np.full_like(x[:1], largest)])


def stack(seed):
    """Any plain stack, weights of up to nine states."""
    random = np.random.default_rng(seed)
    net = Builder(tuple(random.integers((1, 5, 5), (4, 9, 9)).tolist()), seed=seed)
    for _ in range(random.integers(1, 4)):
        channels, N = net.values[-1].shape[0], int(random.integers(4))
        kernel, stride, dilation = (tuple(random.integers(1, top, 2).tolist()) for top in (4, 3, 3))
        binary = net.values[-1].space is not None and net.values[-1].space.N == 0
        padding = 0 if binary else tuple(random.integers(0, 2, 2).tolist())
        groups = channels if random.random() < 0.3 else 1
        try:
            net.conv(
                groups * int(random.integers(1, 6)), kernel, int(random.integers(4)), stride, padding, dilation, groups
            )
        except GxnorError:
            continue  # it does not fit here
        if random.random() < 0.5 and min(net.values[-1].shape[1:]) > 1:
            net.max_pool(2, ceil_mode=bool(random.integers(2)))
        net.threshold(N)
    net.flatten()
    net.dense(int(random.integers(2, 12)))
    return net.program()
