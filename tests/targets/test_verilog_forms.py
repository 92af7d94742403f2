"""The circuit's forms: several events per cycle, and an engine for every layer, simulated by Icarus Verilog."""

import subprocess

import numpy as np
import pytest

from benchmarks.programs import Builder, batch, random_program, resnet
from gxnor.cli import main as cli
from gxnor.errors import GxnorError
from gxnor.program import ALWAYS, NEVER, file, reference
from gxnor.targets.verilog import write
from tests.targets.circuit import (
    at_the_bounds,
    check_in_verilator,
    check_in_yosys,
    events_of,
    icarus,
    samples,
    simulate,
    stack,
    verilator,
    yosys,
)
from tests.targets.test_verilog import small
from tests.targets.test_verilog_branches import FEW, MANY, block, constant

FORMS = [
    pytest.param({"events_per_cycle": E, "pipelined": pipelined}, id=f"{E}{'-pipelined' if pipelined else ''}")
    for E, pipelined in ((2, False), (4, False), (1, True), (2, True))
]


def drawn(seed):
    """Any form, with any number of lanes."""
    random = np.random.default_rng(seed)
    lanes = int(random.choice([2, 4, 8, 16]))
    per_cycle = int(random.choice([n for n in (1, 2, 4, 8) if n <= lanes]))
    return {"lanes": lanes, "events_per_cycle": per_cycle, "pipelined": per_cycle == 1 or bool(random.integers(2))}


@icarus
@pytest.mark.parametrize("seed", (0, 2, 3))
def test_plain_stacks(seed, tmp_path):
    program = stack(seed)
    assert simulate(program, tmp_path, samples(program), **drawn(seed)).passed


@icarus
@pytest.mark.cross
@pytest.mark.parametrize("seed", range(8, 80))
def test_many_plain_stacks(seed, tmp_path):
    program = stack(seed)
    assert simulate(program, tmp_path, samples(program), **drawn(seed), STALL=seed % 3).passed


@icarus
@pytest.mark.parametrize("seed", FEW[:5])
def test_random_programs(seed, tmp_path):
    program = random_program(seed)
    assert simulate(program, tmp_path, samples(program), **drawn(seed)).passed


@icarus
@pytest.mark.cross
@pytest.mark.parametrize("seed", MANY)
def test_many_random_programs(seed, tmp_path):
    program = random_program(seed)
    assert simulate(program, tmp_path, samples(program), **drawn(seed), STALL=seed % 3, DENSE=seed % 2).passed


@icarus
@pytest.mark.parametrize(
    "form",
    [FORMS[0], *(pytest.param(*form.values, id=form.id, marks=pytest.mark.cross) for form in FORMS[1:3]), FORMS[3]],
)
def test_a_residual_block_in_every_form(form, tmp_path):
    program = block(N1=2)
    assert simulate(program, tmp_path, samples(program, 1)[:1], **form).passed


@icarus
@pytest.mark.cross
@pytest.mark.parametrize("form", FORMS)
def test_a_residual_network_of_eight_layers_in_every_form(form, tmp_path):
    program = resnet(1, 4, 8)
    assert simulate(program, tmp_path, samples(program, 1), lanes=8, **form).passed


@icarus
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parameters", [{"STALL": 1}, {"STALL": 2}, {"RESTART": 700}, {"DENSE": 1}])
def test_every_form_stalls_restarts_and_has_a_dense_twin(form, parameters, tmp_path):
    program = small()
    assert simulate(program, tmp_path, samples(program), **form, **parameters).passed


@icarus
@pytest.mark.cross
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cycle", [1, 50, 200, 400, 401, 402, 550, 900, 1100])
def test_a_reset_at_any_time_starts_afresh_in_every_form(form, cycle, tmp_path):
    program = small()
    assert simulate(program, tmp_path, samples(program), **form, RESTART=cycle).passed


@icarus
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("N", [1, 2])
def test_a_gate_opens_once_for_every_event(form, N, tmp_path):
    """The testbench itself fails where a wire of a resting lane toggles, or an accumulator is written without an event."""
    program = small(3, N)
    x = samples(program)
    result = simulate(program, tmp_path, x, **form)
    assert result.passed
    assert list(result.fired) == events_of(program, x)


@icarus
@pytest.mark.parametrize("per_cycle", [1, 2, 4])
@pytest.mark.parametrize("pipelined", [False, True])
def test_accumulators_are_written_once_for_the_events_of_a_cycle(per_cycle, pipelined, tmp_path):
    """In a dense layer: for every output and group of inputs of which one meets a weight, and to be cleared."""
    net = Builder((1, 4, 5), seed=2)
    net.flatten()
    net.dense(14)
    net.threshold()
    net.dense(6)
    program = net.program()
    x = samples(program)
    result = simulate(program, tmp_path, x, events_per_cycle=per_cycle, pipelined=pipelined)
    assert result.passed
    states = program_states(program, x)
    meets = states[:, None] & (program.layers[-2].weight.levels().reshape(6, 14) != 0)
    groups = np.pad(meets, ((0, 0), (0, 0), (0, -14 % per_cycle))).reshape(len(x), 6, -1, per_cycle)
    cleared = 2 * 4 * len(x) if not pipelined else 2 * 4 * (len(x) - 1)  # the last image's leave as the testbench ends
    assert result.fired[1] == meets.sum()
    assert groups.any(-1).sum() + cleared <= result.writes[1] <= groups.any(-1).sum() + 2 * 4 * len(x) + 2 * 4


def program_states(program, x):
    """Which inputs of the last layer are not 0."""
    return reference.trace(program, x)[program.layers[-2].inputs[0]].reshape(len(x), -1) != 0


@icarus
@pytest.mark.parametrize("form", FORMS)
def test_sums_at_the_bounds(form, tmp_path):
    """All weights +1 and white pixels, all weights -1, in all channels at once."""
    program, x = at_the_bounds(6, 3)
    assert simulate(program, tmp_path, x, **form).passed
    assert f"{255 * 6 * 9:x}" in (tmp_path / "sums.hex").read_text()


@icarus
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", [ALWAYS, NEVER])
def test_all_events_and_none(form, step, tmp_path):
    net = Builder((1, 5, 4))
    net.conv(3, 3, padding=1)
    constant(net, step)
    net.flatten()
    net.dense(3)
    program = net.program()
    result = simulate(program, tmp_path, samples(program), **form)
    assert result.passed
    assert (sum(result.fired[1:]) == 0) == (step == NEVER)


@icarus
def test_so_many_events_per_cycle(tmp_path):
    """Where no state is zero, the cycles that add fall to a half and to a quarter, but for the pixels' layer."""
    net = Builder((1, 7, 7), seed=1)
    for _ in range(2):
        net.conv(8, 3)
        net.threshold(0)
    net.flatten()
    net.dense(8)
    program = net.program()
    x = batch(program, 2)
    one, two, four = (simulate(program, tmp_path, x, 8, events_per_cycle=E) for E in (1, 2, 4))
    assert one.passed and two.passed and four.passed
    assert one.fired == two.fired == four.fired
    assert one.adds[1:] == tuple(2 * n for n in two.adds[1:]) == tuple(4 * n for n in four.adds[1:])
    assert one.adds[0] == two.adds[0] == four.adds[0]


@icarus
def test_engines_work_at_the_same_time(tmp_path):
    """From one image to the next it takes about as long as the slowest layer, not all of them together."""
    net = Builder((1, 6, 6), seed=1)
    for _ in range(4):
        net.conv(8, 3, padding=1)
        net.threshold()
    net.flatten()
    net.dense(5)
    program = net.program()
    x = batch(program, 4)
    shared, pipelined = (simulate(program, tmp_path, x, 8, pipelined=form) for form in (False, True))
    assert shared.passed and pipelined.passed
    assert shared.adds[1:] == pipelined.adds[1:]
    slowest = max(pipelined.runs) / len(x)
    assert pipelined.between <= 1.2 * slowest
    assert shared.between >= 2 * pipelined.between


@icarus
def test_a_network_of_one_layer(tmp_path):
    net = Builder((3, 4, 4))
    net.flatten()
    net.dense(5)
    program = net.program()
    assert simulate(program, tmp_path, samples(program), pipelined=True, events_per_cycle=2).passed


@pytest.mark.parametrize("count", [0, 3, 6, 8, -2])
def test_events_per_cycle_are_a_power_of_two_no_larger_than_the_lanes(count, tmp_path):
    with pytest.raises(GxnorError, match="at most the 4 lanes"):
        write(small(), tmp_path, lanes=4, events_per_cycle=count)
    assert not list(tmp_path.iterdir())


@icarus
@pytest.mark.parametrize(
    "options", [(), ("--events-per-cycle", "2"), ("--pipelined",), ("--pipelined", "--events-per-cycle", "4")]
)
def test_the_command_writes_every_form_and_make_simulates_it(options, tmp_path, capsys):
    file.save(small(), tmp_path / "net.gxnor")
    folder = tmp_path / "circuit"
    assert cli.main(["export", str(tmp_path / "net.gxnor"), "--to", "verilog", "-o", str(folder), *options]) == 0
    assert ("3 engines, of 8, 8, 8 lanes" in capsys.readouterr().out) == ("--pipelined" in options)
    made = subprocess.run(["make", "sim"], cwd=folder, capture_output=True, text=True)
    assert "PASS: 4 images, 0 wrong sums" in made.stdout
    assert not made.stderr


@pytest.mark.parametrize("option", [("--pipelined",), ("--events-per-cycle", "2")])
def test_other_targets_refuse_the_options(option, tmp_path, capsys):
    file.save(small(), tmp_path / "net.gxnor")
    assert cli.main(["export", str(tmp_path / "net.gxnor"), "--to", "c", "-o", str(tmp_path / "net"), *option]) == 2
    assert f"{option[0]} is not an option of an export to c" in capsys.readouterr().err


@pytest.mark.cross
@verilator
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("program", [small(), block(N1=2)], ids=["stack", "block"])
def test_verilator_agrees_in_every_form(form, program, tmp_path):
    write(program, tmp_path, name="net", lanes=8, samples=samples(program), **form)
    check_in_verilator(tmp_path)


@pytest.mark.cross
@yosys
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_synthesised(form, tmp_path):
    write(block(), tmp_path, name="net", lanes=4, **form)
    check_in_yosys(tmp_path, "DP16KD")
