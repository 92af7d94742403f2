"""The native library: C++ kernels with a plain C interface, free of PyTorch and of the Python headers.

This is the one door to it. The structs and signatures repeat the headers in native/ (common/gxnor.h, engine/engine.h,
training/training.h), which say what each function does; tests/test_native.py compares them.

Everything that the library does has a reference in NumPy or PyTorch. Callers ask `library()` at each use and take the
reference where it returns None: where gxnor was installed without native code, and with GXNOR_PURE=1 in the environment.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from gxnor.errors import WorkError

PATH = Path(__file__).with_name("_native.so")

_pointer, _float, _string = ctypes.c_void_p, ctypes.c_float, ctypes.c_char_p
_int32, _int64, _uint64 = ctypes.c_int32, ctypes.c_int64, ctypes.c_uint64
Pair = _int32 * 2  # (height, width)


class Layer(ctypes.Structure):
    """struct gxnor_layer"""

    _fields_ = (
        ("kind", _int32),
        ("inputs", Pair),
        ("factors", Pair),
        ("space", _int32),
        ("out", _int32),
        ("groups", _int32),
        ("kernel", Pair),
        ("stride", Pair),
        ("padding", Pair),
        ("dilation", Pair),
        ("ceil_mode", _int32),
        ("data", _pointer * 2),
        ("sizes", _int64 * 2),
    )


class Input(ctypes.Structure):
    """struct gxnor_input"""

    _fields_ = (("shape", _int32 * 3), ("space", _int32))


class Phi(ctypes.Structure):
    """struct gxnor_phi"""

    _fields_ = (
        ("steps", _float * 64),
        ("count", _int32),
        ("height", _float),
        ("half_width", _float),
        ("triangular", _int32),
        ("factor", _float),
    )


class Pool(ctypes.Structure):
    """struct gxnor_pool"""

    _fields_ = (
        *((name, _int64) for name in ("outer", "inner", "height", "width", "out_height", "out_width")),
        *((name, _int64 * 2) for name in ("kernel", "stride", "padding", "dilation")),
    )


class Levels(ctypes.Structure):
    """struct gxnor_levels"""

    _fields_ = (("bits", _int32), ("largest", _int32), ("zeros", _int32))


class Code(ctypes.Structure):
    """struct gxnor_code"""

    _fields_ = (("scale", _float), ("offset", _float), ("first", _float), ("last", _float), ("bits", _int32))


class AdamSettings(ctypes.Structure):
    """struct gxnor_adam_settings"""

    _fields_ = (("w1", _float), ("beta2", _float), ("w2", _float), ("eps", _float), ("factor", _float))


class Rule(ctypes.Structure):
    """struct gxnor_rule"""

    _fields_ = (
        ("bits", _int32),
        ("states", _int32),
        ("counter_bits", _int32),
        ("tanh", _int32),
        ("split_zero", _int32),
        ("hysteresis", _int32),
        ("step", _float),
        ("m", _float),
        ("key", _uint64),
    )


class IntConv(ctypes.Structure):
    """struct gxnor_int_conv"""

    _fields_ = (
        *((name, _int32) for name in ("n", "h", "w", "c_in", "ho", "wo", "c_out")),
        *((name, Pair) for name in ("kernel", "stride", "padding", "dilation")),
        *((name, _int32) for name in ("groups", "x_bound", "w_bound", "q_bound")),
    )


# name: (result, *arguments)
SIGNATURES = {
    # common/gxnor.h
    "gxnor_limit_isa": (_int32, _int32),
    "gxnor_repack": (None, _pointer, _int64, _pointer, _int32, _pointer, _int64),
    # engine/engine.h
    "gxnor_isa": (_string, _int32),
    "gxnor_plan_create": (_int32, _pointer, _pointer, _int32, _string, _int32, _int32, _pointer, _pointer),
    "gxnor_plan_run": (_int32, _pointer, _pointer, _int64, _int32, _pointer, _pointer),
    "gxnor_plan_step": (_string, _pointer, _int32),
    "gxnor_plan_bytes": (_int64, _pointer),
    "gxnor_plan_destroy": (None, _pointer),
    # training/training.h
    "gxnor_share_threads": (_int32, _int32),
    "gxnor_unpack": (None, _pointer, _int32, _pointer, _pointer, _int64, _int32),
    "gxnor_unpack_levels": (_int32, _pointer, _int32, _pointer, _int64, _int64, _int64, _pointer, _int32),
    "gxnor_phi_forward": (None, _pointer, _pointer, _pointer, _int64, _int32),
    "gxnor_phi_backward": (None, _pointer, _pointer, _pointer, _pointer, _int64, _int32),
    "gxnor_phi_windows": (_int32, _pointer, _pointer, _pointer, _int64, _int32, _int32),
    "gxnor_pool_forward": (None, _pointer, _pointer, _pointer, _pointer, _int32),
    "gxnor_pool_backward": (None, _pointer, _pointer, _pointer, _pointer, _int32),
    "gxnor_find_levels": (_int32, _pointer, _int64, _pointer, _int32),
    "gxnor_pack_levels": (_int32, _pointer, _pointer, _int64, _pointer, _int32),
    "gxnor_adam": (None, _pointer, _pointer, _pointer, _pointer, _pointer, _int64, _int32),
    "gxnor_factored": (None, _pointer, _pointer, _pointer, _int64, _int64, _float, _float, _pointer, _int32),
    "gxnor_transition": (_int64, _pointer, _pointer, _pointer, _pointer, _int64, _int32),
    "gxnor_int_quantize": (
        *(_int32, _pointer, _int64, _int64, _int64, _int32),
        *(_int32, _uint64, _pointer, _pointer, _int32),
    ),
    "gxnor_int_conv_forward": (_int32, _pointer, _pointer, _pointer, _pointer, _int32),
    "gxnor_int_conv_input": (_int32, *(_pointer,) * 7, _int32),
    "gxnor_int_conv_weight": (_int32, *(_pointer,) * 7, _int32),
    "gxnor_block_sums": (_int32, *(_pointer,) * 7, _int32),
    "gxnor_block_states": (_int32, _pointer, _pointer, _pointer, _int64, _int64, _pointer, _int32),
    "gxnor_block_reduce": (_int32, *(_pointer,) * 4, _int64, _int64, _pointer, _int32),
    "gxnor_block_round": (
        *(_int32, *(_pointer,) * 6, _int64, _int64, _int64),
        *(_int32, _int32, _uint64, _pointer, _pointer, _int32),
    ),
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The opened library, its functions ready to call; None if there is no library, and under GXNOR_PURE=1.

    Raises WorkError for a library that cannot be opened, or that is of another version."""
    if os.environ.get("GXNOR_PURE", "0") not in ("", "0") or not PATH.exists():
        return None
    advice = "install gxnor again, or set GXNOR_PURE=1 to run on the references alone"
    try:
        opened = ctypes.CDLL(str(PATH))
    except OSError as error:
        raise WorkError(f"the native library cannot be opened: {error}; {advice}") from None
    for name, (result, *arguments) in SIGNATURES.items():
        if not hasattr(opened, name):
            raise WorkError(f"{PATH} is of another version, it lacks {name}; {advice}")
        function = getattr(opened, name)
        function.restype, function.argtypes = result, arguments
    return opened
