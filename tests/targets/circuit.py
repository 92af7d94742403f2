"""The circuit of a program, written and simulated for the tests."""

import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.programs import Builder, batch
from gxnor.errors import GxnorError
from gxnor.targets.verilog import write

icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog: apt install iverilog")


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
