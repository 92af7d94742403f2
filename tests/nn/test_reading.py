"""A discrete weight reads as its values; a write into what was read would change nothing, and is refused."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from gxnor.nn import Conv1d, Conv2d, DiscreteParameter, Linear
from gxnor.nn.reading import WeightView
from gxnor.optim import DST
from gxnor.space import DiscreteSpace

ones = torch.ones(3, 4)


def weight() -> DiscreteParameter:
    return DiscreteParameter.random((3, 4), DiscreteSpace(1), torch.Generator().manual_seed(0))


VIEWS = {
    "w[0]": lambda w: w[0],
    "w[1:, ::2]": lambda w: w[1:, ::2],
    "w[0][1]": lambda w: w[0][1],
    "w[None]": lambda w: w[None],
    "view": lambda w: w.view(-1),
    "view as another type": lambda w: w.view(torch.int32),
    "reshape": lambda w: w.reshape(2, 6),
    "flatten": lambda w: w.flatten(),
    "t": lambda w: w.t(),
    ".T of .T": lambda w: w.T.T,
    "permute": lambda w: w.permute(1, 0),
    "narrow": lambda w: w.narrow(0, 1, 1),
    "unbind": lambda w: w.unbind()[1],
    "iteration": lambda w: list(w)[2],
    "split": lambda w: w.split(2)[0],
    "chunk": lambda w: w.chunk(2, 1)[1],
    "expand": lambda w: w.expand(2, 3, 4),
    "diagonal": lambda w: w.diagonal(),
    "as_strided": lambda w: w.as_strided((2,), (1,)),
    "unfold": lambda w: w.unfold(1, 2, 1),
    "unsqueeze": lambda w: w.unsqueeze(0).squeeze(0),
    ".data": lambda w: w.data[0],
    "detach": lambda w: w.detach()[0],
    "detached afterwards": lambda w: w[0].detach(),
    ".data afterwards": lambda w: w[0].data,
}
WRITES = {
    "zero_": lambda v: v.zero_(),
    "fill_": lambda v: v.fill_(1),
    "copy_": lambda v: v.copy_(torch.zeros_like(v)),
    "+= 1": lambda v: v.__iadd__(1),
    "*= 0": lambda v: v.__imul__(0),
    "v[...] = 0": lambda v: v.__setitem__(..., 0),
    "out=": lambda v: torch.neg(torch.zeros(v.shape, dtype=v.dtype), out=v),
    "foreach": lambda v: torch._foreach_zero_([v]),
    "set_": lambda v: v.set_(torch.zeros(3, dtype=v.dtype)),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_through_a_view_of_a_discrete_weight_is_refused(view, write):  # pytorch/pytorch#29102
    w = weight()
    before = w.packed.clone()
    refused = pytest.raises(TypeError, match=r"view of a discrete weight.* its states move by gxnor\.optim\.DST")
    with refused, torch.no_grad():
        WRITES[write](VIEWS[view](w))
    assert torch.equal(w.packed, before)


@pytest.mark.parametrize("init", [nn.init.ones_, nn.init.normal_, nn.init.kaiming_uniform_, nn.init.orthogonal_])
def test_initialising_a_part_of_a_discrete_weight_is_refused(init):  # pytorch/pytorch#29102
    with pytest.raises(TypeError, match="view of a discrete weight"):
        init(weight()[1:3])


def test_a_write_through_a_view_that_autograd_follows_is_refused():  # pytorch/pytorch#29102
    with pytest.raises((TypeError, RuntimeError)):
        weight()[0].zero_()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_a_discrete_weight_reads_like_one_of_its_values(view):
    w = weight()
    ours, theirs = VIEWS[view](w), VIEWS[view](w.detach().dequantize())
    assert ours.shape == theirs.shape and ours.stride() == theirs.stride() and ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs) and repr(ours.detach()) == repr(theirs)
    assert type(ours * 2) is torch.Tensor and torch.equal(ours * 2, theirs * 2)
    assert ours.tolist() == theirs.tolist() and ours.sum().item() == theirs.sum().item()
    np.testing.assert_array_equal(ours.detach().numpy(), theirs.numpy())


def test_a_copy_of_a_view_is_an_ordinary_tensor():
    w = weight()
    saved = io.BytesIO()
    torch.save(w.detach()[0], saved)
    saved.seek(0)
    for mine in (w.detach()[0].clone(), copy.deepcopy(w.detach()[0]), torch.load(saved, weights_only=True),
                 w.detach()[0].dequantize(), w.detach()[0].contiguous() + 0, w.detach()[0].double()):  # fmt: skip
        assert type(mine) is torch.Tensor
        values = mine.tolist()
        mine += 1
        assert mine.tolist() == [v + 1 for v in values] and w.tolist()[0] == values
    assert type(w.detach()[0]) is WeightView


def test_gradients_reach_a_weight_through_its_views():
    w = weight()
    (w[0] * torch.arange(4.0)).sum().backward()
    w.t()[1].square().sum().backward()
    expected = torch.zeros(3, 4)
    expected[0] += torch.arange(4.0)
    expected[:, 1] += 2 * w.dequantize()[:, 1]
    assert type(w.grad) is torch.Tensor and torch.equal(w.grad, expected)


# --- out of PyTorch ---


def test_numpy_gives_the_values_and_no_way_to_write_them():  # pytorch/pytorch#29102
    w = weight()
    for array in (w.detach().numpy(), np.asarray(w.detach()), w.numpy(force=True), w.detach()[:].numpy()):
        np.testing.assert_array_equal(array, w.dequantize().numpy())
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(RuntimeError, match=r"weight\.detach\(\)\.numpy\(\)"):
        w.numpy()


def test_tensorboard_draws_a_histogram_of_a_weight(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="pip install tensorboard")
    layer = Conv2d(2, 3, 3)
    with tensorboard.SummaryWriter(tmp_path) as writer:
        for name, parameter in layer.named_parameters():
            writer.add_histogram(name, parameter)
            writer.add_histogram(name + "[0]", parameter[0])
    assert [path.stat().st_size > 100 for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize("save", ["save_file", "save_model", "save"])
def test_safetensors_says_how_a_discrete_weight_is_saved(save, tmp_path):  # safetensors#515, pytorch/ao#2338
    safetensors = pytest.importorskip("safetensors.torch")
    layer = nn.Sequential(Linear(4, 3, True), Conv1d(1, 2, 3))
    what = layer if save == "save_model" else layer.state_dict()
    where = () if save == "save" else (tmp_path / "net.safetensors",)
    with pytest.raises(TypeError, match=r"torch\.save, or as weight\.dequantize\(\)"):
        getattr(safetensors, save)(what, *where)
    floats = {k: getattr(t, "dequantize", t.clone)() for k, t in layer.state_dict().items()}
    safetensors.save_file(floats, tmp_path / "net.safetensors")
    twin = nn.Sequential(Linear(4, 3, True), Conv1d(1, 2, 3))
    twin.load_state_dict(safetensors.load_file(tmp_path / "net.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), twin.parameters(), strict=True))


def test_raw_memory_of_floats_is_not_handed_out():  # safetensors#515
    for take in (np.from_dlpack, torch.from_dlpack):
        with pytest.raises(BufferError, match=r"weight\.dequantize\(\)"):
            take(weight().detach())


# --- a weight that moved between forward and backward ---

MOVES = {
    "step": lambda layer, optimizer: optimizer.step(),
    "set_indices": lambda layer, _: layer.weight.set_indices(layer.weight.indices()),
    "load_state_dict": lambda layer, _: layer.load_state_dict(layer.state_dict()),
    "reset_parameters": lambda layer, _: layer.reset_parameters(),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(
    "make, shape",
    [(lambda: Linear(6, 4), (2, 6)), (lambda: Conv1d(2, 3, 3), (2, 2, 7)), (lambda: Conv2d(2, 3, 3), (2, 2, 5, 5)),
     (lambda: Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 5, 5))],
)  # fmt: skip
def test_a_backward_pass_through_a_weight_that_has_moved_is_refused(make, shape, move):  # pytorch/pytorch#197887
    layer = make()
    optimizer = DST(layer, 1.0)
    loss = layer(torch.randn(shape, requires_grad=True)).square().sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)  # nothing has moved yet
    MOVES[move](layer, optimizer)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_backward_pass_after_an_update_in_the_first_is_refused():  # pytorch/pytorch#197887
    layer = Linear(6, 4)
    optimizer = DST(layer, 1.0)
    optimizer.update_in_backward()
    loss = layer(torch.randn(2, 6, requires_grad=True)).square().sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
