"""The training kernels on PyTorch's threads and on their own compute the same."""

import sys

import pytest
import torch

from gxnor import native
from gxnor.nn import DiscreteParameter, phi
from gxnor.nn.activation import phi_reference
from gxnor.nn.codes import dequantize_reference
from gxnor.space import DiscreteSpace

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


@pytest.fixture(params=["PyTorch's", "its own"])
def pool(request):
    share = native.library().gxnor_share_threads
    if share(request.param == "PyTorch's") != (request.param == "PyTorch's"):
        pytest.skip("this PyTorch has no OpenMP runtime to share")
    yield
    share(True)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_piece_is_done_once(pool, count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        for n in (1, 16384, 16385, 300_001):  # one piece, two, many
            x = torch.randn(n, generator=torch.Generator().manual_seed(n))
            assert torch.equal(phi(x), phi_reference(x, 1, 0.5, 1.0))
            weight = DiscreteParameter.random((n,), DiscreteSpace(1), torch.Generator().manual_seed(n))
            expected = dequantize_reference(weight.packed, weight.space, weight.shape, torch.float32)
            assert torch.equal(weight.dequantize(), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(sys.platform != "linux", reason="of other builds of PyTorch it is not known")
def test_pytorch_s_threads_are_found():
    if "OpenMP" not in torch.__config__.parallel_info():
        pytest.skip("this PyTorch was built without OpenMP")
    assert native.library().gxnor_share_threads(True)
