"""The size of a program in memory and in its file: weights, thresholds and the rest."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gxnor.packing import radix_size
from gxnor.program import Channels, Conv, Dense, Program, Requantize, Scale, Threshold, file


@dataclass(frozen=True)
class LayerSize:
    """Bytes of one layer's weights: `disk` in the file (base-N digits), `memory` as packed bits."""

    layer: int
    kind: str
    N: int
    weights: int
    zero_weights: int
    disk: int
    memory: int


@dataclass(frozen=True)
class Sizes:
    """Bytes of a whole program; `disk` is the size of its file to the byte, header and thresholds included."""

    layers: tuple[LayerSize, ...]
    weights: int
    disk: int
    memory: int

    @property
    def disk_bits(self) -> float | None:
        """Bits per weight in the file, everything included; None for a program without weights."""
        return 8 * self.disk / self.weights if self.weights else None

    @property
    def memory_bits(self) -> float | None:
        """Bits per weight in memory, thresholds and scales included; None for a program without weights."""
        return 8 * self.memory / self.weights if self.weights else None

    def to_json(self) -> dict:
        """Plain numbers."""
        return {**asdict(self), "disk_bits": self.disk_bits, "memory_bits": self.memory_bits}


def measure(program: Program, disk: int | None = None) -> Sizes:
    """The sizes of a program; `disk` is the size of its file, or None to find out by encoding it."""
    layers, other = [], 0
    for number, layer in enumerate(program.layers, 1):
        if isinstance(layer, Conv | Dense):
            weight, kind = layer.weight, type(layer).__name__
            zero = int((weight.levels() == 0).sum())
            on_disk = radix_size(weight.size, weight.space.size)
            layers.append(LayerSize(number, kind, weight.space.N, weight.size, zero, on_disk, weight.packed.nbytes))
        elif isinstance(layer, Threshold):
            other += layer.thresholds.nbytes + layer.sign.nbytes
        elif isinstance(layer, Scale):
            other += layer.scale.nbytes + layer.bias.nbytes
        elif isinstance(layer, Requantize):
            other += layer.multiplier.nbytes + layer.offset.nbytes
        elif isinstance(layer, Channels):
            other += layer.order.nbytes
    return Sizes(
        tuple(layers),
        sum(layer.weights for layer in layers),
        len(file.encode(program)) if disk is None else disk,
        sum(layer.memory for layer in layers) + other,
    )
