"""Which kernel the generator takes for a layer: by what either costs on typical inputs; and that both are exact."""

import numpy as np
import pytest

from benchmarks.programs import Builder, batch, mnist
from gxnor.program import reference
from gxnor.targets import rest
from gxnor.targets.c import choice, costs
from gxnor.targets.c import plan as planning
from gxnor.targets.lowering import lower
from tests.targets.host import Compiled


def everything_by_planes(program, samples):
    lowered = lower(program)
    planes = {stage.result for stage in lowered.stages if planning.has_planes(lowered, stage)}
    return planning.make(lowered, rest.states(lowered, samples), frozenset(planes))


def padded(N: int):
    net = Builder((3, 11, 12), N, seed=N)
    net.conv(33, 3, padding=1, N=N)
    net.threshold(N)
    net.conv(40, (2, 3), padding=(1, 0), stride=(2, 1), N=N)
    net.max_pool(2)
    net.threshold(N)
    net.conv(9, 2, dilation=(1, 2), N=N)
    net.threshold(N)
    net.max_pool((2, 1), 1)
    net.flatten()
    net.dense(5, N)
    return net.program()


@pytest.mark.parametrize("make", [mnist, lambda: padded(0), lambda: padded(1)], ids=["mnist", "binary", "ternary"])
def test_bit_planes_are_exact_wherever_they_can_run(make, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "plan", everything_by_planes)
    program = make()
    compiled = Compiled(program, tmp_path)
    assert (tmp_path / "net.c").read_text().count("    planes_to_sums(") >= 3
    x = np.concatenate([batch(program, 4), np.zeros_like(batch(program, 1))])
    np.testing.assert_array_equal(compiled.logits(x), reference.run(program, x))


def dense(inputs: int, outputs: int):
    net = Builder((inputs,), 1)
    net.dense(outputs)
    return net.program()


def kernels(program, samples=None) -> list[str]:
    return [step.kernel for step in choice.plan(program, samples).steps]


def test_few_outputs_are_summed_by_planes_and_many_by_events():
    assert "planes_to_sums" in kernels(dense(64, 1))
    assert "events_to_sums" in kernels(dense(256, 256))


def test_inputs_at_rest_turn_the_choice_to_events():
    program = dense(256, 8)
    loud = np.random.default_rng(0).permuted(np.tile([0, 2], 128).astype(np.uint8)[None].repeat(8, 0), axis=1)
    quiet = np.ones_like(loud)
    assert "planes_to_sums" in kernels(program, loud)
    assert "events_to_sums" in kernels(program, quiet)


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_no_larger_in_ram_and_hardly_slower(seed):
    program = padded(seed % 2)
    x = batch(program, 4, seed)
    lowered = lower(program)
    events = planning.make(lowered, rest.states(lowered, x))
    chosen = choice.plan(program, x)
    assert chosen.ram <= events.ram
    took, took_events = (
        sum(costs.instructions(plan, costs.expected(plan, x), choice.CORE)) for plan in (chosen, events)
    )
    assert took <= took_events * (1 + choice.MATTERS * len(lowered.stages))
    assert choice.flash(chosen) <= choice.flash(events) or took < took_events * (1 - choice.MATTERS)
