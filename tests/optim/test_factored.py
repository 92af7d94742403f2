"""The factored second moment against its formula."""

import math

import pytest
import torch

from gxnor import native
from gxnor.optim.increment import adam, factored

GROUP = {"lr": 0.25, "betas": (0.9, 0.95), "eps": 1e-12}


@pytest.mark.parametrize("shape", [(5, 7), (1, 9), (6, 1), (4, 3, 5, 5), (3, 2, 7)])
def test_equals_the_formula_while_beta2_changes(shape):
    state, rows, columns, product = {}, 0.0, 0.0, 1.0
    for step in range(20):
        beta2 = 0.9 + 0.004 * step
        g = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        matrix = g.double().flatten(1)
        rows = beta2 * rows + (1 - beta2) * matrix.square().mean(1)
        columns = beta2 * columns + (1 - beta2) * matrix.square().mean(0)
        product *= beta2
        moment = torch.outer(rows, columns) / (rows.mean() * (1 - product))
        dW = factored(g, state, {**GROUP, "betas": (0.9, beta2)})
        assert dW.shape == g.shape
        torch.testing.assert_close(dW.double().flatten(1), -0.25 * matrix / moment.sqrt(), rtol=1e-4, atol=1e-6)


def test_a_second_moment_that_is_a_product_is_kept_exactly():
    """Rows and columns lose nothing where g^2 is an outer product: then dW is the sign of the gradient, as Adam's is."""
    g = torch.outer(torch.tensor([1.0, -20.0, 0.3]), torch.tensor([5.0, 0.01, -1.0, 2.0]))
    state = {}
    for _ in range(10):
        torch.testing.assert_close(factored(g, state, GROUP), -0.25 * g.sign(), rtol=1e-5, atol=0)


def test_what_it_keeps_is_a_row_and_a_column():
    state = {}
    factored(torch.randn(64, 3, 5, 5), state, GROUP)
    tensors = [t for t in state.values() if isinstance(t, torch.Tensor)]
    assert sum(t.numel() for t in tensors) == 64 + 75


def test_vectors_take_adams_increment():
    ours, theirs = {}, {}
    for step in range(5):
        g = torch.randn(11, generator=torch.Generator().manual_seed(step))
        assert torch.equal(factored(g, ours, GROUP), adam(g, theirs, GROUP))


def test_zero_gradients_and_zero_rows_move_nothing():
    assert not factored(torch.zeros(3, 4), {}, GROUP).any()
    g = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    dW = factored(g, {}, GROUP)
    assert math.isfinite(dW.sum()) and dW.count_nonzero() == 1


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 33), (67, 1), (5, 3, 5, 5), (300, 70), (40, 30000)]
)  # the last in slices
def test_the_kernel_agrees_with_the_reference_and_takes_the_place_of_the_gradient_where_told(shape, monkeypatch):
    results = []
    for kernel, spare in ((True, False), (True, True), (False, False), (False, True)):
        if not kernel:
            monkeypatch.setattr(native, "library", lambda: None)
        state, steps = {}, []
        for step in range(3):
            g = torch.randn(shape, generator=torch.Generator().manual_seed(step)) * 10.0 ** (step - 1)
            before = g.clone()
            steps.append(factored(g, state, GROUP, spare).clone())
            assert spare or torch.equal(g, before)
        results.append(torch.stack(steps))
    for other in results[1:]:
        assert torch.equal(other, results[0])
