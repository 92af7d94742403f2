"""Counts against loops over every single product."""

import itertools
import json

import numpy as np
import pytest

from benchmarks.programs import Builder, batch, cifar, mnist, one_d, random_program, residual
from gxnor.analysis import energy, events, sizes
from gxnor.errors import GxnorError
from gxnor.program import Conv, Dense, reference
from gxnor.program.file import encode


def products(layer, x):
    """For every neuron of every sample, the (weight, input) pairs that exist."""
    weight = layer.weight.levels()
    if isinstance(layer, Dense):
        for sample in x:
            for row in weight:
                yield list(zip(row.tolist(), sample.tolist(), strict=True))
        return
    extents, kernel, group = x.shape[2:], weight.shape[2:], len(weight) // layer.groups
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, layer.dilation, strict=True)]
    counts = [
        (n + 2 * p - span) // s + 1 for n, p, span, s in zip(extents, layer.padding, spans, layer.stride, strict=True)
    ]
    for sample, o, at in itertools.product(x, range(len(weight)), itertools.product(*map(range, counts))):
        pairs = []
        for i, k in itertools.product(range(weight.shape[1]), itertools.product(*map(range, kernel))):
            geometry = zip(at, layer.stride, layer.padding, layer.dilation, k, strict=True)
            where = tuple(a * s - p + d * j for a, s, p, d, j in geometry)
            if all(0 <= w < n for w, n in zip(where, extents, strict=True)):
                pairs.append((int(weight[(o, i, *k)]), int(sample[(o // group * weight.shape[1] + i, *where)])))
        yield pairs


def check_against_loops(program, samples):
    x = batch(program, samples)
    values = reference.trace(program, x)
    counted = events.count(program, x)
    assert [row.layer for row in counted.layers] == [
        i for i, layer in enumerate(program.layers, 1) if isinstance(layer, Conv | Dense)
    ]
    for row in counted.layers:
        layer = program.layers[row.layer - 1]
        inputs, weights = values[layer.inputs[0]], layer.weight.levels()
        neurons = list(products(layer, inputs))
        assert row.neurons == len(neurons) == values[row.layer].size
        assert row.macs == sum(map(len, neurons))
        assert row.gated == sum(w != 0 for pairs in neurons for w, _ in pairs)
        assert row.fired == sum(w != 0 and a != 0 for pairs in neurons for w, a in pairs)
        assert row.active_neurons == sum(any(w and a for w, a in pairs) for pairs in neurons)
        assert (row.inputs, row.zero_inputs) == (inputs.size, np.count_nonzero(inputs == 0))
        assert (row.weights, row.zero_weights) == (weights.size, np.count_nonzero(weights == 0))
    for name in ("macs", "gated", "fired", "neurons", "active_neurons", "zero_weights", "zero_inputs"):
        assert getattr(counted.total, name) == sum(getattr(row, name) for row in counted.layers)


@pytest.mark.parametrize("seed", range(25))
def test_counts_of_any_program_equal_loops(seed):
    check_against_loops(random_program(seed), 2)


@pytest.mark.parametrize("N1,N2", [(0, 0), (1, 1), (1, 0), (0, 1), (2, 2)])
def test_counts_of_a_network_equal_loops(N1, N2):
    check_against_loops(one_d(N1, N2), 3)


def sparse():
    """Few events: most weights and activations are 0, so that neurons without any occur."""
    net = Builder((2, 6, 6), N=1, seed=5)
    net.conv(8, 2)
    for layer in net.layers:
        layer.weight.packed[1:] = 0b01010101  # all zero but the first four
    net.flatten()
    net.dense(3)
    return net.program()


def test_neurons_without_an_event_need_no_bit_count():
    counted = events.count(sparse(), batch(sparse(), 4))
    assert counted.layers[0].active_neurons < counted.layers[0].neurons
    check_against_loops(sparse(), 4)


def test_batches_do_not_change_counts(monkeypatch):
    program = residual()
    x = batch(program, 7)
    whole = events.count(program, x)
    monkeypatch.setattr(events, "BATCH", 3)
    assert events.count(program, x) == whole


def test_states_equally_likely_rest_as_the_paper_says():
    expected = {(0, 0): 0, (1, 1): 5 / 9, (1, 0): 1 / 3, (0, 1): 1 / 3, (2, 2): 1 - (4 / 5) ** 2}
    for (N1, N2), resting in expected.items():
        net = Builder((400,), N=N2, seed=1)
        net.dense(300, N1)
        program = net.program()
        row = events.count(program, batch(program, 50)).layers[0]
        assert row.expected_resting == pytest.approx(resting)
        assert row.resting == pytest.approx(resting, abs=0.01)


def test_no_samples_are_refused():
    with pytest.raises(GxnorError, match="at least one sample"):
        events.count(one_d(), batch(one_d(), 0))


def test_counterparts_follow_the_papers_table():
    """A neuron with M inputs: M multiplications and additions, M additions, M - zeros, M XNORs and 1 bit count."""
    net = Builder((50,), N=1)
    net.dense(4, 1)
    program = net.program()
    x = batch(program, 3)
    counted = events.count(program, x)
    row = counted.layers[0]
    table = energy.counterparts(counted)
    neurons, M = 4 * 3, 50
    assert table["full precision"] == energy.Operations(float_multiplications=neurons * M, float_additions=neurons * M)
    assert table["BWN"] == energy.Operations(float_additions=neurons * M)
    zeros = 3 * row.zero_weights
    assert table["TWN"] == energy.Operations(float_additions=neurons * M - zeros, resting=zeros)
    assert table["BNN"] == energy.Operations(xnors=neurons * M, bit_counts=neurons)
    weights, inputs = program.layers[0].weight.levels() != 0, x != 1
    fired = int(inputs.astype(int).sum(axis=0) @ weights.astype(int).sum(axis=0))
    assert table["this network"] == energy.Operations(xnors=fired, bit_counts=neurons, resting=neurons * M - fired)


def test_operations_depend_on_what_meets():
    sorts = [row.operation for row in events.count(mnist(), batch(mnist(), 1)).layers]
    assert sorts == ["add", "xnor", "xnor", "xnor"]
    assert {row.operation for row in events.count(one_d(2, 1), batch(one_d(), 1)).layers[1:]} == {"add"}
    assert {row.operation for row in events.count(one_d(1, 2), batch(one_d(), 1)).layers[1:]} == {"add"}
    assert {row.operation for row in events.count(one_d(2, 2), batch(one_d(), 1)).layers} == {"multiply"}
    pixels = events.count(one_d(0, 0), batch(one_d(), 1)).layers[0]
    assert pixels.pixels and energy._of_layer(pixels)["BNN"] == energy.Operations(integer_additions=pixels.macs)


def test_energy_by_hand():
    row = energy.Operations(10, 20, 30, 40, 50, 60, 70)
    assert row.energy == pytest.approx(37 + 18 + 6 + 4 + 50 * 0.0075 + 6)


def test_results_survive_json():
    counted = events.count(one_d(), batch(one_d(), 2))
    read = json.loads(json.dumps({"events": counted.to_json(), "energy": energy.to_json(counted)}))
    assert read["events"]["total"]["fired"] == counted.total.fired
    assert read["events"]["layers"][0]["resting"] == counted.layers[0].resting
    assert "ISSCC 2014" in read["energy"]["source"]
    assert read["energy"]["networks"]["BWN"]["energy_pj"] == pytest.approx(0.9 * counted.total.macs)


@pytest.mark.parametrize("build", [mnist, residual, one_d, lambda N1: cifar(N1, width=16)])
@pytest.mark.parametrize("N1", [0, 1, 2, 3])
def test_sizes_are_those_of_file_and_memory(build, N1):
    program = build(N1)
    data = encode(program)
    size = sizes.measure(program)
    assert size.disk == len(data) and size.disk_bits == 8 * len(data) / size.weights
    on_disk = {0: 1, 1: 1.6, 2: 8 / 3, 3: 4}[N1]
    for row in size.layers:
        weight = program.layers[row.layer - 1].weight
        assert row.weights == weight.size and row.memory == weight.packed.nbytes
        assert row.zero_weights == np.count_nonzero(weight.levels() == 0)
        assert 0 <= row.disk - on_disk * row.weights / 8 < 1
    assert size.memory > sum(row.memory for row in size.layers)
    assert sizes.measure(program, 7).disk == 7
