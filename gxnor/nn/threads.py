"""The training kernels run on PyTorch's own threads.

PyTorch's OpenMP workers spin for a while behind each operation, waiting for the next; a second pool of threads in
between waits for its cores. So the kernels are handed the entry of the OpenMP runtime that PyTorch has loaded. Where it
has none, or hides it, they keep a pool of their own.
"""

from __future__ import annotations

import ctypes

from gxnor import native


def share() -> bool:
    """Whether the kernels use PyTorch's threads from now on."""
    lib = native.library()
    try:
        entry = ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p)  # torch makes its runtime visible to all
    except (AttributeError, OSError, TypeError):
        return False
    if lib is None:
        return False
    lib.gxnor_share_threads.argtypes, lib.gxnor_share_threads.restype = [ctypes.c_void_p], None
    lib.gxnor_share_threads(entry)
    return True
