"""What several tests share."""

import pytest

from gxnor import native

TINY = ["network.layers=8C3-MP2-32FC-10", "train.epochs=3", "train.batch=100", "data.validation=200"]


@pytest.fixture(params=["portable", "avx2", "avx512"])
def instruction_set(request):
    """The training kernels on every instruction set that this machine has, one after another."""
    library = native.library()
    if library is None:
        pytest.skip("the native library is not built")
    limit = ["portable", "avx2", "avx512"].index(request.param)
    if library.gxnor_limit_isa(limit) != limit:
        library.gxnor_limit_isa(2)
        pytest.skip(f"this machine has no {request.param}")
    yield request.param
    library.gxnor_limit_isa(2)


@pytest.fixture(params=["native", "reference"])
def implementation(request):
    """The native library, and then what runs where there is none."""
    if request.param == "reference":
        request.getfixturevalue("without_native")
    elif native.library() is None:
        pytest.skip("the native library is not built")
    return request.param


@pytest.fixture
def without_native(monkeypatch):
    """As with GXNOR_PURE=1: the references alone."""
    monkeypatch.setattr(native, "library", lambda: None)


@pytest.fixture
def tiny():
    """Makes a recipe that trains in a second, with further settings."""
    recipes = pytest.importorskip("gxnor.training.recipes")

    def make(*settings):
        return recipes.load("digits", [*TINY, *settings])

    return make
