import numpy as np

from gxnor.targets.arena import Buffer, place


def test_buffers_that_live_at_once_do_not_overlap():
    random = np.random.default_rng(0)
    for _ in range(100):
        buffers = []
        for _ in range(random.integers(1, 12)):
            first = int(random.integers(10))
            buffers.append(Buffer(int(random.integers(1, 50)), first, first + int(random.integers(4))))
        words = place(buffers)
        for step in range(14):
            used = [b for b in buffers if b.first <= step <= b.last]
            cells = [cell for b in used for cell in range(b.offset, b.offset + b.words)]
            assert len(cells) == len(set(cells)) and all(0 <= cell < words for cell in cells)


def test_memory_is_used_again():
    """A chain of layers takes the two largest neighbours, no more."""
    assert place([Buffer(10, 0, 1), Buffer(4, 1, 2), Buffer(10, 2, 3)]) == 14
