"""Pixels as networks take them: uint8 0..255, or floats in [0, 1] that stand for them.

One rule for training (`gxnor.nn.Pixels`) and for running (`gxnor.runtime`), so that a network sees the same pixels in
both:

    p = round(255 x), halves to even

computed in float64, where 255 x is exact for every float16, bfloat16 and float32 x.
"""

from __future__ import annotations

import numpy as np

EXPECTED = "uint8 pixels 0..255 or floats in [0, 1]"


def widen(x):
    """Floats as float64, where no rounding comes before the one that `nearest` does. x: NumPy array or PyTorch tensor."""
    return x.astype(np.float64) if isinstance(x, np.ndarray) else x.double()


def nearest(x):
    """The nearest pixels, as integral float64, to float64 x in [0, 1]."""
    return (255 * x).round()


def are_shares(x):
    """Whether all of x lies in [0, 1], as a scalar of x's own library; NaN does not."""
    return ((x >= 0) & (x <= 1)).all()


def refusal(x) -> str:
    """What to say of float64 x, not all of it in [0, 1]."""
    wrong = "NaN" if bool((x != x).any()) else f"values from {float(x.min()):.6g} to {float(x.max()):.6g}"
    return f"expected {EXPECTED}, got floats with {wrong}: divide pixels 0..255 by 255, and leave normalising out"
