"""The circuit, simulated by Icarus Verilog: the sums of the reference interpreter, and work only where events are."""

import subprocess

import numpy as np
import pytest

from benchmarks.programs import Builder, batch
from gxnor.errors import GxnorError
from gxnor.program import StateTensor
from gxnor.space import DiscreteSpace
from gxnor.targets.lowering import lower
from gxnor.targets.verilog import build, write
from tests.targets.circuit import at_the_bounds, events_of, icarus, run, samples, simulate, stack, yosys


def small(seed=0, N=1):
    """Two convolutions with pools and negative signs, and a dense layer."""
    net = Builder((2, 8, 9), seed=seed)
    net.conv(7, 3)
    net.max_pool(2)
    net.threshold(N)
    net.conv(6, (2, 3), padding=(0, 1) if N else 0)
    net.threshold(N)
    net.flatten()
    net.dense(5)
    return net.program()


@icarus
@pytest.mark.parametrize("N", [0, 1, 2, 3])
def test_activations_of_every_space(N, tmp_path):
    program = small(N=N)
    assert simulate(program, tmp_path, samples(program)).passed


@icarus
@pytest.mark.parametrize("seed", range(8))
def test_plain_stacks(seed, tmp_path):
    program = stack(seed)
    assert simulate(program, tmp_path, samples(program), lanes=(2, 4, 16)[seed % 3]).passed


@icarus
@pytest.mark.cross
@pytest.mark.parametrize("seed", range(8, 80))
def test_many_plain_stacks(seed, tmp_path):
    program = stack(seed)
    assert simulate(program, tmp_path, samples(program), lanes=(2, 4, 16)[seed % 3], STALL=seed % 2).passed


@icarus
@pytest.mark.parametrize("seed", range(2))
def test_the_dense_twin_gives_the_same_sums_in_more_cycles(seed, tmp_path):
    program = small(seed)
    x = samples(program)
    gated, dense = simulate(program, tmp_path, x), simulate(program, tmp_path, x, DENSE=1)
    assert gated.passed and dense.passed
    assert gated.fired == dense.fired
    assert gated.cycles < dense.cycles


@icarus
@pytest.mark.parametrize("stall", [1, 2])
def test_input_and_output_may_hesitate(stall, tmp_path):
    program = small()
    assert simulate(program, tmp_path, samples(program), STALL=stall).passed


@icarus
@pytest.mark.parametrize("cycle", [1, 50, 200, 400, 401, 402, 700, 1100])
def test_a_reset_at_any_time_starts_afresh(cycle, tmp_path):
    program = small()
    assert simulate(program, tmp_path, samples(program), RESTART=cycle).passed


@icarus
def test_sums_at_the_bounds(tmp_path):
    """All weights +1 and white pixels, all weights -1: registers hold the largest sums there are."""
    program, x = at_the_bounds(1, 5)
    result = simulate(program, tmp_path, x)
    assert result.passed
    assert f"{255 * 25:x}" in (tmp_path / "sums.hex").read_text()


@icarus
@pytest.mark.parametrize("N", [1, 2])
def test_accumulators_change_once_for_every_event(N, tmp_path):
    program = small(3, N)
    x = samples(program)
    result = simulate(program, tmp_path, x)
    assert list(result.fired) == events_of(program, x)


@icarus
def test_accumulators_are_written_for_events_and_to_be_cleared_alone(tmp_path):
    """The testbench itself fails where a wire of a resting lane toggles."""
    program = small(3)
    lanes = 4
    result = simulate(program, tmp_path, samples(program), lanes)
    assert result.passed
    groups = build.make(lower(program)).sums
    cleared = [4 * lanes * group.positions * group.blocks(lanes) for group in groups]  # for each of 4 images
    assert list(result.writes) == [fired + n for fired, n in zip(result.fired, cleared, strict=True)]


def two_convolutions(net, first, second, scores):
    for channels in (first, second):
        net.conv(channels, 3)
        net.threshold()
    net.flatten()
    net.dense(scores)


@icarus
def test_half_zeros_halve_the_toggles_of_the_dense_twin(tmp_path):
    """Half of the pixels and half of the weights are zero in the first layer; elsewhere there are fewer."""
    random = np.random.default_rng(1)
    net = Builder((2, 10, 10))
    net.weight = lambda N, *shape: StateTensor.from_indices(
        DiscreteSpace(1), random.choice(np.array([0, 1, 1, 2], np.uint8), shape)
    )
    two_convolutions(net, 16, 16, 10)
    program = net.program()
    x = batch(program, 2)
    x[random.random(x.shape) < 0.5] = 0
    gated, dense = (simulate(program, tmp_path, x, 16, TOGGLES=1, DENSE=form) for form in (0, 1))
    assert gated.passed and dense.passed
    assert gated.bits[0] <= dense.bits[0] / 2
    assert all(few < many for few, many in zip(gated.bits, dense.bits, strict=True))


@icarus
def test_an_event_a_cycle(tmp_path):
    """In a layer that emits as fast as the next one works, nine of ten cycles with an event at hand add."""
    net = Builder((2, 10, 10))
    two_convolutions(net, 16, 16, 64)
    program = net.program()
    result = simulate(program, tmp_path, samples(program), 16)
    assert result.passed
    assert all(adds >= 0.9 * runs for adds, runs in zip(result.adds, result.runs, strict=True))


@icarus
def test_a_black_image_is_no_work_for_the_first_layer(tmp_path):
    program = small()
    result = simulate(program, tmp_path, np.zeros((1, *program.input.shape), np.uint8))
    assert result.passed
    assert result.adds[0] == 0


@icarus
def test_the_testbench_sees_a_wrong_sum(tmp_path):
    program = small()
    simulate(program, tmp_path, samples(program))
    lines = (tmp_path / "sums.hex").read_text().split("\n")
    lines[3] = f"{int(lines[3], 16) ^ 1:x}"
    (tmp_path / "sums.hex").write_text("\n".join(lines))
    result = run(tmp_path)
    assert not result.passed
    assert "1 wrong sums" in result.output


@pytest.mark.parametrize("lanes", [0, 1, 3, 12, -4])
def test_lanes_are_a_power_of_two(lanes, tmp_path):
    with pytest.raises(GxnorError, match="power of two"):
        write(small(), tmp_path, lanes=lanes)
    assert not list(tmp_path.iterdir())


def test_names_are_identifiers(tmp_path):
    with pytest.raises(GxnorError, match="--name"):
        write(small(), tmp_path, name="9 lives")


@pytest.mark.cross
@yosys
def test_large_memories_become_block_ram(tmp_path):
    net = Builder((2, 20, 20))
    two_convolutions(net, 32, 16, 10)
    write(net.program(), tmp_path, name="net", lanes=8)
    done = subprocess.run(["make", "synth"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "DP16KD" in (tmp_path / "ecp5.txt").read_text()
    assert "SB_RAM40_4K" in (tmp_path / "ice40.txt").read_text()
    assert "TRELLIS_DPR16X4" not in (tmp_path / "ecp5.txt").read_text()
