"""Where buffers lie in one block of memory, from when each is made and when it is last read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Buffer:
    """`words` of memory that are needed from step `first` to step `last`, both included; `offset` is set by `place`."""

    words: int
    first: int
    last: int
    offset: int = 0


def place(buffers: list[Buffer]) -> int:
    """Gives every buffer an offset, so that no two that live at once overlap; returns the words of the whole block. The
    largest first, each as low as it fits."""
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda buffer: -buffer.words):
        beside = [other for other in placed if other.first <= buffer.last and buffer.first <= other.last]
        buffer.offset = 0
        for other in sorted(beside, key=lambda other: other.offset):
            if buffer.offset + buffer.words <= other.offset:
                break
            buffer.offset = max(buffer.offset, other.offset + other.words)
        placed.append(buffer)
    return max((buffer.offset + buffer.words for buffer in placed), default=0)
