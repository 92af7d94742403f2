"""phi_r and its derivative windows: against the paper's formulas, and the native kernels against the reference."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from gxnor import native
from gxnor.nn import Activation, activation, phi

WINDOWS = ("rectangular", "triangular")
# (N, r, H): values that float32 holds exactly, so that steps and window ends can be met exactly
SETTINGS = [(0, 0.0, 1.0)] + [
    (N, r, H) for N in range(1, 8) for r, H in [(0.5, 1.0), (0.0, 1.0), (0.25, 2.0), (1.0, 1.0)]
]
HALF_WIDTHS = (0.125, 0.5, 3.0)


def paper_phi(x: np.ndarray, N: int, r: float, H: float) -> np.ndarray:
    """Interval by interval, as the paper writes it."""
    if N == 0:
        return np.where(x >= 0, 1.0, -1.0)
    y = np.zeros_like(x)
    half = 2 ** (N - 1)
    for k in range(1, half + 1):
        lower, upper = (k - 1) * (H - r) / half + r, k * (H - r) / half + r
        if k == half:
            upper = np.inf
        y[(lower < x) & (x <= upper)] = k / half
        y[(lower < -x) & (-x <= upper)] = -k / half
    return y


def paper_steps(N: int, r: float, H: float) -> list[tuple[int, float, float]]:
    """(side of 0, place, height) of every step of phi."""
    if N == 0:
        return [(0, 0.0, 2.0)]
    half = 2 ** (N - 1)
    places = [(k - 1) * (H - r) / half + r for k in range(1, half + 1)]
    return [(side, side * place, 1 / half) for place in places for side in (1, -1)]


def paper_window(x: np.ndarray, N: int, r: float, H: float, a: float, window: str) -> np.ndarray:
    """The sum of the windows of all steps; a rectangle leaves out its end on the other side of 0."""
    total = np.zeros_like(x)
    for side, place, height in paper_steps(N, r, H):
        distance = np.abs(x - place)
        if window == "triangular":
            total += np.where(distance <= a, height * (a - distance) / a**2, 0.0)
        else:
            own_side = np.where(x >= 0, side >= 0, side <= 0)
            total += np.where(np.where(own_side, distance <= a, distance < a), height / (2 * a), 0.0)
    return total


def grid(N: int, r: float, H: float, a: float, neighbours: bool = True) -> np.ndarray:
    """Dense, with every step, every window end and their float32 neighbours in it."""
    places = np.array([place for _, place, _ in paper_steps(N, r, H)])
    edges = np.concatenate([[0.0, -0.0, r, -r, H, -H], places, places - a, places + a]).astype(np.float32)
    around = [np.nextafter(edges, np.float32(direction)) for direction in (-np.inf, np.inf) if neighbours]
    return np.concatenate([np.linspace(-2 * H - a, 2 * H + a, 999, dtype=np.float32), edges, *around])


def backward(x: torch.Tensor, dy=None, **settings) -> torch.Tensor:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = phi(x, **settings)
    y.backward(torch.ones_like(y) if dy is None else dy)
    return x.grad


@pytest.mark.parametrize("N, r, H", SETTINGS)
def test_forward_is_the_formula(N, r, H):
    x = grid(N, r, H, 0.5)
    expected = paper_phi(x.astype(np.float64), N, r, H)
    for dtype in (torch.float32, torch.float64):
        y = phi(torch.from_numpy(x).to(dtype), N=N, r=r, H=H)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.numpy(), expected)
    assert Activation(N, r, H=H).space.contains(expected).all()


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("a", HALF_WIDTHS)
@pytest.mark.parametrize("N, r, H", SETTINGS)
def test_backward_is_the_formula(N, r, H, a, window):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-13)):
        # |x - step| of a neighbour of a window's end may be rounded onto the end in float32, never in float64
        x = grid(N, r, H, a, neighbours=dtype == torch.float64)
        expected = paper_window(x.astype(np.float64), N, r, H, a, window)
        dx = backward(torch.from_numpy(x).to(dtype), N=N, r=r, H=H, a=a, window=window)
        np.testing.assert_allclose(dx.numpy(), expected, rtol=tolerance, atol=tolerance * 2 ** (2 - N) / a)


def test_the_usual_settings_by_hand():
    x = torch.tensor([-1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5])
    assert phi(x).tolist() == [-1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1]
    assert phi(x, N=2).tolist() == [-1, -1, -0.5, 0, 0, 0, 0, 0, 0.5, 1, 1]
    assert phi(x, N=0).tolist() == [-1] * 5 + [1] * 6
    # r = a = 0.5 is the straight-through estimator of hard tanh, as is the binary one with a = 1
    assert backward(x).tolist() == [0] + [1] * 9 + [0]
    assert backward(x, N=0, a=1.0).tolist() == [0] + [1] * 9 + [0]
    assert backward(x, window="triangular").tolist() == [0, 0, 1, 2, 1, 0, 1, 2, 1, 0, 0]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    "N, r, H", [(0, 0.0, 1.0), (1, 0.5, 1.0), (1, 0.1, 1.0), (2, 0.3, 1.0), (3, 0.0, 2.0), (7, 0.5, 1.0)]
)
@pytest.mark.parametrize("a", [0.05, 0.5, 2.0])
def test_the_windows_hold_the_whole_climb_from_minus_one_to_one(N, r, H, a, window):
    x, dx = np.linspace(-H - a - 0.1, H + a + 0.1, 100_001, retstep=True)
    area = backward(torch.from_numpy(x), N=N, r=r, H=H, a=a, window=window).sum().item() * dx
    assert area == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    "N, r, H, a", [(0, 0.0, 1.0, 0.5), (1, 0.5, 1.0, 0.25), (2, 0.4, 2.0, 0.3), (3, 0.5, 4.5, 0.4)]
)
def test_the_area_of_a_window_is_the_height_of_its_step(N, r, H, a, window):
    for _, place, height in paper_steps(N, r, H):
        x, dx = np.linspace(place - 1.01 * a, place + 1.01 * a, 20_001, retstep=True)
        area = backward(torch.from_numpy(x), N=N, r=r, H=H, a=a, window=window).sum().item() * dx
        assert area == pytest.approx(height, rel=1e-4)


@pytest.mark.parametrize("window, middle", [("rectangular", 2 / (2 * 1.0)), ("triangular", 2 * (1 - 0.25) / 1.0)])
def test_windows_of_both_sides_add_up_where_they_overlap(window, middle):
    dx = backward(torch.zeros(1), N=1, r=0.25, a=1.0, window=window)
    assert dx.item() == pytest.approx(middle)


# --- the native kernels equal the reference bit for bit ---

needs_native = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "empty": (0,),
        "one": (1,),
        "odd": (3, 7),
        "block": (511,),
        "blocks": (1537,),
    }
    result = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    result["scalar"] = torch.tensor(0.7)
    result["all equal"] = torch.full((1000,), 0.5)
    result["zeros"] = torch.zeros(33)
    result["no channels"] = torch.zeros(4, 0, 3, 3)
    result["channels last"] = torch.randn(2, 3, 5, 7, generator=generator).to(memory_format=torch.channels_last)
    result["transposed"] = torch.randn(7, 9, generator=generator).t()
    result["strided"] = torch.randn(20, 9, generator=generator)[::2, 1::3]
    result["expanded"] = torch.randn(5, 1, generator=generator).expand(5, 4)
    result["special"] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-45, -1e-45, 3e38, -3e38])
    return result


# the last ones such that float32 must round
NATIVE_SETTINGS = [(0, 0.0, 1.0), (1, 0.5, 1.0), (1, 0.0, 1.0), (2, 1.0, 1.0), *((N, 0.3, 1.7) for N in range(1, 8))]


def same_bits(a: torch.Tensor, b: torch.Tensor) -> None:
    assert a.dtype == b.dtype and a.shape == b.shape
    number = torch.isfinite(b)
    assert torch.equal(number, torch.isfinite(a))
    kind = torch.int32 if a.dtype == torch.float32 else torch.int64
    assert torch.equal(a[number].view(kind), b[number].view(kind))


@pytest.mark.parametrize("name", inputs())
def test_native_equals_reference(name, instruction_set):
    x = inputs()[name]
    for (N, r, H), a, window in itertools.product(NATIVE_SETTINGS, (0.3, 2.0), WINDOWS):
        same_bits(phi(x, N=N, r=r, H=H), activation.phi_reference(x, N, r, H))
        dy = torch.linspace(-2, 3, x.numel()).view(x.shape)
        expected = dy * activation.window_reference(x, N, r, H, a, window)
        same_bits(backward(x, dy, N=N, r=r, H=H, a=a, window=window), expected)


@needs_native
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_threads_change_nothing(threads):
    x = torch.randn(5 * 2**14 + 77, generator=torch.Generator().manual_seed(1))
    value = {N: activation.phi_reference(x, N, 0.3, 1.0) for N in (0, 1, 3)}
    slope = {(N, w): activation.window_reference(x, N, 0.3, 1.0, 0.5, w) for N in value for w in WINDOWS}
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for N, window in slope:
            same_bits(phi(x, N=N, r=0.3), value[N])
            same_bits(backward(x, N=N, r=0.3, window=window), slope[N, window])
    finally:
        torch.set_num_threads(before)


@needs_native
def test_the_gradient_may_come_in_any_memory_order():
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    expected = activation.window_reference(x, 1, 0.5, 1.0, 0.5, "rectangular")
    dy = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(3))
    for order in (torch.contiguous_format, torch.channels_last):
        for given in (
            dy,
            dy.to(memory_format=torch.channels_last),
            dy.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        ):
            assert torch.equal(backward(x.to(memory_format=order), given), dy * expected)
    assert torch.equal(backward(x, torch.ones(1).expand_as(x)), expected)


@pytest.mark.parametrize("N", range(8))
def test_memory_order_is_kept(N):
    x = torch.randn(2, 3, 5, 7).to(memory_format=torch.channels_last)
    assert phi(x, N=N).is_contiguous(memory_format=torch.channels_last)
    assert backward(x, N=N).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("N, r, H", SETTINGS)
def test_bfloat16_gives_states(N, r, H):
    x = torch.from_numpy(grid(N, r, H, 0.5)).bfloat16()
    y = phi(x, N=N, r=r, H=H)
    assert y.dtype == torch.bfloat16
    places = torch.tensor([place for _, place, _ in paper_steps(N, r, H)])
    if torch.equal(places.bfloat16().float(), places):  # else the steps lie where bfloat16 rounds them to
        np.testing.assert_array_equal(y.float().numpy(), paper_phi(x.double().numpy(), N, r, H))
    assert Activation(N, r, H=H).space.contains(y.float().numpy()).all()
    assert backward(x, N=N, r=r, H=H).dtype == torch.bfloat16


# --- as a part of networks ---


def small_net(N: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), Activation(N, r=0.25), nn.Linear(8, 3))


def test_gradients_flow_as_if_phi_had_the_slope_of_its_window():
    """Against a chain rule written out with the window as phi's derivative."""
    net, x = small_net(2).double(), torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    net(x).square().sum().backward()
    hidden = net[1](net[0](x)).detach().requires_grad_()
    y = torch.from_numpy(paper_phi(hidden.detach().numpy(), 2, 0.25, 1.0)).requires_grad_()
    net[3](y).square().sum().backward()
    slope = torch.from_numpy(paper_window(hidden.detach().numpy(), 2, 0.25, 1.0, 0.5, "rectangular"))
    expected = torch.autograd.grad(net[1](net[0](x)), net[0].weight, y.grad * slope)[0]
    torch.testing.assert_close(net[0].weight.grad, expected)


def test_no_gradient_where_none_is_asked_for():
    x = torch.randn(10)
    assert not phi(x).requires_grad
    with torch.no_grad():
        assert not phi(x.requires_grad_()).requires_grad


def test_a_gradient_of_a_gradient_is_right():
    """d/dw of the derivative of w * phi(x) by x is the window itself."""
    x = torch.linspace(-1.2, 1.2, 50).requires_grad_()
    w = torch.ones(50, requires_grad=True)
    (slope,) = torch.autograd.grad((w * phi(x)).sum(), x, create_graph=True)
    (mixed,) = torch.autograd.grad(slope.sum(), w)
    assert torch.equal(mixed, activation.window_reference(x.detach(), 1, 0.5, 1.0, 0.5, "rectangular"))


@pytest.mark.parametrize("backend, N", [("eager", 1), ("aot_eager", 0), ("aot_eager", 3)])
def test_compiled_is_the_same(backend, N):
    net, x = small_net(N), torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    y = net(x)
    y.square().sum().backward()
    expected = [p.grad for p in net.parameters()]
    net.zero_grad()
    torch._dynamo.reset()
    compiled = torch.compile(net, backend=backend, fullgraph=True)(x)
    compiled.square().sum().backward()
    torch.testing.assert_close(compiled, y)
    torch.testing.assert_close([p.grad for p in net.parameters()], expected)


def test_module_says_what_it_is():
    assert repr(Activation()) == "Activation(N=1, r=0.5, a=0.5, window=rectangular)"
    assert repr(Activation(2, 0.25, 1, 2, "triangular")) == "Activation(N=2, r=0.25, a=1, H=2, window=triangular)"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"N": -1}, "N must be"),
        ({"r": -0.1}, "r must lie between 0 and H = 1, got -0.1"),
        ({"r": 1.5}, "r must lie"),
        ({"r": float("nan")}, "r must lie"),
        ({"a": 0}, "a, the half-width"),
        ({"a": float("inf")}, "a, the half-width"),
        ({"H": 0}, "H, the top"),
        ({"window": "gaussian"}, "rectangular, triangular, got 'gaussian'"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        phi(torch.zeros(1), **settings)
    with pytest.raises(ValueError, match=message):
        Activation(**settings)
    module = Activation()
    for name, value in settings.items():
        setattr(module, name, value)
    with pytest.raises(ValueError, match=message):
        module(torch.zeros(1))
