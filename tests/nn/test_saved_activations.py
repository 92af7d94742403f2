"""What is saved for backward: small, and such that every gradient is the same bits as without."""

import contextlib

import pytest
import torch
from torch import nn

from gxnor import native
from gxnor.nn import Activation, Conv1d, Conv2d, Linear, Pixels, network, pack_saved_activations, saved_formats
from gxnor.nn.precision import PRECISIONS, Precision


def gradients(model, x, saving):
    """Loss, then the gradients of the input, where it has one, and of every parameter."""
    model.zero_grad()
    x = x.clone(memory_format=torch.preserve_format)
    if x.is_floating_point():
        x.requires_grad_()
    with pack_saved_activations() if saving else contextlib.nullcontext():
        loss = model(x).square().sum()
    loss.backward()
    return [loss.detach(), x.grad, *(p.grad for p in model.parameters())]


def assert_same(model, x):
    buffers = [b.clone() for b in model.buffers()]
    plain = gradients(model, x, False)
    for b, before in zip(model.buffers(), buffers, strict=True):
        b.copy_(before)
    for a, b in zip(plain, gradients(model, x, True), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def saved_tensors(model, x, saving=True):
    """Every tensor that autograd keeps, once, without parameters."""
    kept = {}
    skip = {id(p) for p in model.parameters()}

    def pack(t):
        if type(t) is torch.Tensor and id(t) not in skip and not isinstance(t, nn.Parameter):
            kept[t.untyped_storage().data_ptr()] = t
        return t

    small = pack_saved_activations() if saving else contextlib.nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), small:
        model(x)
    return list(kept.values())


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("window", ["rectangular", "triangular"])
@pytest.mark.parametrize("N", [0, 1, 2, 3])
def test_a_network_s_gradients_are_the_same_bits(N, window, channels_last):
    torch.manual_seed(0)
    model = network("5C3-6C3-MP2-7C3-MP3-9FC-4", (3, 15, 17), Precision(1, N, window=window), "same")
    x = torch.randint(0, 256, (3, 3, 15, 17), dtype=torch.uint8)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    assert_same(model, x)


@pytest.mark.parametrize("a", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("N", [0, 1, 2, 3, 7])
def test_windows_that_overlap_are_counted(N, a):
    x = torch.linspace(-3, 3, 1001).view(7, 143)
    assert_same(Activation(N, 0.25, a, H=2.0), x)
    assert_same(Activation(N, 0.25, a, H=2.0).double(), x.double())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.act = Conv2d(2, 4, 3, padding=1), Activation()
        self.body = nn.Sequential(Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), Activation())
        self.norm, self.scale = nn.BatchNorm2d(4), nn.Parameter(torch.ones(1))

    def forward(self, x):
        x = self.act(self.norm(self.enter(x)))
        return (x + self.scale * self.body(x)).relu()


MODELS = {
    "residual": (Residual(), torch.randint(-1, 2, (3, 2, 7, 5)).float()),
    "1d": (nn.Sequential(Conv1d(3, 5, 3), nn.BatchNorm1d(5), Activation()), torch.randint(-1, 2, (3, 3, 11)).float()),
    "dense": (nn.Sequential(Linear(13, 5), nn.BatchNorm1d(5), Activation()), torch.randint(-1, 2, (6, 13)).float()),
    "dense over images": (Linear(3, 5), torch.randint(-1, 2, (2, 4, 3)).float()),
    "grouped, strided": (Conv2d(4, 6, 3, 2, 1, 2, 2), torch.randint(-1, 2, (3, 4, 9, 11)).float()),
    "real input": (nn.Sequential(Conv2d(2, 3, 3), nn.BatchNorm2d(3), Activation()), torch.randn(2, 2, 5, 5)),
    "even kernel": (Conv2d(2, 3, 4, padding="same"), torch.randint(-1, 2, (2, 2, 5, 5)).float()),
    "wrapping padding": (Conv2d(2, 3, 3, padding=1, padding_mode="circular"), torch.ones(2, 2, 5, 5)),
    "weights of two scales": (Conv2d(2, 3, 3, N=3, H=0.3), torch.randint(-1, 2, (2, 2, 5, 5)).float()),
    "all zero": (nn.Sequential(Conv2d(2, 3, 3), nn.BatchNorm2d(3), Activation()), torch.zeros(2, 2, 5, 5)),
    "one image": (nn.Sequential(Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.BatchNorm2d(3)), torch.ones(1, 1, 7, 7)),
    "one value": (nn.Sequential(Linear(1, 1), Activation()), torch.ones(1, 1)),
    "norm without parameters": (nn.BatchNorm2d(3, affine=False), torch.randint(-9, 9, (2, 3, 4, 4)).float()),
    "norm in evaluation": (nn.BatchNorm2d(3).eval(), torch.randint(-9, 9, (2, 3, 4, 4)).float()),
    "latent": (network("4C3-MP2-3", (1, 8, 8), PRECISIONS["latent"]), torch.randint(0, 9, (2, 1, 8, 8)).byte()),
    "full precision": (network("4C3-MP2-3", (1, 8, 8), PRECISIONS["full"]), torch.randint(0, 9, (2, 1, 8, 8)).byte()),
}


@pytest.mark.parametrize("name", MODELS)
def test_other_models_gradients_are_the_same_bits(name):
    assert_same(*MODELS[name])


@pytest.mark.parametrize("scale", [1, 100, 0.25])  # sums in int8, in int16, multiples of a quarter
@pytest.mark.parametrize("channels_last", [False, True])
def test_slices_of_a_large_batch_change_no_bit(monkeypatch, channels_last, scale):
    """Rows and channels are taken apart, with and without saving alike."""
    monkeypatch.setattr(saved_formats, "SLICE", 1)
    torch.manual_seed(0)
    model = nn.Sequential(Conv2d(3, 19, 3), nn.MaxPool2d(2), nn.BatchNorm2d(19), Activation(), Conv2d(19, 4, 1))
    x = torch.randint(-1, 2, (21, 3, 9, 7)) * float(scale)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    assert_same(model, x)
    sliced = gradients(model, x, True)
    monkeypatch.undo()
    for a, b in zip(sliced, gradients(model, x, False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)  # sums in another order


@pytest.mark.parametrize("slice_bytes", [1, saved_formats.SLICE])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("end", ["sum", "mean over places", "other format"])
def test_gradients_that_lie_otherwise_in_memory(monkeypatch, end, channels_last, slice_bytes):
    """What comes back may be one number seen everywhere, or in another memory format than the input."""
    monkeypatch.setattr(saved_formats, "SLICE", slice_bytes)
    formats = [torch.contiguous_format, torch.channels_last]
    x = torch.randint(-9, 10, (8, 17, 6, 5)).float().to(memory_format=formats[channels_last])

    class End(nn.Module):
        def forward(self, y):
            if end == "other format":
                return y.contiguous(memory_format=formats[not channels_last])
            return y.sum() if end == "sum" else y.mean((2, 3))

    assert_same(nn.Sequential(nn.BatchNorm2d(17), End()), x)
    assert_same(nn.Sequential(nn.MaxPool2d(2), End()), x)


def test_a_block_is_saved_in_its_true_size():
    """Convolution input in 2 bits, its sums, no larger than 127, in 8, the window in 1, and nothing twice."""
    model = nn.Sequential(Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), Activation(), Conv2d(32, 8, 1))
    x = torch.randint(-1, 2, (8, 16, 16, 16)).float()
    saved = sum(t.untyped_storage().nbytes() for t in saved_tensors(model, x) if t.numel() > 100)
    assert saved == 8 * 256 * (16 * 2 + 32 * 8 + 32 + 32 * 2) // 8
    plain = sum(t.untyped_storage().nbytes() for t in saved_tensors(model, x, saving=False) if t.numel() > 100)
    assert plain == 4 * 8 * 256 * (16 + 32 + 32 + 32)


def test_pooled_blocks_save_no_sums_before_the_pooling():
    model = nn.Sequential(Pixels(), Conv2d(1, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), Activation())
    x = torch.randint(0, 256, (8, 1, 18, 18), dtype=torch.uint8)
    saved = {t.dtype: t.untyped_storage().nbytes() for t in saved_tensors(model, x) if t.numel() > 100}
    # pixels in int16 beside the norm's input; places beside the windows
    assert sorted(t.untyped_storage().nbytes() for t in saved_tensors(model, x) if t.numel() > 100) == sorted(
        [8 * 18 * 18 * 2, 8 * 8 * 64 * 1, 8 * 8 * 64 * 2, 8 * 8 * 64 // 8]
    ), saved


def test_nothing_is_saved_small_outside_the_context_nor_without_gradients():
    conv, x = Conv2d(2, 2, 3), torch.randint(-1, 2, (8, 2, 8, 8)).float()
    with pack_saved_activations(), pack_saved_activations():
        pass
    assert any(t.dtype == torch.float32 and t.numel() == x.numel() for t in saved_tensors(conv, x, saving=False))
    with pack_saved_activations(), torch.no_grad():
        assert torch.equal(conv(x), conv(x))


def test_a_backward_pass_to_be_differentiated_is_refused():
    for module in (Conv2d(2, 2, 3), Linear(8, 2), nn.MaxPool2d(2), nn.BatchNorm2d(2)):
        x = torch.randint(-1, 2, (8, 2, 8, 8)).float().requires_grad_()
        with pack_saved_activations():
            y = module(x).sum()
        with pytest.raises(RuntimeError, match="create_graph"):
            torch.autograd.grad(y, x, create_graph=True)


CONTENTS = {
    "binary": torch.randint(0, 2, (5, 13)) * 2 - 1,
    "ternary": torch.randint(-1, 2, (5, 13)),
    "halves": torch.randint(-2, 3, (5, 13)) / 2,
    "fine": torch.randint(-4096, 4097, (5, 13)) / 4096,
    "bytes": torch.randint(-127, 128, (5, 13)),
    "sums": torch.randint(-32767, 32768, (5, 13)),
    "zero": torch.zeros(5, 13),
    "ones": torch.ones(5, 13),
}
BITS = {"binary": 1, "ternary": 2, "halves": 4, "fine": 16, "bytes": 8, "sums": 16, "zero": 2, "ones": 1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CONTENTS)
def test_the_small_form_is_exact_and_as_small_as_it_can_be(name, dtype, implementation):
    x = CONTENTS[name].to(dtype)
    with pack_saved_activations():
        data, form = saved_formats.small(x)
    assert form.bits == BITS[name]
    assert data.numel() * data.element_size() == -(-x.numel() * form.bits // 8)
    assert torch.equal(form.whole(data), x) and form.whole(data).dtype == dtype
    assert torch.equal(form.integers(data) * 2.0**-form.exponent, x.float())


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), -0.0, 0.1, 2.0**-13, 32768.0, 2.0**19, 1e-40, 3e38]
)
def test_what_is_no_small_integer_stays_as_it_is(value, implementation):
    x = torch.ones(9, 300)
    x[8, 299] = value
    with pack_saved_activations():
        data, form = saved_formats.small(x)
    assert form.bits == 0 and data.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("shape", [(1, 1), (8, 1), (9, 3), (17, 5, 3), (9, 2, 3, 5), (3000, 7)])
def test_native_and_reference_find_and_hold_the_same(shape, instruction_set, monkeypatch):
    for content in (torch.randint(-1, 2, shape).float(), torch.randint(-9, 9, shape) / 4, torch.zeros(shape)):
        for x in (content, content.to(memory_format=torch.channels_last)) if len(shape) == 4 else (content,):
            with pack_saved_activations():
                data, form = saved_formats.small(x)
                with monkeypatch.context() as patch:
                    patch.setattr(native, "library", lambda: None)
                    data_reference, form_reference = saved_formats.small(x)
            assert form == form_reference and torch.equal(data, data_reference)
            assert torch.equal(form.rows(data, 0, len(x)), x) and form.whole(data).stride() == x.stride()
            m = form.integers(data)
            assert not m.is_floating_point() and m.stride() == x.stride() and torch.equal(m * 2.0**-form.exponent, x)
            with monkeypatch.context() as patch:
                patch.setattr(native, "library", lambda: None)
                assert torch.equal(form.integers(data), m)
            if len(x) > 8:
                assert torch.equal(form.rows(data, 8, len(x)), x[8:])
