"""In which order the circuit walks: the taps that an event meets, the places that are read.

An event in input row y meets kernel rows that form an arithmetic progression, whose output rows form one too, whatever
stride, dilation and padding are; the same along columns. With g = gcd(stride, dilation), the kernel index grows by
stride / g and the output falls by dilation / g from one tap to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gxnor.targets.stages import Window
from gxnor.targets.verilog.plan import Edge


@dataclass(frozen=True)
class Place:
    """A place of sums that is read. last: the last one of its window, after which the state of (row, column) is known;
    spare: it is only cleared, since no window covers it; keep: its sums are left, for it is read again."""

    last: bool
    spare: bool
    keep: bool
    row: int
    column: int
    at: int


def places(extents: tuple[int, int], pool: Window | None, clears: bool) -> list[Place]:
    """All places (height, width) in the order they are read, window by window; cleared, with those that no window covers, if
    these sums are not read again."""
    height, width = extents
    pool = pool or Window((1, 1), (1, 1), (0, 0), (1, 1), extents)
    found: list[Place] = []
    for row in range(pool.count[0]):
        for column in range(pool.count[1]):
            inside = [
                y * width + x
                for i in range(pool.kernel[0])
                for j in range(pool.kernel[1])
                if 0 <= (y := row * pool.stride[0] + i * pool.dilation[0] - pool.padding[0]) < height
                and 0 <= (x := column * pool.stride[1] + j * pool.dilation[1] - pool.padding[1]) < width
            ]
            found += [Place(at == inside[-1], False, True, row, column, at) for at in inside]
    if not clears:
        return found
    last = {place.at: number for number, place in enumerate(found)}
    found = [
        Place(place.last, False, last[place.at] != number, place.row, place.column, place.at)
        for number, place in enumerate(found)
    ]
    return found + [Place(True, True, False, 0, 0, at) for at in range(height * width) if at not in last]


def taps(extent: int, window: Window, axis: int) -> list[tuple[int, int, int]]:
    """(count, first kernel index, its output) for every input index along an axis."""
    kernel, stride, padding, dilation, count = (
        getattr(window, name)[axis] for name in ("kernel", "stride", "padding", "dilation", "count")
    )
    found = []
    for place in range(extent):
        hits = [
            (k, (place + padding - k * dilation) // stride)
            for k in range(kernel)
            if (place + padding - k * dilation) % stride == 0 and 0 <= place + padding - k * dilation < count * stride
        ]
        found.append((len(hits), *(hits[0] if hits else (0, 0))))
    return found


def strides(window: Window, axis: int) -> tuple[int, int]:
    """How kernel index and output change from one tap to the next."""
    divisor = math.gcd(window.stride[axis], window.dilation[axis])
    return window.stride[axis] // divisor, -window.dilation[axis] // divisor


def tap_step(edge: Edge, lanes: int) -> tuple[int, int]:
    """Weights, and sums, from the last block of a tap to the first of the next in its row."""
    b, (kx, ox) = edge.to.blocks(lanes), strides(edge.window, 1)
    return (0 if edge.uniform else kx) * b - b + 1, ox * b - b + 1
