"""How many bits numbers take."""

from __future__ import annotations

from dataclasses import dataclass

from gxnor.targets.verilog.plan import Emission, Numbers


def bits(largest: int) -> int:
    return max(1, int(largest).bit_length())


def signed_bits(low: int, high: int) -> int:
    """Of two's complement that holds both."""
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0, 1) + 1


@dataclass(frozen=True)
class Rescale:
    """The multiplier of numbers that are emitted, one shift for all: a smaller one's multiplier and offset are multiplied by
    the difference. sum: bits of the sums; offset, multiplier: bits of these."""

    shift: int
    sum: int
    offset: int
    multiplier: int

    @classmethod
    def of(cls, emissions: list[Emission], sum_bits: int) -> Rescale | None:
        """None where all numbers that are emitted are sums as they are."""
        numbers = [emission for emission in emissions if isinstance(emission, Numbers)]
        if all(emission.plain for emission in numbers):
            return None
        shift = max(emission.shift for emission in numbers)
        offset = multiplier = 1
        for emission in numbers:
            scale = 1 << shift - emission.shift
            low, high = int(min(emission.offset)) * scale, int(max(emission.offset)) * scale
            offset = max(offset, signed_bits(low, high))
            low, high = int(min(emission.multiplier)) * scale, int(max(emission.multiplier)) * scale
            multiplier = max(multiplier, signed_bits(low, high))
        return cls(shift, sum_bits, offset, multiplier)

    @property
    def widths(self) -> tuple[int, int]:
        return self.offset, self.multiplier

    def numbers(self, emission: Emission, channel: int) -> tuple[int, int]:
        """Offset and multiplier of a channel."""
        if not isinstance(emission, Numbers):
            return 0, 0
        scale = 1 << self.shift - emission.shift
        return int(emission.offset[channel]) * scale, int(emission.multiplier[channel]) * scale
