"""Circuits of networks that are not plain stacks: additions, average pools, planes of weights, values read twice."""

import numpy as np
import pytest

from benchmarks.programs import Builder, mobilenet_v1, random_program, resnet, two_heads
from gxnor.errors import GxnorError
from gxnor.program import ALWAYS, NEVER, StateTensor, Threshold, reference
from gxnor.space import DiscreteSpace
from gxnor.targets.lowering import lower
from gxnor.targets.verilog import build, write
from tests.targets.circuit import (
    check_in_verilator,
    check_in_yosys,
    icarus,
    samples,
    simulate,
    stack,
    verilator,
    yosys,
)  # fmt: skip


def block(seed=0, N1=1, N2=1):
    """A residual block whose shortcut is the value itself, one whose shortcut is a convolution with a stride, an average."""
    net = Builder((2, 6, 5), seed=seed)
    net.conv(5, 3, N1, padding=1)
    start = net.threshold(N2)
    net.conv(5, 3, N1, padding=1)
    net.threshold(N2)
    net.conv(5, 3, N1, padding=1)
    start = net.threshold(N2, at=net.plus(net.last, start, (1, 3)))
    net.conv(7, 3, N1, 2, padding=1)
    net.threshold(N2)
    net.conv(7, 3, N1, padding=1)
    body = net.requantize(1000)
    net.conv(7, 1, N1, 2, at=start)
    net.plus(body, net.requantize(1000))
    net.threshold(N2)
    net.sum_pool(net.values[-1].shape[1:])
    net.flatten()
    net.dense(4, N1)
    return net.program()


def programs(count, size, start=0):
    """Numbers of the first random programs that have a circuit, and values of no more than that size together."""
    found = []
    while len(found) < count:
        try:
            program = random_program(start)
            if sum(int(np.prod(value.shape)) for value in program.values) <= size and build.make(lower(program)):
                found.append(start)
        except GxnorError:  # it has none
            pass
        start += 1
    return found


FEW, MANY = programs(8, 600), programs(80, 3000, 100)


@icarus
@pytest.mark.parametrize("seed", FEW)
def test_random_programs(seed, tmp_path):
    program = random_program(seed)
    assert simulate(program, tmp_path, samples(program), lanes=(2, 4, 16)[seed % 3]).passed


@icarus
@pytest.mark.cross
@pytest.mark.parametrize("seed", MANY)
def test_many_random_programs(seed, tmp_path):
    program = random_program(seed)
    assert simulate(program, tmp_path, samples(program), lanes=(2, 4, 16)[seed % 3], STALL=seed % 3).passed


@icarus
@pytest.mark.parametrize(("N1", "N2"), [(0, 1), (1, 0), (1, 1), (2, 2)])
def test_residual_blocks_of_several_spaces(N1, N2, tmp_path):
    program = block(N1=N1, N2=N2)
    assert simulate(program, tmp_path, samples(program)).passed


@icarus
@pytest.mark.cross
@pytest.mark.parametrize(("N1", "N2"), [(3, 1), (1, 3), (2, 4), (4, 2)])
def test_residual_blocks_of_large_spaces(N1, N2, tmp_path):
    program = block(N1=N1, N2=N2)
    assert simulate(program, tmp_path, samples(program)).passed


@icarus
def test_a_residual_network_of_eight_layers(tmp_path):
    program = resnet(1, 4, 8)
    assert simulate(program, tmp_path, samples(program, 1), lanes=8).passed


@icarus
@pytest.mark.cross
def test_depthwise_convolutions(tmp_path):
    program = mobilenet_v1(2, 32)
    assert simulate(program, tmp_path, samples(program, 1)[:2], lanes=16).passed


@icarus
@pytest.mark.parametrize(
    "parameters", [{"STALL": 1}, {"STALL": 2}, {"DENSE": 1}, *({"RESTART": cycle} for cycle in (300, 1111, 2000))]
)
def test_a_residual_block_stalls_restarts_and_has_a_dense_twin(parameters, tmp_path):
    program = block()
    assert simulate(program, tmp_path, samples(program, 1), **parameters).passed


@icarus
@pytest.mark.parametrize("step", [ALWAYS, NEVER])
def test_all_events_and_none(step, tmp_path):
    net = Builder((1, 5, 4))
    net.conv(3, 3, padding=1)
    start = constant(net, step)
    net.conv(3, 3, padding=1)
    net.plus(net.last, start, (-1, 2))
    constant(net, step)
    net.flatten()
    net.dense(3)
    program = net.program()
    result = simulate(program, tmp_path, samples(program))
    assert result.passed
    assert (sum(result.fired[1:]) == 0) == (step == NEVER)


def constant(net, step):
    """States 1 (ALWAYS) or 0 (NEVER)."""
    channels = net.values[-1].shape[0]
    steps = np.array([[ALWAYS, step]] * channels, dtype=np.int32)
    return net.add(Threshold((net.last,), DiscreteSpace(1), steps, np.ones(channels, np.int8)), 1.0)


@icarus
@pytest.mark.parametrize("sign", [0, 4])
def test_sums_at_the_bounds(sign, tmp_path):
    """All weights at one end of nine states, an addition with the largest values of the same sign."""
    net = Builder((1, 4, 4), seed=1)
    net.weight = lambda N, *shape: StateTensor.from_indices(
        DiscreteSpace(N), np.full(shape, sign * 2**N // 4, np.uint8)
    )
    start = net.conv(3, 3, 3)
    net.plus(start, start, (5, 2))
    net.flatten()
    net.dense(2, 1)
    program = net.program()
    result = simulate(program, tmp_path, np.full((1, 1, 4, 4), 255, np.uint8))
    assert result.passed
    assert np.abs(reference.trace(program, np.full((1, 1, 4, 4), 255, np.uint8))[-2]).max() == program.values[-2].bound


@icarus
def test_an_addition_changes_one_accumulator_for_every_state_that_is_not_zero(tmp_path):
    net = Builder((2, 6, 6))
    start = net.threshold(at=net.conv(6, 3))
    net.conv(6, 3, padding=1)
    net.plus(net.last, start, (1, 4))
    net.threshold()
    net.flatten()
    net.dense(3)
    program = net.program()
    x = samples(program)
    result = simulate(program, tmp_path, x)
    added = [i for i, step in enumerate(build.make(lower(program)).steps) if step.shift == 2]
    assert [result.fired[i] for i in added] == [np.count_nonzero(reference.trace(program, x)[start])]


@icarus
@pytest.mark.parametrize("ends", [(0, 1), (1, 0)])
def test_windows_of_a_max_pool_may_overlap_and_signs_be_negative(ends, tmp_path):
    """Before the thresholds, and after them: there the smallest state is taken where the sign is negative."""
    before, after = ends
    net = Builder((1, 9, 9), seed=3)
    net.conv(4, 3)
    if before:
        net.max_pool(3, 2, padding=1)
    net.plus(net.last, net.last, (1, 0)) if after else None
    net.threshold(2)
    if after:
        net.max_pool(3, 2, padding=1)
    net.max_pool(2, 1)
    net.flatten()
    net.dense(5)
    program = net.program()
    assert any((layer.sign < 0).any() for layer in program.layers if isinstance(layer, Threshold))
    assert simulate(program, tmp_path, samples(program)).passed


def test_what_the_circuit_does_not_run_is_refused(tmp_path):
    net = Builder((1, 6, 6))
    net.conv(3, 3)
    net.upsample(2)
    net.flatten()
    net.dense(2)
    with pytest.raises(GxnorError, match=r"layer 2 \(Upsample\) has no form in the circuit"):
        write(net.program(), tmp_path)
    with pytest.raises(GxnorError, match="one output"):
        write(two_heads(), tmp_path)
    net = Builder((1, 6, 6))
    net.threshold()
    net.flatten()
    net.dense(2)
    with pytest.raises(GxnorError, match=r"layer 1 \(Threshold\) reads pixels"):
        write(net.program(), tmp_path)
    net = Builder((1, 6, 6))
    net.conv(3, 3)
    net.max_pool(2)
    net.flatten()
    net.dense(2)
    with pytest.raises(GxnorError, match=r"layer 2 \(MaxPool\) pools numbers that are not states"):
        write(net.program(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.cross
@verilator
@pytest.mark.parametrize("name", ["stack 0", "stack 1", "block 1", "block 3", *(f"random {seed}" for seed in MANY[:4])])
def test_verilator_agrees(name, tmp_path):
    kind, number = name.split()
    program = {"stack": stack, "random": random_program, "block": lambda N: block(N1=N)}[kind](int(number))
    write(program, tmp_path, name="net", samples=samples(program))
    check_in_verilator(tmp_path)


@pytest.mark.cross
@yosys
def test_a_residual_block_is_synthesised(tmp_path):
    write(block(), tmp_path, name="net", lanes=4)
    check_in_yosys(tmp_path, "MULT18X18D")
