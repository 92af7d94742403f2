"""The transition against the paper's formula, by its statistics, and the native kernel against the reference."""

import itertools
import math

import pytest
import torch

from gxnor import native
from gxnor.nn import DiscreteParameter, stream
from gxnor.optim import transition
from gxnor.optim.counter import new_counters, unpack_counters
from gxnor.optim.transition import TransitionRule, move, move_packed
from gxnor.space import DiscreteSpace

DRAWS = 100_000


def paper_transition(W: float, dW: float, N: int, H: float, u: float, m: float, probability: str) -> float:
    """One weight, in real numbers, as the paper writes it."""
    dz = H / 2 ** (N - 1)
    rho = min(H - W, dW) if dW >= 0 else max(-H - W, dW)
    kappa = math.trunc(rho / dz)
    nu = rho - kappa * dz
    tau = math.tanh(m * abs(nu) / dz) if probability == "tanh" else min(m * abs(nu) / dz, 1.0)
    return W + kappa * dz + (math.copysign(dz, rho) if u < tau else 0.0)


def draws(count: int = DRAWS, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("probability", ["tanh", "linear"])
@pytest.mark.parametrize("N", range(8))
def test_equals_the_formula(N, probability):
    generator = torch.Generator().manual_seed(N)
    for H, m in [(1.0, 3.0), (2.0, 1.0), (0.5, 0.25)]:
        space = DiscreteSpace(N, H)
        index = torch.randint(space.size, (400,), dtype=torch.uint8, generator=generator)
        scale = space.step * torch.tensor([0.05, 0.5, 3.0, 300.0]).repeat_interleave(100)
        dW = torch.round(torch.randn(400, generator=generator) * scale * 2**12) / 2**12  # so that no rounding decides
        u = draws(400, N)
        after = transition(index, dW, space, u, TransitionRule(m, probability))
        assert after.dtype == torch.uint8
        W = space.value(index.numpy()).tolist()
        expected = [
            paper_transition(w, d, N, H, draw, m, probability)
            for w, d, draw in zip(W, dW.tolist(), u.tolist(), strict=True)
        ]
        assert space.value(after.numpy()).tolist() == expected


@pytest.mark.parametrize("probability, m", [("tanh", 3.0), ("tanh", 0.5), ("linear", 1.0), ("linear", 3.0)])
@pytest.mark.parametrize("N, H", [(0, 1.0), (1, 1.0), (1, 0.3), (2, 2.0), (5, 1.0)])
def test_moves_as_often_as_the_formula_says(N, H, m, probability):
    space = DiscreteSpace(N, H)
    for whole, part in itertools.product((0, 1), (-0.9, -0.3, -0.02, 0.02, 0.3, 0.9)):
        if N < 2 and whole:
            continue
        start = space.size // 2 if N else (0 if part > 0 else 1)
        steps = math.copysign(whole + abs(part), part)
        index = torch.full((DRAWS,), start, dtype=torch.uint8)
        after = transition(
            index, torch.full((DRAWS,), steps * space.step), space, draws(), TransitionRule(m, probability)
        )
        sign = 1 if part > 0 else -1
        near, far = start + sign * whole, start + sign * (whole + 1)
        assert set(after.unique().tolist()) <= {near, far}
        tau = math.tanh(m * abs(part)) if probability == "tanh" else min(1.0, m * abs(part))
        moved = (after == far).sum().item()
        assert abs(moved - DRAWS * tau) <= 5 * math.sqrt(DRAWS * tau * (1 - tau)) + 1


def test_linear_with_m_1_is_the_increment_in_expectation():
    space = DiscreteSpace(3)
    for dW in (-0.6, -0.11, 0.004, 0.13, 0.62):
        index = torch.full((DRAWS,), 4, dtype=torch.uint8)
        after = transition(index, torch.full((DRAWS,), dW), space, draws(), TransitionRule(1.0, "linear"))
        mean = space.value(after.numpy()).mean(dtype=float)
        assert abs(mean - dW) < 5 * space.step * 0.5 / math.sqrt(DRAWS)


@pytest.mark.parametrize("probability", ["tanh", "linear"])
@pytest.mark.parametrize("N", range(8))
def test_edges(N, probability):
    space = DiscreteSpace(N)
    every = torch.arange(space.size, dtype=torch.uint8)
    never, always = torch.full((space.size,), 1 - 2.0**-24), torch.zeros(space.size)
    top = space.size - 1

    def after(dW, u):
        return transition(
            every, torch.full((space.size,), float(dW)), space, u, TransitionRule(3.0, probability)
        ).tolist()

    for zero in (0.0, -0.0):
        assert after(zero, always) == every.tolist()
    for u in (never, always):
        assert after(math.inf, u) == after(1e30, u) == after(2.0, u) == [top] * space.size
        assert after(-math.inf, u) == after(-1e30, u) == after(-2.0, u) == [0] * space.size
    for count in range(space.size):  # whole steps move whole steps, whatever is drawn
        for u in (never, always):
            assert after(count * space.step, u) == [min(i + count, top) for i in range(space.size)]
            assert after(-count * space.step, u) == [max(i - count, 0) for i in range(space.size)]
    assert after(1e-30, always) == [min(i + 1, top) for i in range(space.size)]
    assert after(-1e-30, always) == [max(i - 1, 0) for i in range(space.size)]
    assert after(1e-30, never) == every.tolist()


def test_binary_weights_flip_and_never_rest_between():
    space = DiscreteSpace(0)
    index = torch.tensor([0, 0, 1, 1], dtype=torch.uint8)
    dW = torch.tensor([2.0, -2.0, 2.0, -2.0])
    assert transition(index, dW, space, torch.full((4,), 0.5)).tolist() == [1, 0, 1, 0]
    # a whole way is 2 long: dW = 1 is half of it
    half = transition(
        torch.zeros(DRAWS, dtype=torch.uint8), torch.ones(DRAWS), space, draws(), TransitionRule(1.0, "linear")
    )
    assert abs(half.sum().item() - DRAWS / 2) < 5 * math.sqrt(DRAWS / 4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_increments_of_other_precisions(dtype):
    for N in range(8):
        space = DiscreteSpace(N)
        every = torch.arange(space.size, dtype=torch.uint8)
        steps = torch.full((space.size,), space.step, dtype=dtype)
        after = transition(every, steps, space, torch.full((space.size,), 0.99))
        assert after.tolist() == [*range(1, space.size), space.size - 1]
        w = DiscreteParameter.from_indices(every, space)
        assert move(w, steps, key=1) == space.size - 1 and torch.equal(w.indices(), after)


@pytest.mark.parametrize(
    "settings, message",
    [({"m": 0}, "m must be"), ({"m": -1}, "m must be"), ({"m": math.nan}, "m must be"), ({"m": math.inf}, "m must be"),
     ({"probability": "cubic"}, "tanh, linear, got 'cubic'"), ({"bits": 8}, "counter must be 0 to 7 bits, got 8"),
     ({"bits": 1.0}, "counter must be 0 to 7 bits"), ({"split_zero": 1}, "split_zero must be True or False"),
     ({"hysteresis": 0.6}, "hysteresis must be a number from 0 to 0.5")],
)  # fmt: skip
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TransitionRule(**settings)


@pytest.mark.parametrize(
    "N, rule, message",
    [(1, TransitionRule(bits=7), "counters of at most 6 bits, got 7"), (3, TransitionRule(bits=5), "at most 4 bits"),
     (0, TransitionRule(split_zero=True), "split_zero is for ternary weights")],
)  # fmt: skip
def test_a_rule_that_a_space_does_not_allow_is_refused(N, rule, message):
    w = DiscreteParameter.from_indices(torch.zeros(3, dtype=torch.uint8), DiscreteSpace(N))
    with pytest.raises(ValueError, match=message):
        transition(w.indices(), torch.zeros(3), w.space, torch.zeros(3), rule)
    with pytest.raises(ValueError, match=message):
        move(w, torch.zeros(3), 0, rule)


# --- move: the same in place, by the native kernel ---

needs_native = pytest.mark.skipif(native.library() is None, reason="the native library is not built")
KEY = 0xFEDCBA9876543210


def increments(space: DiscreteSpace, count: int, scale: float) -> torch.Tensor:
    """Random, with zeros, infinities, whole steps and tiny values among them."""
    generator = torch.Generator().manual_seed(count)
    dW = torch.randn(count, generator=generator) * (scale * space.step)
    step = space.step
    odd = torch.tensor([0.0, -0.0, math.inf, -math.inf, step, -step, 2 * step, step / 2, 1e-45, -1e-38, 3e38, -3e38])
    dW[::7] = odd[torch.arange(len(dW[::7])) % len(odd)]
    return dW


def check_move(space: DiscreteSpace, count: int, scale: float, m: float, probability: str, key: int = KEY) -> None:
    w = DiscreteParameter.random((count,), space, torch.Generator().manual_seed(1))
    before, dW = w.indices(), increments(space, count, scale)
    expected = transition(before, dW, space, stream.uniform(key, count), TransitionRule(m, probability))
    moved = move(w, dW, key, TransitionRule(m, probability))
    assert torch.equal(w.indices(), expected)
    assert moved == (expected != before).sum()
    fresh = DiscreteParameter.from_indices(expected, space)
    assert torch.equal(w.packed, fresh.packed)  # spare bits stay zero


@pytest.mark.parametrize("probability", ["tanh", "linear"])
@pytest.mark.parametrize("N", range(8))
def test_native_equals_reference(N, probability, instruction_set):
    for H in (1.0, 0.3):
        space = DiscreteSpace(N, H)
        for count in (0, 1, 2, 3, 5, 8, 255, 256, 257, 1003):
            check_move(space, count, 0.3, 3.0, probability)
        for scale, m in itertools.product((0.01, 1.0, 20.0), (1e-3, 1.0, 3.0, 50.0, 1e30)):
            check_move(space, 700, scale, m, probability)


def check_packed(space: DiscreteSpace, count: int, m: float, probability: str, bits: int) -> None:
    w = DiscreteParameter.random((count,), space, torch.Generator().manual_seed(1))
    counters = new_counters(w, bits) if bits else None
    kept = None if counters is None else counters.clone()
    dW, before, rule = increments(space, count, 0.3), w.packed.clone(), TransitionRule(m, probability, bits)
    packed, after, counts = move_packed(w.packed, counters, dW, space, KEY, rule)
    assert torch.equal(w.packed, before) and (kept is None or torch.equal(counters, kept))
    assert counts.tolist() == [move(w, dW, KEY, rule, counters), 0]
    assert torch.equal(packed, w.packed)
    if bits:
        assert torch.equal(*(unpack_counters(c, bits, w.shape) for c in (after, counters)))


@pytest.mark.parametrize("probability", ["tanh", "linear"])
@pytest.mark.parametrize("N, bits", [*((N, 0) for N in range(8)), (0, 7), (1, 4), (1, 5), (3, 3)])
def test_the_form_for_other_devices_moves_the_same_weights(N, bits, probability):
    for count in (1, 2, 3, 5, 8, 255, 256, 257, 1003):
        check_packed(DiscreteSpace(N), count, 3.0, probability, bits)


def test_the_form_for_other_devices_counts_nan():
    w = DiscreteParameter.random((9,), DiscreteSpace(1))
    dW = torch.tensor([0.0, math.nan, 0, math.nan, 0, 0, 0, 0, 0])
    packed, _, counts = move_packed(w.packed, None, dW, w.space, KEY, TransitionRule())
    assert counts.tolist() == [0, 2] and torch.equal(packed, w.packed)


@pytest.mark.parametrize("m", [0.1, 1.0, 3.0, 9.0, 30.0])
def test_draws_close_to_the_probability_are_decided_exactly(m, instruction_set):
    """Increments whose tanh lies within a few draws of u, on both sides."""
    space = DiscreteSpace(0, 0.5)
    count = 20_000
    u = stream.uniform(KEY, count).double().clamp(1e-7, min(1 - 1e-7, math.tanh(m * 0.999)))
    around = torch.linspace(-4, 4, count, dtype=torch.float64) * 2.0**-24
    dW = (torch.atanh((u + around).clamp(1e-9, 1 - 1e-9)) / m).float()
    before = torch.zeros(count, dtype=torch.uint8)
    w = DiscreteParameter.from_indices(before, space)
    move(w, dW, KEY, TransitionRule(m))
    assert torch.equal(w.indices(), transition(before, dW, space, stream.uniform(KEY, count), TransitionRule(m)))


@needs_native
@pytest.mark.parametrize("probability", ["tanh", "linear"])
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_threads_change_nothing(threads, probability):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for N in (0, 1, 2, 7):
            check_move(DiscreteSpace(N), 3 * 2**14 + 77, 0.3, 3.0, probability)
    finally:
        torch.set_num_threads(before)


def test_increments_in_any_memory_order():
    space = DiscreteSpace(1)
    dW = torch.randn(6, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    moved = []
    for given in (
        dW,
        dW.to(memory_format=torch.channels_last),
        dW.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
    ):
        w = DiscreteParameter.from_indices(torch.ones(6, 5, 4, 3, dtype=torch.uint8), space)
        move(w, given, KEY)
        moved.append(w.indices())
    assert torch.equal(moved[0], moved[1]) and torch.equal(moved[0], moved[2])


def test_a_zero_increment_never_moves():
    for N in range(8):
        w = DiscreteParameter.random((999,), DiscreteSpace(N), torch.Generator().manual_seed(0))
        before = w.packed.clone()
        assert move(w, torch.zeros(999), KEY) == 0 and torch.equal(w.packed, before)


@pytest.mark.parametrize("place", [0, 500, 998])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nan_is_refused_and_nothing_moves(dtype, place):
    w = DiscreteParameter.random((999,), DiscreteSpace(1), torch.Generator().manual_seed(0))
    before, dW = w.packed.clone(), torch.ones(999, dtype=dtype)
    dW[place] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        move(w, dW, KEY)
    assert torch.equal(w.packed, before)


def test_an_increment_of_another_shape_is_refused():
    w = DiscreteParameter.random((3, 4), DiscreteSpace(1))
    with pytest.raises(ValueError, match=r"shape \(3, 4\) on cpu, got \(4,\) on cpu"):
        move(w, torch.ones(4), KEY)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("probability", ["tanh", "linear"])
@pytest.mark.parametrize("N", range(8))
def test_a_gpu_moves_the_same_weights(N, probability):
    dW = increments(DiscreteSpace(N), 10_000, 0.3)
    ours = DiscreteParameter.random((10_000,), DiscreteSpace(N), torch.Generator().manual_seed(0))
    theirs = DiscreteParameter.from_indices(ours.indices().cuda(), ours.space)
    rule = TransitionRule(3.0, probability)
    assert move(ours, dW, KEY, rule) == move(theirs, dW.cuda(), KEY, rule)
    assert torch.equal(ours.packed, theirs.packed.cpu())
