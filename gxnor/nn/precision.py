"""The spaces that a network computes in, and the layers that it is made of then."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from gxnor.nn.activation import Activation, check_settings
from gxnor.nn.layers import Conv1d, Conv2d, Linear
from gxnor.space import DiscreteSpace


@dataclass(frozen=True)
class Precision:
    """Which spaces a network computes in. The special cases by name are in `PRECISIONS`.

    Args:
        weights: N1, or None for real weights.
        activations: N2, or None for real activations (ReLU).
        latent: hold float weights and project them to Z_N1 on every pass, instead of DST.
        r, a, H, window: the activation's settings, see `gxnor.nn.Activation`.
        shortcuts: N of the states that the sums of residual blocks have, 2 to 7 and more than N2; 0: they go through the
            activation, see `gxnor.nn.residual`.

    Raises ValueError for impossible settings.
    """

    weights: int | None = 1
    activations: int | None = 1
    latent: bool = False
    r: float = 0.5
    a: float = 0.5
    H: float = 1.0
    window: str = "rectangular"
    shortcuts: int = 0

    def __post_init__(self):
        if self.weights is not None:
            DiscreteSpace(self.weights)
        elif self.latent:
            raise ValueError("latent weights are projected to a discrete space: give weights = N1")
        check_settings(self.activations or 0, self.r, self.a, self.H, self.window)
        if self.shortcuts:
            DiscreteSpace(self.shortcuts)
            if self.activations is None or self.shortcuts <= max(1, self.activations):
                raise ValueError(
                    "shortcuts must be 0, or 2 to 7 and more than the N2 of discrete activations, "
                    f"got {self.shortcuts} with activations = {self.activations}"
                )

    def activation(self) -> nn.Module:
        if self.activations is None:
            return nn.ReLU()
        return Activation(self.activations, self.r, self.a, self.H, self.window)

    def conv1d(self, inputs: int, outputs: int, kernel: int, padding: str | int, stride: int = 1) -> nn.Module:
        if self.weights is None:
            return nn.Conv1d(inputs, outputs, kernel, stride, padding, bias=False)
        return Conv1d(inputs, outputs, kernel, stride, padding, N=self.weights, latent=self.latent)

    def conv2d(self, inputs: int, outputs: int, kernel: int, padding: str | int, stride: int = 1) -> nn.Module:
        if self.weights is None:
            return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        return Conv2d(inputs, outputs, kernel, stride, padding, N=self.weights, latent=self.latent)

    def linear(self, inputs: int, outputs: int) -> nn.Module:
        if self.weights is None:
            return nn.Linear(inputs, outputs, bias=False)
        return Linear(inputs, outputs, N=self.weights, latent=self.latent)


PRECISIONS = {
    "full": Precision(weights=None, activations=None),
    "bwn": Precision(weights=0, activations=None),
    "twn": Precision(weights=1, activations=None),
    "bnn": Precision(weights=0, activations=0),
    "gxnor": Precision(weights=1, activations=1),
    "latent": Precision(weights=1, activations=1, latent=True),
}
