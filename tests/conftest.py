"""What several tests share."""

import pytest

from gxnor import native


@pytest.fixture(params=["portable", "avx2", "avx512"])
def instruction_set(request):
    """The training kernels on every instruction set that this machine has, one after another."""
    library = native.library()
    if library is None:
        pytest.skip("the native library was not built")
    limit = ["portable", "avx2", "avx512"].index(request.param)
    if library.gxnor_limit_isa(limit) != limit:
        library.gxnor_limit_isa(2)
        pytest.skip(f"this machine has no {request.param}")
    yield request.param
    library.gxnor_limit_isa(2)
