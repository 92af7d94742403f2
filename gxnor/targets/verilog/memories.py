"""The contents of the memories of an engine. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gxnor.targets.verilog.layout import Engine, Layout
from gxnor.targets.verilog.plan import Edge, Emission, States
from gxnor.targets.verilog.walk import places, strides, tap_step, taps
from gxnor.targets.verilog.widths import Rescale, bits

ROM = 1 << 14  # bits: lanes share a memory of weights if all of theirs fit into one of that size
Row = tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """Words of fields, the first one in the highest bits, and the bits of each field."""

    rows: list[Row]
    widths: Row

    @property
    def width(self) -> int:
        return sum(self.widths)

    def hex(self) -> list[str]:
        return [_word(row, self.widths) for row in self.rows]


@dataclass(frozen=True)
class Tables:
    """rows, columns: how events walk; places, channels: how sums are emitted. slot: bits of one channel in a word."""

    rows: Table
    columns: Table
    places: Table
    channels: Table
    slot: int


def tables(at: Layout, engine: Engine) -> Tables:
    taken, given, A, P = at.taken(engine), at.given(engine), at.widest(engine), bits(at.depth(engine) - 1)
    rows = [row for number in engine.takes for row in _rows(at, engine, number)]
    columns = [column for number in engine.takes for column in _columns(at.edge(number), engine.lanes)]
    ways = [row[1] for row in rows] + [n for column in columns for n in column[1:3]]
    ways += [tap_step(at.edge(number), engine.lanes)[0] for number in engine.takes]
    K = taken.W if min(ways) < 0 else bits(max(ways))  # negative: modulo 2^W
    words = [word for number in engine.gives for word in _taken(at, engine, number)]
    keep = int(any(word[1] for word in words))
    blocks = sum(at.emission(number).source.blocks(engine.lanes) for number in engine.gives)
    S, rescale = at.thresholds(engine), at.rescale(engine)
    slot = (*(rescale.widths if rescale else (0, 0)), 1, *(A,) * S)
    return Tables(
        Table(rows, (bits(max(row[0] for row in rows)), K, P)),
        Table(columns, (bits(max(column[0] for column in columns)), K, K, P, P)),
        Table(words, (1, keep, 1, 1, given.Y, given.X, bits(engine.lanes - 1), bits(blocks - 1), P)),
        Table(
            [word for number in engine.gives for word in _channels(at, engine, number, S, A, rescale)],
            (given.W, *slot * at.events),
        ),
        sum(slot),
    )


def _rows(at: Layout, engine: Engine, number: int) -> list[Row]:
    """Taps, first weight, first sum."""
    edge = at.edge(number)
    b, width = edge.to.blocks(engine.lanes), edge.window.count[1]
    kernel = 0 if edge.uniform else edge.weight.shape[2]
    base = at.places[edge.to]
    return [(n, k * kernel * b, base + o * width * b) for n, k, o in taps(edge.shape[1], edge.window, 0)]


def _columns(edge: Edge, lanes: int) -> list[Row]:
    """Taps, first weight, weights from the last tap to the next row's first, sums from there to there, first sum."""
    b, width = edge.to.blocks(lanes), edge.window.count[1]
    kernel, one = (0, 0) if edge.uniform else (edge.weight.shape[2], 1)
    (ky, oy), (kx, ox) = strides(edge.window, 0), strides(edge.window, 1)
    return [
        (
            n, one * k * b, (ky * kernel - one * (n - 1) * kx) * b - (b - 1) if n else 0,
            (oy * width - (n - 1) * ox) * b - (b - 1) if n else 0, o * b,
        )
        for n, k, o in taps(edge.shape[2], edge.window, 1)
    ]  # fmt: skip


def _taken(at: Layout, engine: Engine, number: int) -> list[Row]:
    """The words of sums in the order they are taken: window by window, and in a window block by block."""
    emission, lanes, edge = at.emission(number), engine.lanes, at.plan.steps[number].edge
    source = emission.source
    row, column = (at.entries[number].row, at.entries[number].column) if edge else (0, 0)
    found: list[Row] = []
    window = []
    pool = emission.pool if isinstance(emission, States) else None
    for place in places(source.shape[1:], pool, at.plan.steps[number].clears):
        window.append(place)
        if not place.last:
            continue
        b = source.blocks(lanes)
        for block in range(b):
            last_lane = min(lanes, source.shape[0] - block * lanes) - 1
            if edge:  # lanes go several at a time; sums that leave, one by one
                last_lane -= last_lane % at.events
            for p in window:
                sums = at.places[source] + p.at * b + block
                where = (row + p.row, column + p.column, last_lane, at.blocks[number] + block, sums)
                found.append((0, int(p.keep), int(p.last), int(p.spare), *where))
        window = []
    found[-1] = (1, *found[-1][1:])
    return found


def _channels(at: Layout, engine: Engine, number: int, S: int, A: int, rescale: Rescale | None) -> list[Row]:
    """Of all lanes of all blocks, as many to a word as go at a time: the first weight; offset, multiplier, sign and
    thresholds of each."""
    emission = at.emission(number)
    outputs, E = emission.source.shape[0], at.events
    found: list[Row] = [
        (
            *(rescale.numbers(emission, channel) if rescale else (0, 0)),
            int(isinstance(emission, States) and bool(emission.flip[channel])),
            *_thresholds(emission, channel, S, A),
        )
        for channel in range(outputs)
    ]  # fmt: skip
    zero = emission.space.size // 2 if isinstance(emission, States) else 0  # thresholds that its sums of 0 reach
    found += [(0, 0, 0, *_thresholds(None, 0, S - zero, A), *(1 << A - 1,) * zero)] * (
        emission.source.blocks(engine.lanes) * engine.lanes - outputs
    )
    entry = at.entries.get(number)
    weights = [entry.weight + i * entry.area if entry and i * E < outputs else 0 for i in range(len(found) // E)]
    return [
        (weight, *(field for channel in reversed(found[i * E : i * E + E]) for field in channel))
        for i, weight in enumerate(weights)
    ]


def _thresholds(emission: Emission | None, channel: int, S: int, A: int) -> list[int]:
    own = [int(t) for t in emission.steps[channel]] if isinstance(emission, States) else []
    return [(1 << A - 1) - 1] * (S - len(own)) + own[::-1]  # beyond every sum


def share(at: Layout, engine: Engine) -> int:
    """How many lanes have their weights in one memory."""
    lanes = engine.lanes
    while lanes > 1 and lanes * 2 * at.events * at.ends[engine].weight > ROM:
        lanes //= 2
    return lanes


def weights(at: Layout, engine: Engine) -> list[list[str]]:
    """The words of every memory of weights: after one that opens no lane and one that opens all, for every lane and channel
    of a group: down, and not 0."""
    E, words, step = at.events, at.ends[engine].weight, share(at, engine)
    found = [np.zeros((2, engine.lanes, E, 2), np.uint8)]
    found[0][1, :, 0, 0] = 1
    for number in engine.takes:
        edge = at.edge(number)
        inputs, *kernel, outputs = edge.weight.shape
        b = edge.to.blocks(engine.lanes)
        padded = np.zeros((-(-inputs // E) * E, *kernel, b * engine.lanes), np.int8)
        padded[:inputs, ..., :outputs] = edge.weight
        grouped = padded.reshape(-1, E, *kernel, b, engine.lanes).transpose(0, 2, 3, 4, 5, 1)
        planes = np.stack([grouped != 0, grouped < 0], axis=-1).astype(np.uint8)
        found.append(planes.reshape(-1, engine.lanes, E, 2))
    every = np.concatenate(found)
    parts = [every[:, first : first + step].reshape(words, -1) for first in range(0, engine.lanes, step)]
    return [[_hex(word) for word in part] for part in parts]


def _hex(low_first: np.ndarray) -> str:
    digits = -(-len(low_first) // 4)
    return f"{int.from_bytes(np.packbits(low_first, bitorder='little').tobytes(), 'little'):0{digits}x}"


def _word(fields: Row, widths: Row) -> str:
    word = 0
    for number, width in zip(fields, widths, strict=True):
        word = word << width | number & (1 << width) - 1
    return f"{word:0{-(-sum(widths) // 4)}x}"
