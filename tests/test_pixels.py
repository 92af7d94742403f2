"""A network sees the same pixels in training and when it runs, and what is not pixels is refused in both."""

import numpy as np
import pytest

from gxnor.errors import GxnorError
from gxnor.program import Input
from gxnor.runtime import images

torch = pytest.importorskip("torch")
nn = pytest.importorskip("gxnor.nn")


def trained_on(x: np.ndarray) -> np.ndarray:
    return ((nn.Pixels()(torch.from_numpy(x)) + 255) / 2).numpy().astype(int)


def run_on(x: np.ndarray) -> np.ndarray:
    return images.from_array(x, Input(x.shape[1:]))[0].astype(int)


def every_float16() -> np.ndarray:
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    return x[(x >= 0) & (x <= 1)][None]


# tensorflow#103028, tensorpack#804
def test_training_and_running_round_every_float16_alike_and_to_the_nearest_pixel():
    x = every_float16()
    np.testing.assert_array_equal(trained_on(x), run_on(x))
    assert np.abs(run_on(x) - 255 * x.astype(np.float64)).max() <= 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_and_running_round_floats_at_the_middle_between_pixels_alike(dtype):
    middles = np.array([(p + 0.5) / 255 for p in range(255)], dtype)
    x = np.concatenate([middles, np.nextafter(middles, dtype(0)), np.nextafter(middles, dtype(1))])[None]
    np.testing.assert_array_equal(trained_on(x), run_on(x))
    x = np.random.default_rng(0).random((1, 1_000_000), dtype=dtype)
    np.testing.assert_array_equal(trained_on(x), run_on(x))


def test_training_and_running_round_every_bfloat16_alike():
    x = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    x = x[(x >= 0) & (x <= 1)][None]
    np.testing.assert_array_equal(((nn.Pixels()(x) + 255) / 2).numpy(), run_on(x.float().numpy()))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pixels_over_255_are_the_pixels(dtype):
    p = np.arange(256)[None]
    for see in (trained_on, run_on):
        np.testing.assert_array_equal(see((p / 255).astype(dtype)), p)


# pytorch/vision#546
@pytest.mark.parametrize(
    "x, words",
    [
        (np.arange(256, dtype=np.float32), "values from 0 to 255: divide"),
        (np.linspace(-0.42, 2.8, 9), r"values from -0\.42 to 2\.8"),
        (np.array([0.2, -1e-9]), "values from -1e-09"),
        (np.array([0.2, 1 + 1e-6]), "to 1"),
        (np.array([0.2, np.nan, 0.3], np.float32), "NaN"),
        (np.array([0.2, np.inf], np.float16), "to inf"),
        (np.array([2, 254, 1], np.float16), "values from 1 to 254"),
    ],
)
def test_floats_that_are_not_shares_of_one_are_refused_at_once_in_training_and_running(x, words):
    with pytest.raises(ValueError, match=f"floats in \\[0, 1\\], got floats with .*{words}"):
        trained_on(x[None])
    with pytest.raises(GxnorError, match=f"floats in \\[0, 1\\], got floats with .*{words}"):
        run_on(x[None])


@pytest.mark.slow
def test_compiled_training_refuses_them_too():
    compiled = torch.compile(nn.Pixels(), fullgraph=True)
    x = torch.rand(2, 5)
    assert torch.equal(compiled(x), nn.Pixels()(x))
    with pytest.raises(RuntimeError, match="expected uint8 pixels"):
        compiled(255 * x)
