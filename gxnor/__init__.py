"""GXNOR-Net: neural networks whose weights and activations are a handful of discrete states.

`import gxnor` and `gxnor.load` import NumPy alone. Training lives in `gxnor.nn`, `gxnor.optim` and `gxnor.training` and
needs PyTorch.
"""

from gxnor.space import DiscreteSpace
from gxnor.version import VERSION

__version__ = VERSION
__all__ = ["DiscreteSpace", "check", "export", "load"]


def __getattr__(name: str):
    if name == "load":
        from gxnor.runtime.network import load

        return load
    if name == "export":
        from gxnor.exporter import export

        return export
    if name == "check":
        from gxnor.exporter import check

        return check
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
