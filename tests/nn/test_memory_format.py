"""Discrete weights follow a model's memory format as torch's own do, and their states do not depend on it."""

import copy
import io
import pickle

import pytest
import torch

from gxnor.nn import Conv2d, DiscreteParameter, network
from gxnor.optim import DST


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_in_channels_last(channels, kernel):
    layer = Conv2d(channels, 4, kernel)
    packed, values = layer.weight.packed.clone(), layer.weight.dequantize()
    layer.to(memory_format=torch.channels_last)
    assert torch.equal(layer.weight.packed, packed) and torch.equal(layer.weight.dequantize(), values)
    twin = torch.nn.Conv2d(channels, 4, kernel, bias=False).to(memory_format=torch.channels_last)
    assert layer.weight.stride() == layer.weight.dequantize().stride() == twin.weight.stride()
    x = torch.randn(2, channels, 8, 8)  # contiguous: it is the weight that asks for the format
    assert layer(x).stride() == twin(x).stride()
    layer(x).sum().backward()
    assert layer.weight.grad.stride() == layer.weight.stride()
    layer.to(memory_format=torch.contiguous_format)
    assert layer.weight.dequantize().is_contiguous() and torch.equal(layer.weight.dequantize(), values)


def test_copies_keep_the_format():
    layer = Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    stride, values = layer.weight.stride(), layer.weight.dequantize()
    file = io.BytesIO()
    torch.save({"weight": layer.weight}, file)
    file.seek(0)
    for weight in (
        copy.deepcopy(layer).weight,
        pickle.loads(pickle.dumps(layer.weight)),
        torch.load(file, weights_only=True)["weight"],
        layer.weight.detach(),
        layer.weight.clone(),
        layer.double().float().weight,
    ):
        assert isinstance(weight, DiscreteParameter)
        assert weight.stride() == stride and torch.equal(weight.dequantize(), values)


def test_states_load_from_one_format_into_the_other():
    a, b = Conv2d(3, 4, 3), Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.weight.indices(), b.weight.indices())
    assert b.weight.stride() != a.weight.stride()


def test_a_step_moves_the_same_weights_in_both_formats():
    """The gradients agree exactly, as all that is multiplied and added are small integers."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
    states = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(1)
        model = network("4C3-10", (3, 8, 8))
        convolution = model.conv1.to(memory_format=memory_format)
        optimizer = DST(convolution, lr=0.3, generator=torch.Generator().manual_seed(0))
        for _ in range(3):
            optimizer.zero_grad()
            convolution(model.pixels(images)).square().sum().backward()
            optimizer.step()
        states.append(convolution.weight.indices())
    assert torch.equal(*states)
