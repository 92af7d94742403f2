"""Programs back to models: the same program again where two steps or fewer fix the line, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from gxnor.errors import GxnorError
from gxnor.exporter import export
from gxnor.exporter.unfolding import load_program
from gxnor.nn.networks import network
from gxnor.nn.precision import Precision
from gxnor.program import Input, Scale, Threshold
from gxnor.program.ops import ALWAYS, NEVER
from gxnor.space import DiscreteSpace
from tests.exporter.models import fitted, images

SHAPE, CLASSES = (2, 12, 12), tuple("abcd")
LAYERS = "8C3-MP2-12C3-16FC-4"


def model(layers=LAYERS, shape=SHAPE, padding="same", **spaces):
    torch.manual_seed(3)
    return network(layers, shape, Precision(**spaces), padding)


def exported(layers=LAYERS, shape=SHAPE, **spaces):
    """A program with channels that rise, fall, and have one state throughout, one of either end and one of all."""
    net = fitted(model(layers, shape, **spaces), images(shape))
    with torch.no_grad():
        first = net[list(dict(net.named_children())).index("norm1")]
        first.weight[:5], first.bias[:5] = torch.tensor([0, 1e-9, -1e-9, 0, 1]), torch.tensor([0, 5, -5, 0.3, 40])
    return export(net, shape, CLASSES)


@pytest.mark.filterwarnings("ignore:.*nearly tie")
@pytest.mark.parametrize("shape, layers", [(SHAPE, LAYERS), ((3, 20), "8C3-MP2-4"), ((1, 1, 1), "5FC-4")])
@pytest.mark.parametrize("weights, activations", [(0, 0), (1, 1), (3, 1), (1, 0)])
def test_a_model_that_takes_a_program_exports_as_it_again(shape, layers, weights, activations):
    program = exported(layers, shape, weights=weights, activations=activations, r=0.3)
    net = model(layers, shape, weights=weights, activations=activations, r=0.7, a=1.0)  # a program does not say r
    load_program(net, program, images(shape, 30))
    again = export(net, shape, CLASSES)
    assert len(again.layers) == len(program.layers)
    for one, other in zip(program.layers, again.layers, strict=True):
        if isinstance(one, Threshold):
            assert np.array_equal(one.thresholds, other.thresholds)
            moves = ((one.thresholds != ALWAYS) & (one.thresholds != NEVER)).any(1)
            assert np.array_equal(one.sign[moves], other.sign[moves])
        elif isinstance(one, Scale):
            assert one.scale == pytest.approx(other.scale, rel=1e-6) and one.bias == pytest.approx(other.bias, rel=1e-5)
        elif hasattr(one, "weight"):
            assert np.array_equal(one.weight.packed, other.weight.packed)


@pytest.mark.filterwarnings("ignore:.*nearly tie")
def test_more_states_come_back_within_a_few_units():
    program = exported(activations=3)
    net = model(activations=3)
    load_program(net, program, images(SHAPE))
    for one, other in zip(program.layers, export(net, SHAPE, CLASSES).layers, strict=True):
        if isinstance(one, Threshold):
            whole = ((one.thresholds != ALWAYS) & (one.thresholds != NEVER)).all(1)
            assert whole.any() and np.abs(one.thresholds - other.thresholds)[whole].max() <= 2


def test_the_network_trains_on_from_where_the_program_stands():
    """Batch norm that was split by the samples gives, in training mode and on them, the scores of evaluation mode."""
    x = images(SHAPE, 64)
    net = model()
    load_program(net, exported(), x)
    scores = net(x)
    net.train()
    assert torch.allclose(net(x), scores, atol=1e-3)


@pytest.mark.parametrize("net, words", [
    (lambda: model("8C3-MP2-12C3-4"), "expected weights .4, 432. of 3 states, got weights .16, 432. of 3 states"),
    (lambda: model(activations=2), "expected 8 channels of 5 states, got 8 channels of 3 states"),
    (lambda: model(weights=2), "of 5 states, got weights .8, 2, 3, 3. of 3 states"),
    (lambda: model(latent=True), "that are real, got weights"),
    (lambda: model(weights=None), "expected weights .8, 2, 3, 3. that are real, got weights .8, 2, 3, 3. of 3 states"),
    (lambda: model(activations=None), "expected 8 channels that are real, got 8 channels of 3 states"),
    (lambda: model("8C3-12C3-MP2-16FC-4"), "expected sums .12, 12, 12., got .12, 6, 6."),
    (lambda: model(LAYERS.replace("16FC", "16FC-16FC")), "expected weights .16, 16. of 3 states, got weights .4, 16."),
    (lambda: model("8C3-MP2-12R3-16FC-4"), "expected weights .16, 432. of 3 states, got weights .12, 8, 3, 3."),
])  # fmt: skip
def test_a_program_of_another_network_is_refused(net, words):
    with pytest.raises(GxnorError, match=words):
        load_program(net(), exported(), images(SHAPE))


def test_a_program_of_another_input_is_refused():
    with pytest.raises(GxnorError, match=r"expected an input .2, 13, 12., got an input .2, 12, 12.$"):
        load_program(model(), exported(), images((2, 13, 12)))
    states = dataclasses.replace(exported(), input=Input(SHAPE, DiscreteSpace(1)))
    with pytest.raises(GxnorError, match=r"expected an input .2, 12, 12., got an input .2, 12, 12. of 3 states"):
        load_program(model(), states, images(SHAPE))


@pytest.mark.filterwarnings("ignore:.*nearly tie")
def test_residual_networks_are_refused():
    net = fitted(model("8C3-8R3-AP-4"), images(SHAPE))
    with pytest.raises(GxnorError, match="the program is of another network: expected"):
        load_program(net, export(net, SHAPE, CLASSES), images(SHAPE))
