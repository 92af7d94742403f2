"""The native training kernels agree exactly with their references on every instruction set that this machine has."""

import importlib
import itertools

import pytest
import torch

from gxnor import native
from gxnor.nn.activation import WINDOWS, phi, phi_reference, steps, window_reference
from gxnor.nn.codes import dequantize_reference
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.stream import uniform
from gxnor.optim import increment
from gxnor.optim.counter import new_counters, unpack_counters
from gxnor.space import DiscreteSpace

moves = importlib.import_module("gxnor.optim.transition")
SIZES = (1, 2, 3, 7, 255, 256, 257, 1023, 1025)  # around the blocks
LONG = 20001  # several pieces for several threads

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


@pytest.fixture(params=[0, 1, 2], ids=["portable", "avx2", "avx512"])
def isa(request):
    if native.library().gxnor_limit_isa(request.param) != request.param:
        pytest.skip("this machine does not have it")
    yield
    native.library().gxnor_limit_isa(2)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("probability", moves.PROBABILITIES)
@pytest.mark.parametrize("N", [0, 1, 2, 3, 7])
def test_transition(isa, two_threads, N, probability):
    for n, (m, H) in itertools.product((*SIZES, LONG), ((3.0, 1.0), (0.5, 0.7), (40.0, 1.0), (1e30, 0.7))):
        generator = torch.Generator().manual_seed(n)
        space = DiscreteSpace(N, H)
        weight = DiscreteParameter.random((n,), space, generator)
        increment = torch.randn(n, generator=generator) * space.step * 0.5
        increment[::7] = 0.0
        increment[3::11] *= 20
        increment[5::13] *= 1e-4
        increment[6::17] = torch.inf
        before = weight.indices()
        after = moves.transition(before, increment, space, uniform(99, n), moves.TransitionRule(m, probability))
        assert moves.move(weight, increment, 99, moves.TransitionRule(m, probability)) == int((after != before).sum())
        assert torch.equal(weight.indices(), after)


@pytest.mark.parametrize("probability", moves.PROBABILITIES)
@pytest.mark.parametrize("N, bits", [(0, 7), (0, 1), (1, 6), (1, 4), (1, 3), (2, 5), (3, 2), (6, 1)])
def test_transition_with_counters(isa, two_threads, N, bits, probability):
    for n in (*SIZES, LONG):
        generator = torch.Generator().manual_seed(n)
        space = DiscreteSpace(N, 0.7)
        weight = DiscreteParameter.random((n,), space, generator)
        counters = new_counters(weight, bits)
        for step in range(3):  # from the middle of the cells to all over them
            increment = torch.randn(n, generator=generator) * space.step * (0.3, 3 / 2**bits, 0.1 / 2**bits)[step]
            increment[::7] = 0.0
            increment[6::17] = torch.inf
            before = weight.indices()
            place = (before << bits) + unpack_counters(counters, bits, weight.shape)
            rule = moves.TransitionRule(1.0, probability, bits)
            after = moves.transition(place, increment, space, uniform(step, n), rule)
            moved = moves.move(weight, increment, step, rule, counters)
            assert torch.equal((weight.indices() << bits) + unpack_counters(counters, bits, weight.shape), after)
            assert moved == int((after >> bits != before).sum())


@pytest.mark.parametrize("dW", [0.0, 1e-30, 0.3, -0.3, 5.0])
def test_transition_of_equal_weights(isa, dW):
    space = DiscreteSpace(1)
    for index, n in itertools.product(range(3), SIZES):
        weight = DiscreteParameter.from_indices(torch.full((n,), index, dtype=torch.uint8), space)
        increment = torch.full((n,), dW)
        expected = moves.transition(weight.indices(), increment, space, uniform(5, n))
        moves.move(weight, increment, 5)
        assert torch.equal(weight.indices(), expected)


def test_transition_leaves_padding_bits_zero(isa):
    for N, n in itertools.product((0, 1, 2), (1, 3, 257)):
        weight = DiscreteParameter.random((n,), DiscreteSpace(N))
        moves.move(weight, torch.full((n,), 10.0), 1)
        again = DiscreteParameter.from_indices(weight.indices(), weight.space)
        assert torch.equal(weight.packed, again.packed)


def test_transition_refuses_nan_anywhere(isa):
    for at in (0, 255, 300):
        weight = DiscreteParameter.random((301,), DiscreteSpace(1))
        before, increment = weight.indices(), torch.full((301,), 10.0)
        increment[at] = torch.nan
        with pytest.raises(ValueError, match="NaN"):
            moves.move(weight, increment, 1)
        assert torch.equal(weight.indices(), before)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("N", [0, 1, 2, 3, 7])
def test_activation(isa, two_threads, N, window):
    settings = [(0.5, 0.5, 1.0), (0.0, 0.3, 1.0), (0.2, 0.9, 1.5), (1.0, 0.5, 1.0)]
    for n, (r, a, H) in [*itertools.product(SIZES, settings), (LONG, settings[0])]:
        generator = torch.Generator().manual_seed(n)
        x = torch.randn(n, generator=generator) * 1.2
        edges = torch.tensor([s + o for s in steps(N, r, H) for o in (-a, 0, a)])
        x[::3] = edges[torch.randint(len(edges), x[::3].shape, generator=generator)]
        x[1::7] = 0.0
        x[2::7] *= -1
        dy = torch.randn(n, generator=generator)
        x.requires_grad_()
        y = phi(x, N, r, a, H, window)
        y.backward(dy)
        assert torch.equal(y.detach(), phi_reference(x.detach(), N, r, H))
        assert torch.equal(x.grad, dy * window_reference(x.detach(), N, r, H, a, window))


@pytest.mark.parametrize("N", [0, 1, 2, 3, 4, 7])
def test_unpacked_values(two_threads, N):
    for n, H in itertools.product((*SIZES, 4 * LONG), (1.0, 0.3)):
        weight = DiscreteParameter.random((n,), DiscreteSpace(N, H), torch.Generator().manual_seed(n))
        values = weight.dequantize()
        assert torch.equal(values, dequantize_reference(weight.packed, weight.space, weight.shape, torch.float32))
        assert torch.equal(values, torch.from_numpy(weight.space.value(weight.indices().numpy())))


@pytest.mark.parametrize("n", [0, *SIZES, LONG])
def test_adam(isa, n):
    draws = torch.Generator().manual_seed(n)
    for case in ("normal", "zero", "equal"):
        g, v1 = (torch.randn(n, generator=draws) for _ in range(2))
        v2 = torch.rand(n, generator=draws)
        if case != "normal":
            for t in (g, v1, v2):
                t.fill_(0.0 if case == "zero" else 0.3)
        settings = {"lr": 0.03, "betas": (0.95, 0.99), "eps": 1e-8}
        state = {"decay": 0.5, "decay_sq": 0.7, "exp_avg": v1.clone(), "exp_avg_sq": v2.clone()}
        fast = increment.adam(g, state, settings)
        root = (1 - 0.7 * 0.99) ** 0.5
        slow = increment.adam_reference(
            g, v1, v2, 1 - 0.95, 0.99, 1 - 0.99, 1e-8 * root, -0.03 * root / (1 - 0.5 * 0.95)
        )
        assert torch.equal(fast, slow) and torch.equal(state["exp_avg"], v1) and torch.equal(state["exp_avg_sq"], v2)
