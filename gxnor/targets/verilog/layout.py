"""Where everything stands in the circuit's memories, and the widths that this gives its registers. NumPy only.

Without `pipelined` one engine runs all steps; with it, every group of sums has an engine of its own, which adds what comes
to these sums, and emits them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from gxnor.targets.verilog.plan import Edge, Emission, Plan, States, Sums
from gxnor.targets.verilog.widths import Rescale, bits, signed_bits

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Engine:
    """takes, gives: the numbers of the steps whose events it adds, and of those whose events it emits."""

    name: str
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    sums: tuple[Sums, ...]
    lanes: int


def engines(plan: Plan, name: str, lanes: int, events: int, pipelined: bool) -> list[Engine]:
    """With no more lanes than are of use, but as many as events per cycle."""
    steps = list(enumerate(plan.steps))
    shares = [(sums,) for sums in plan.sums] if pipelined else [tuple(plan.sums)]
    return [
        Engine(
            f"{name}_{number}" if pipelined else name,
            tuple(n for n, step in steps if step.edge and step.edge.to in share),
            tuple(n for n, step in steps if step.emission and step.emission.source in share),
            share,
            min(lanes, max(2, events, 1 << (max(sums.shape[0] for sums in share) - 1).bit_length())),
        )
        for number, share in enumerate(shares)
    ]


@dataclass(frozen=True)
class Entry:
    """Where a step that adds begins: in the lanes' weights, in the tables of rows and columns. area: words of weights from
    one channel, or group of channels, to the next."""

    weight: int
    row: int
    column: int
    area: int


@dataclass(frozen=True)
class Widths:
    """Bits: of a value in an event, of any but the first one in it; of a row, a column, an address of weights."""

    V: int
    U: int
    Y: int
    X: int
    W: int

    def event(self, events: int) -> int:
        return self.V + (events - 1) * self.U + self.Y + self.X + self.W


class Layout:
    """entries: of every step but the last. blocks: of every step but the first, where its blocks of channels begin.
    places: of every group of sums, where its words begin. banks: copies of the accumulators."""

    def __init__(self, plan: Plan, engines: list[Engine], events: int, pipelined: bool):
        self.plan, self.engines, self.events, self.banks = plan, engines, events, 2 if pipelined else 1
        self.entries: dict[int, Entry] = {}
        self.blocks: dict[int, int] = {}
        self.places: dict[Sums, int] = {}
        self.ends: dict[Engine, Entry] = {}
        for engine in engines:
            at = Entry(2, 0, 0, 0)  # after the words of weights that open no lane, and all lanes
            for number in engine.takes:
                edge = self.edge(number)
                area = edge.area(engine.lanes)
                self.entries[number] = Entry(at.weight, at.row, at.column, area)
                words = -(-edge.shape[0] // events) * area
                at = Entry(at.weight + words, at.row + edge.shape[1], at.column + edge.shape[2], 0)
            self.ends[engine] = at
            block = place = 0
            for number in engine.gives:
                self.blocks[number] = block
                block += self.emission(number).source.blocks(engine.lanes)
            for group in engine.sums:
                self.places[group] = place
                place += group.positions * group.blocks(engine.lanes)

    def edge(self, number: int) -> Edge:
        return cast(Edge, self.plan.steps[number].edge)

    def emission(self, number: int) -> Emission:
        return cast(Emission, self.plan.steps[number].emission)

    def step_bits(self, engine: Engine) -> Pair:
        """Of the number of the step that adds, and of the one that emits: one counter, where one engine runs all of them."""
        if self.banks == 1:
            return bits(len(self.plan.steps) - 1), bits(len(self.plan.steps) - 1)
        return bits(len(engine.takes) - 1), bits(len(engine.gives) - 1)

    def depth(self, engine: Engine) -> int:
        """Words of sums: of a bank."""
        return sum(group.positions * group.blocks(engine.lanes) for group in engine.sums)

    def words(self, engine: Engine) -> int:
        """Words of sums: of all banks, each of which begins at a power of two."""
        depth = self.depth(engine)
        return depth + (self.banks - 1) * (1 << bits(depth - 1))

    def bounds(self, engine: Engine, lane: int = 0) -> Pair:
        """The largest |value| of the events that a lane adds, and of any but the first ones of those taken together."""
        given = self.plan.input
        most, other = 1, 1
        for number in engine.takes:
            step, edge = self.plan.steps[number], self.edge(number)
            if lane < edge.to.shape[0]:
                bound = step.bound if step.emission else 128 if given.signed else 255 * given.factor
                most, other = max(most, bound), max(other, bound if edge.shape[0] > 1 else 1)
        return most, other

    def taken(self, engine: Engine) -> Widths:
        """The events that an engine adds."""
        end = self.ends[engine]
        most, other = self.bounds(engine)
        return Widths(bits(most) + 1, bits(other) + 1, bits(end.row - 1), bits(end.column - 1), bits(end.weight - 1))

    def given(self, engine: Engine) -> Widths:
        """The events that it emits: as wide as the widest of those who take them."""
        to = [self.taken(other) for other in self.engines if set(other.takes) & set(engine.gives)] or [
            Widths(2, 2, 1, 1, 1)
        ]
        return Widths(*(max(getattr(widths, name) for widths in to) for name in ("V", "U", "Y", "X", "W")))

    def lane(self, engine: Engine, lane: int) -> tuple[int, int, int, int]:
        """The bits of a lane's sums, of the values that it adds (of the first, of the others), of their total."""
        most, other = self.bounds(engine, lane)
        total = bits(most + (self.events - 1) * other) + 1
        groups = [group for group in engine.sums if lane < group.shape[0]]
        low = min((int(group.low[lane :: engine.lanes].min()) for group in groups), default=0)
        high = max((int(group.high[lane :: engine.lanes].max()) for group in groups), default=0)
        return max(total, signed_bits(low, high)), bits(most) + 1, bits(other) + 1, total

    def widest(self, engine: Engine) -> int:
        """The bits of a sum of any lane, or of a threshold that no sum reaches."""
        low = min(int(group.low.min()) for group in engine.sums)
        high = max(int(group.high.max()) for group in engine.sums)
        return max(signed_bits(low, high + 1), *(self.lane(engine, lane)[0] for lane in range(engine.lanes)))

    def thresholds(self, engine: Engine) -> int:
        """The most that a channel has."""
        emissions = [self.emission(number) for number in engine.gives]
        return max((emission.steps.shape[1] for emission in emissions if isinstance(emission, States)), default=1)

    def rescale(self, engine: Engine) -> Rescale | None:
        numbers = [self.emission(number) for number in engine.gives if self.plan.steps[number].edge]
        return Rescale.of(numbers, self.widest(engine))
