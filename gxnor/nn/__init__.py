"""PyTorch layers with discrete weights and activations."""

from gxnor.nn.activation import Activation, phi
from gxnor.nn.blocks import Sequential
from gxnor.nn.discretize import Report, discretize
from gxnor.nn.integer_products import integer_arithmetic
from gxnor.nn.layers import Conv1d, Conv2d, DiscreteLayer, Linear
from gxnor.nn.networks import network
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.pixels import Pixels
from gxnor.nn.precision import PRECISIONS, Precision
from gxnor.nn.quantize import Quantize
from gxnor.nn.saved_activations import pack_saved_activations

__all__ = [
    "PRECISIONS",
    "Activation",
    "Conv1d",
    "Conv2d",
    "DiscreteLayer",
    "DiscreteParameter",
    "Linear",
    "Pixels",
    "Precision",
    "Quantize",
    "Report",
    "Sequential",
    "discretize",
    "integer_arithmetic",
    "network",
    "pack_saved_activations",
    "phi",
]
