"""phi_r: the discrete activation, and the window that stands in for its derivative.

Forward, to the states of Z_N in [-1, 1] (GXNOR-Net, arXiv 1705.09283, section 2.3), with d = 2^(1-N) the height of a
step and t_k = r + (k - 1)(H - r) d, k = 1 .. 2^(N-1), the places of the steps:

    phi_r(x) = sign(x) * d * #{ k : |x| > t_k }            N >= 1; |x| <= r gives 0
    phi(x)   = 1 if x >= 0, else -1                        N = 0, one step of height d = 2 at 0

Backward, the impulse at every step s in {t_k, -t_k} becomes a window of half-width a and area d; windows that overlap
add up:

    rectangular   d / (2a)               where |x - s| <= a
    triangular    d (a - |x - s|) / a^2  where |x - s| <= a

A rectangular window includes the end on its step's own side of 0 and leaves out the one beyond 0: with r = a both
windows end at 0, and 0 counts once. NaN lies beyond no step and in no window: it gives 0 (binary: -1) and slope 0.
"""

from __future__ import annotations

import ctypes
import functools
import math

import torch
from torch import nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from gxnor import native
from gxnor.nn import saved_formats
from gxnor.nn.codes import pack_indices
from gxnor.nn.tracing import as_node, is_symbolic, is_transformed, refuse_recording, refuse_scripting
from gxnor.space import DiscreteSpace

WINDOWS = ("rectangular", "triangular")


def steps(N: int, r: float, H: float) -> list[float]:
    """The places t_1 <= t_2 <= ... of the steps on the positive side; [0] for binary."""
    d = DiscreteSpace(N).step
    return [0.0] if N == 0 else [r + k * (H - r) * d for k in range(2 ** (N - 1))]


def phi_reference(x: torch.Tensor, N: int, r: float, H: float) -> torch.Tensor:
    """phi_r(x) by the formula; any float dtype and device."""
    if N == 0:
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    def passed(t: float) -> torch.Tensor:
        return (x > t).to(x.dtype) - (x < -t).to(x.dtype)

    first, *others = steps(N, r, H)
    count = sum((passed(t) for t in others), passed(first))
    return count * DiscreteSpace(N).step


def window_reference(x: torch.Tensor, N: int, r: float, H: float, a: float, window: str) -> torch.Tensor:
    """The surrogate derivative of phi_r at x by the formula; any float dtype and device."""
    u = x.abs()
    total = torch.zeros_like(x)
    for t in steps(N, r, H):
        if window == "rectangular":
            total = total + ((u - t).abs() <= a).to(x.dtype)
            if N > 0:
                total = total + (u + t < a).to(x.dtype)
        else:
            near, far = (u - t).abs(), u + t
            total = total + torch.where(near < a, a - near, 0)
            if N > 0:
                total = total + torch.where(far < a, a - far, 0)
    return total * _factor(N, a, window)


def _factor(N: int, a: float, window: str) -> float:
    """What gives a window the area d: the height of a rectangle, the slope of a triangle."""
    d = DiscreteSpace(N).step
    return d / (2 * a) if window == "rectangular" else d / (a * a)


def _fused(x: torch.Tensor) -> bool:
    """Whether the native kernels apply: float32 on the CPU, dense in memory."""
    return (
        not torch.compiler.is_compiling()
        and not is_transformed()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and saved_formats.is_dense(x)
        and native.library() is not None
    )


@functools.cache
def describe(N: int, r: float, H: float, a: float = 1.0, window: str = "rectangular") -> native.Phi:
    t = steps(N, r, H)
    values = (ctypes.c_float * 64)(*t)
    count, height = len(t) if N else 0, DiscreteSpace(N).step
    return native.Phi(values, count, height, a, window == "triangular", _factor(N, a, window))


def _forward(x: torch.Tensor, N: int, r: float, H: float) -> torch.Tensor:
    """`phi_reference`, by the native kernel where it applies."""
    library = native.library() if _fused(x) else None
    if library is None:
        return phi_reference(x, N, r, H)
    y = torch.empty_like(x)
    given = ctypes.byref(describe(N, r, H))
    library.gxnor_phi_forward(given, x.data_ptr(), y.data_ptr(), x.numel(), torch.get_num_threads())
    return y


class _SmallPhi(torch.autograd.Function):
    """phi with rectangular windows; `packed` says in how many of them each x lies, which is all that backward needs."""

    @staticmethod
    def forward(ctx, x, N, r, H, a, packed, bits):
        ctx.save_for_backward(packed)
        ctx.like = x.shape, x.stride()
        factor = torch.tensor(_factor(N, a, "rectangular"), dtype=x.dtype)
        ctx.bits, ctx.slopes = bits, tuple((torch.arange(2**bits) * factor).tolist())
        return _forward(x, N, r, H)

    @staticmethod
    def backward(ctx, dy):
        (packed,) = ctx.saved_tensors
        shape, strides = ctx.like
        slope = torch.empty_strided(shape, strides, dtype=dy.dtype, device=dy.device)
        slope = saved_formats.unpack(packed, ctx.bits, ctx.slopes, slope)
        return dy * slope if torch.is_grad_enabled() else slope.mul_(dy), *[None] * 6


def windows_reference(x: torch.Tensor, N: int, r: float, H: float, a: float) -> torch.Tensor:
    """uint8: in how many of the rectangular windows each x lies."""
    return (window_reference(x, N, r, H, a, "rectangular") / _factor(N, a, "rectangular")).round().to(torch.uint8)


def _pack_windows(x: torch.Tensor, N: int, r: float, H: float, a: float) -> tuple[torch.Tensor, int]:
    """`windows_reference` in the order of memory, packed in as few bits as it takes, and their number."""
    x = x.detach()
    library = native.library() if _fused(x) else None
    counts = None if library else saved_formats.in_memory_order(windows_reference(x, N, r, H, a))
    for bits in (1, 2, 4, 8):
        if library:
            packed = torch.empty((x.numel() * bits + 7) // 8, dtype=torch.uint8)
            given = ctypes.byref(describe(N, r, H, a))
            most = library.gxnor_phi_windows(
                given, x.data_ptr(), packed.data_ptr(), x.numel(), bits, torch.get_num_threads()
            )
            if most < 2**bits:
                return packed, bits
        elif counts is not None and (bits == 8 or counts.amax() < 2**bits):
            return pack_indices(counts, bits), bits
    raise AssertionError("no phi has more than 128 windows")


def _apply(x: torch.Tensor, N: int, r: float, H: float, a: float, window: str) -> torch.Tensor:
    refuse_recording()
    if is_transformed():
        return _TransformedPhi.apply(x, N, r, H, a, window)
    if (
        window == "rectangular"
        and x.requires_grad
        and saved_formats.is_on()
        and x.numel()
        and saved_formats.is_dense(x)
    ):
        return _SmallPhi.apply(x, N, r, H, a, *_pack_windows(x, N, r, H, a))
    return _Phi.apply(x, N, r, H, a, window)


class _Phi(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, N, r, H, a, window):
        ctx.save_for_backward(x)
        ctx.options = (N, r, H, a, window)
        return _forward(x, N, r, H)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        N, r, H, a, window = ctx.options
        if torch.is_grad_enabled() or not _fused(x):  # grad enabled: this pass is itself to be differentiated
            return dy * window_reference(x, N, r, H, a, window), None, None, None, None, None
        if dy.stride() != x.stride():
            dy = torch.empty_like(x).copy_(dy)
        dx = torch.empty_like(x)
        given = ctypes.byref(describe(N, r, H, a, window))
        native.library().gxnor_phi_backward(
            given, x.data_ptr(), dy.data_ptr(), dx.data_ptr(), x.numel(), torch.get_num_threads()
        )
        return dx, None, None, None, None, None


class _TransformedPhi(torch.autograd.Function):
    """`_Phi` as torch.func wants it; a call takes PyTorch several times longer (2.13)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, N, r, H, a, window):
        return _forward(x, N, r, H)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, *ctx.options = inputs
        ctx.save_for_backward(x)

    backward = _Phi.backward


def phi(
    x: torch.Tensor, N: int = 1, r: float = 0.5, a: float = 0.5, H: float = 1.0, window: str = "rectangular"
) -> torch.Tensor:
    """The discrete activation with its surrogate derivative; see the module's text.

    Args:
        x: float tensor of any shape.
        N: the output space Z_N: 0 binary, 1 ternary, 2 five states, ... up to 7.
        r: half-width of the zero state, 0 <= r <= H; more zeros where r is larger. Unused for N = 0.
        a: half-width of the derivative windows, > 0.
        H: top of the input range, where the last step would end; unused for N <= 1.
        window: "rectangular" or "triangular".

    Returns a tensor like x whose values are states of Z_N in [-1, 1]. Raises ValueError for impossible settings.
    """
    if has_torch_function_unary(x):  # traced by torch.fx, for example
        return handle_torch_function(phi, (x,), x, N=N, r=r, a=a, H=H, window=window)
    check_settings(N, r, a, H, window)
    return _apply(x, N, r, H, a, window)


def check_settings(N: int, r: float, a: float, H: float, window: str) -> None:
    """Raises ValueError, naming the setting, where phi is not defined."""
    DiscreteSpace(N)
    if not (math.isfinite(H) and H > 0):
        raise ValueError(f"H, the top of the activation's input range, must be positive, got {H!r}")
    if not 0 <= r <= H:
        raise ValueError(f"r must lie between 0 and H = {H:g}, got {r!r}")
    if not (math.isfinite(a) and a > 0):
        raise ValueError(f"a, the half-width of the derivative window, must be positive, got {a!r}")
    if window not in WINDOWS:
        raise ValueError(f"window must be one of {', '.join(WINDOWS)}, got {window!r}")


class Activation(nn.Module):
    """`phi` as a module, with the same arguments, which are its attributes. `N` may become less during training, so that a
    network learns with more states than it ends with (docs/runs.md). Settings are checked whenever they are used."""

    def __init__(self, N: int = 1, r: float = 0.5, a: float = 0.5, H: float = 1.0, window: str = "rectangular"):
        super().__init__()
        check_settings(N, r, a, H, window)
        self.N, self.r, self.a, self.H, self.window = N, r, a, H, window

    __prepare_scriptable__ = refuse_scripting

    @property
    def space(self) -> DiscreteSpace:
        return DiscreteSpace(self.N)

    def settings(self) -> tuple[int, float, float, float, str]:
        """N, r, H, a and window as they are now. Raises ValueError, naming the setting, where phi is not defined."""
        check_settings(self.N, self.r, self.a, self.H, self.window)
        return self.N, self.r, self.H, self.a, self.window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if is_symbolic(x):
            return as_node(self, x)
        return _apply(x, *self.settings())

    def extra_repr(self) -> str:
        top = f", H={self.H:g}" if self.N > 1 else ""
        return f"N={self.N}, r={self.r:g}, a={self.a:g}{top}, window={self.window}"
