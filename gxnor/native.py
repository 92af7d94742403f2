"""Finds the native library: C++ kernels behind a plain C interface, free of PyTorch and of the Python headers.

Everything the library does has a reference in NumPy or PyTorch; where it was not built, those run instead.
"""

from __future__ import annotations

import ctypes
import functools
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


@functools.cache
def library() -> ctypes.CDLL | None:
    """The opened library, or None where it was not built for this platform."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name("_native" + suffix)
        if path.exists():
            try:
                return ctypes.CDLL(str(path))
            except OSError:
                return None
    return None
