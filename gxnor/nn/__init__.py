"""PyTorch layers with discrete weights and activations."""

from gxnor.nn.activation import Activation, phi
from gxnor.nn.layers import Conv1d, Conv2d, DiscreteLayer, Linear
from gxnor.nn.networks import Pixels
from gxnor.nn.parameter import DiscreteParameter

__all__ = ["Activation", "Conv1d", "Conv2d", "DiscreteLayer", "DiscreteParameter", "Linear", "Pixels", "phi"]
