"""A discrete parameter holds states, and nothing but states, through everything PyTorch does with parameters."""

import copy
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

import gxnor
from gxnor import native, packing
from gxnor.nn import Conv2d, DiscreteParameter, Linear
from gxnor.nn.codes import dequantize_reference, pack_indices, unpack_indices
from gxnor.space import DiscreteSpace

SPACES = [DiscreteSpace(N) for N in range(8)] + [DiscreteSpace(1, 0.3)]
TERNARY = DiscreteSpace(1)


def weight(shape=(3, 5), space: DiscreteSpace = TERNARY, **options) -> DiscreteParameter:
    return DiscreteParameter.random(shape, space, torch.Generator().manual_seed(0), **options)


def same_states(a: torch.Tensor, b: DiscreteParameter) -> None:
    assert type(a) is DiscreteParameter and a.space == b.space and a.shape == b.shape
    assert torch.equal(a.packed, b.packed) and a.packed.dtype == torch.uint8


def saved(obj, weights_only: bool = True):
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=weights_only)


# --- what it holds ---


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1001])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_packing_on_tensors_equals_packing_in_numpy(bits, count):
    indices = np.random.default_rng(0).integers(2**bits, size=count, dtype=np.uint8)
    packed = pack_indices(torch.from_numpy(indices), bits)
    np.testing.assert_array_equal(packed.numpy(), packing.pack_bits(indices, bits))
    np.testing.assert_array_equal(unpack_indices(packed, bits, torch.Size([count])).numpy(), indices)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (7,), (3, 5), (4, 3, 2, 2)], ids=str)
def test_states_go_in_and_come_out(space, shape):
    indices = space.random(shape, np.random.default_rng(1))
    w = DiscreteParameter.from_indices(torch.from_numpy(np.asarray(indices)), space)
    assert w.shape == shape and w.dtype == torch.float32 and w.requires_grad and isinstance(w, nn.Parameter)
    assert w.packed.numel() == packing.bits_size(w.numel(), packing.storage_bits(space.size))
    np.testing.assert_array_equal(w.indices().numpy(), indices)
    np.testing.assert_array_equal(w.dequantize().numpy(), space.value(indices))
    w.set_indices(torch.zeros(shape, dtype=torch.uint8))
    assert (w.indices() == 0).all()


def test_a_ternary_weight_takes_two_bits():
    assert weight((512, 1024)).packed.numel() * 8 == 2 * 512 * 1024


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_values_in_other_precisions(space, dtype):
    w = weight((40, 5), space)
    expected = torch.from_numpy(space.value(w.indices().numpy()))
    tolerance = 0 if dtype == torch.float64 and space.H == 1 else torch.finfo(dtype).eps + 2**-23
    torch.testing.assert_close(w.dequantize(dtype).double(), expected.double(), rtol=tolerance, atol=0)


def test_values_belong_to_the_caller():
    w = weight()
    before = w.packed.clone()
    w.dequantize().fill_(7)
    w.indices().fill_(7)
    assert torch.equal(w.packed, before)
    eight = weight((4,), DiscreteSpace(7))  # one state a byte
    before = eight.packed.clone()
    eight.indices().fill_(0)
    assert torch.equal(eight.packed, before)


def test_random_states_come_from_the_generator():
    same_states(weight((50, 50)), weight((50, 50)))
    torch.manual_seed(5)
    a = DiscreteParameter.random((50, 50), TERNARY)
    torch.manual_seed(5)
    same_states(DiscreteParameter.random((50, 50), TERNARY), a)
    shares = torch.bincount(weight((300, 300)).indices().flatten().int()) / 90_000
    assert shares.sub(1 / 3).abs().max() < 0.01


def test_wrong_states_are_refused():
    with pytest.raises(ValueError, match="from 0 to 2, got 3"):
        DiscreteParameter.from_indices(torch.full((2,), 3, dtype=torch.uint8), TERNARY)
    with pytest.raises(TypeError, match="expected uint8 state indices, got"):
        DiscreteParameter.from_indices(torch.zeros(2, dtype=torch.int64), TERNARY)
    w = weight()
    before = w.packed.clone()
    with pytest.raises(ValueError, match=r"shape \(3, 5\), got \(5, 3\)"):
        w.set_indices(torch.zeros(5, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="from 0 to 2, got 9"):
        w.set_indices(torch.full((3, 5), 9, dtype=torch.uint8))
    assert torch.equal(w.packed, before)


@pytest.mark.skipif(native.library() is None, reason="the native library is not built")
@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_native_kernel_equals_the_reference(space, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for count in (0, 1, 2, 3, 7, 8, 9, 1001, 140_003):
            w = weight((count,), space)
            expected = dequantize_reference(w.packed, space, w.shape, torch.float32)
            assert torch.equal(w.dequantize().view(torch.int32), expected.view(torch.int32))
    finally:
        torch.set_num_threads(before)


# --- it reads like its float values ---


@pytest.mark.parametrize(
    "operation",
    [
        lambda w: w + 1,
        lambda w: w.sum(),
        lambda w: w.t(),
        lambda w: w[1:, ::2],
        lambda w: w.reshape(-1),
        lambda w: torch.stack([w, w]),
        lambda w: torch.equal(w, w),
        lambda w: torch.zeros_like(w),
        lambda w: w.abs().max().item(),
        lambda w: w.norm(),
        lambda w: w.int(),
        lambda w: torch.randn(2, 3, generator=torch.Generator().manual_seed(0)) @ w,
    ],
)
def test_reading_operations_see_the_values(operation):
    w = weight()
    result, expected = operation(w), operation(w.detach().dequantize())
    assert not isinstance(result, DiscreteParameter)
    if isinstance(expected, torch.Tensor):
        assert torch.equal(result, expected) and result.dtype == expected.dtype
    else:
        assert result == expected


def test_gradients_of_any_expression_arrive():
    w = weight()
    (w * torch.arange(5.0)).sum().backward()
    assert type(w.grad) is torch.Tensor
    assert torch.equal(w.grad, torch.arange(5.0).expand(3, 5))


def test_what_requires_a_gradient():
    w = weight()
    assert w.is_leaf and w.requires_grad and not w.detach().requires_grad and not w.data.requires_grad
    assert w.clone().grad_fn is not None and w.to(torch.float64).grad_fn is not None
    with torch.no_grad():
        assert not w.clone().requires_grad
    assert not isinstance(w.clone(), nn.Parameter)
    assert not w.requires_grad_(False).clone().requires_grad


# --- nothing real gets in ---

REFUSED = "would write real numbers into a discrete weight of DiscreteSpace"
ones = torch.ones(3, 5)
WRITES = {
    "add_": lambda w: w.add_(1),
    "mul_": lambda w: w.mul_(0.5),
    "zero_": lambda w: w.zero_(),
    "+= 1": lambda w: w.__iadd__(1),
    "/= 2": lambda w: w.__itruediv__(2),
    "fill_": lambda w: w.fill_(1.0),
    "clamp_": lambda w: w.clamp_(-1, 1),
    "lerp_": lambda w: w.lerp_(ones, 0.1),
    "addcdiv_": lambda w: w.addcdiv_(ones, ones),
    "masked_fill_": lambda w: w.masked_fill_(ones > 0, 0.0),
    "index_add_": lambda w: w.index_add_(0, torch.tensor([0]), ones[:1]),
    "data.add_": lambda w: w.data.add_(1),
    "detach().mul_": lambda w: w.detach().mul_(2),
    "set_": lambda w: w.set_(ones),
    "out=": lambda w: torch.add(ones, 1, out=w),
    "foreach": lambda w: torch._foreach_add_([torch.ones(2), w], 1.0),
    "foreach with a list": lambda w: torch._foreach_addcdiv_([w], [ones], [ones], value=-0.1),
    "nn.init": lambda w: nn.init.kaiming_uniform_(w),
    "nn.init normal": lambda w: nn.init.normal_(w),
    "w[0] = 1": lambda w: w.__setitem__(0, 1.0),
    "w[mask] = 0": lambda w: w.__setitem__(ones > 0, 0.0),
    "data =": lambda w: setattr(w, "data", ones),
    "vector_to_parameters": lambda w: nn.utils.vector_to_parameters(torch.ones(15), [w]),
}


@pytest.mark.parametrize("name", WRITES)
def test_float_writes_are_refused(name):
    w = weight()
    before = w.packed.clone()
    with pytest.raises(TypeError, match=REFUSED), torch.no_grad():
        WRITES[name](w)
    assert torch.equal(w.packed, before)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
        lambda p: torch.optim.SGD(p, 0.1, fused=True),
        lambda p: torch.optim.Adam(p, 0.1),
        lambda p: torch.optim.Adam(p, 0.1, foreach=True),
        lambda p: torch.optim.Adam(p, 0.1, fused=True),
        lambda p: torch.optim.AdamW(p, 0.1),
        lambda p: torch.optim.RMSprop(p, 0.1),
    ],
    ids=["sgd", "sgd foreach", "sgd fused", "adam", "adam foreach", "adam fused", "adamw", "rmsprop"],
)
def test_other_optimizers_are_refused_and_move_nothing(make):
    w = weight()
    before = w.packed.clone()
    optimizer = make([w])
    w.sum().backward()
    with pytest.raises(TypeError, match=r"its states move by gxnor\.optim\.DST"):
        optimizer.step()
    assert torch.equal(w.packed, before)


def test_states_may_be_copied_real_numbers_only_where_they_are_states():
    w, other = weight(), DiscreteParameter.random((3, 5), TERNARY, torch.Generator().manual_seed(9))
    with torch.no_grad():
        w.copy_(other)
        same_states(w, other)
        w.copy_(torch.ones(3, 5))
        assert (w.dequantize() == 1).all()
        w.copy_(torch.zeros(5))
        assert (w.dequantize() == 0).all()
        for wrong in (torch.full((3, 5), 0.5), torch.full((3, 5), torch.nan)):
            with pytest.raises(ValueError, match="expected states of DiscreteSpace"):
                w.copy_(wrong)
        with pytest.raises(ValueError, match=r"N=1.* got .*N=0"):
            w.copy_(weight(space=DiscreteSpace(0)))
        assert (w.dequantize() == 0).all()


def test_values_may_be_copied_out():
    w, real = weight(), torch.empty(3, 5)
    real.copy_(w.detach())
    assert torch.equal(real, w.dequantize())


# --- copies, files, processes, devices ---


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_deepcopy_is_independent(space):
    w = weight(space=space)
    w.sum().backward()
    twin = copy.deepcopy(w)
    same_states(twin, w)
    assert twin.requires_grad and isinstance(twin, nn.Parameter) and twin.grad is None
    twin.set_indices(torch.zeros(3, 5, dtype=torch.uint8))
    assert not torch.equal(twin.packed, w.packed)
    assert not copy.deepcopy(w.requires_grad_(False)).requires_grad
    tied = copy.deepcopy([w, w])
    assert tied[0] is tied[1]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_saved_and_loaded_as_weights_only(space):
    w = weight(space=space, dtype=torch.float64)
    loaded = saved(w)
    same_states(loaded, w)
    assert loaded.dtype == torch.float64 and loaded.requires_grad and isinstance(loaded, nn.Parameter)


def test_a_saved_file_holds_packed_states_only():
    buffer = io.BytesIO()
    torch.save(weight((512, 512)), buffer)
    assert len(buffer.getvalue()) < 512 * 512 / 4 + 5000


def test_bytes_that_are_no_states_are_refused_on_loading():
    rebuild, (packed, *rest) = weight().__reduce_ex__(2)
    for wrong in (packed[:-1], torch.cat([packed, packed]), torch.full_like(packed, 255), packed.float()):
        with pytest.raises(ValueError):
            rebuild(wrong, *rest)


def test_loading_in_a_fresh_process(tmp_path):
    w = weight((20, 30))
    torch.save({"w": w}, tmp_path / "w.pt")
    code = (
        "import sys, torch, gxnor.nn\n"
        "w = torch.load(sys.argv[1], weights_only=True)['w']\n"
        "assert type(w) is gxnor.nn.DiscreteParameter and w.space == gxnor.DiscreteSpace(1)\n"
        "print(int((w.indices().long() * torch.arange(w.numel()).view(w.shape)).sum()))"
    )
    root = Path(gxnor.__file__).parents[1]
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "w.pt"], check=True, capture_output=True, text=True, cwd=root
    )
    assert int(out.stdout) == int((w.indices().long() * torch.arange(w.numel()).view(w.shape)).sum())


def _add_up(w: DiscreteParameter, results) -> None:
    results.put((type(w).__name__, w.space, int(w.indices().long().sum()), w.requires_grad))


def test_sent_to_a_worker_process():
    context = mp.get_context("spawn")
    results = context.SimpleQueue()
    w = weight((20, 30), DiscreteSpace(3, 2.0))
    worker = context.Process(target=_add_up, args=(w, results))
    worker.start()
    worker.join(120)
    assert worker.exitcode == 0
    assert results.get() == ("DiscreteParameter", w.space, int(w.indices().long().sum()), True)


def test_module_moves_keep_the_states_and_the_parameter():
    layer = Linear(5, 3)
    w, states = layer.weight, layer.weight.packed.clone()
    layer(torch.randn(2, 5)).sum().backward()
    for dtype in (torch.float64, torch.bfloat16, torch.float32):
        layer.to(dtype)
        assert layer.weight is w and w.dtype == dtype and torch.equal(w.packed, states)
        assert w.grad.dtype == dtype
        assert layer(torch.randn(2, 5, dtype=dtype)).dtype == dtype
    layer.to("cpu").cpu().to(memory_format=torch.preserve_format)
    assert layer.weight is w and list(layer.parameters()) == [w] and w.is_leaf and w.requires_grad


def test_channels_last_weights_keep_their_states():
    layer = Conv2d(3, 4, 2)
    states, values = layer.weight.indices(), layer.weight.dequantize()
    layer.to(memory_format=torch.channels_last)
    w = layer.weight
    for twin in (w, copy.deepcopy(w), saved(w), w.clone(), w.detach(), w.to(torch.float64)):
        assert twin.is_contiguous(memory_format=torch.channels_last) and not twin.is_contiguous()
        assert twin.dequantize().is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(twin.indices(), states) and torch.equal(twin.dequantize().float(), values)
    assert w.detach().contiguous().is_contiguous() and torch.equal(w.detach().contiguous().dequantize(), values)
    w.set_indices(2 - states)
    assert torch.equal(w.dequantize(), -values)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_moving_to_a_gpu_and_back():
    layer = Linear(5, 3)
    states = layer.weight.packed.clone()
    layer.cuda()
    assert layer.weight.device.type == "cuda" and layer.weight.packed.device.type == "cuda"
    layer(torch.randn(2, 5, device="cuda")).sum().backward()
    assert layer.weight.grad.device.type == "cuda"
    assert torch.equal(layer.cpu().weight.packed, states)


def test_says_what_it_is():
    assert repr(weight()) == "DiscreteParameter((3, 5), DiscreteSpace(N=1, H=1.0), device=cpu)"


def test_states_are_shared_between_processes_as_tensors_are():
    layer = Linear(5, 3)
    before = layer.weight.dequantize()
    assert not layer.weight.is_shared()
    layer.share_memory()
    assert layer.weight.is_shared() and torch.equal(layer.weight.dequantize(), before)


def test_a_layer_made_on_the_meta_device_takes_states_later():
    with torch.device("meta"):
        layer = Linear(5, 3, N=2)
    source = Linear(5, 3, N=2)
    layer.to_empty(device="cpu")
    layer.load_state_dict(source.state_dict())
    assert isinstance(layer.weight, DiscreteParameter) and torch.equal(layer.weight.indices(), source.weight.indices())
