"""The contents of the circuit's memories, and the widths that they give its registers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gxnor.targets.verilog import text
from gxnor.targets.verilog.plan import Edge, Emission, Plan, States
from gxnor.targets.verilog.text import bits, signed_bits
from gxnor.targets.verilog.walk import places, strides, tap_step, taps

QUEUE = 256  # events between two groups of sums
Row = tuple[int, ...]


@dataclass(frozen=True)
class Filled:
    """hex: words of every memory, as $readmemh takes them. values: what the template's names stand for. bits: of all
    memories, those that are written at run time included."""

    hex: dict[str, list[str]]
    values: dict[str, int | str]
    bits: int


@dataclass(frozen=True)
class Base:
    """Where a step begins: in the lanes' weights, in the tables of rows and columns, in the blocks of channels."""

    weight: int
    row: int
    column: int
    block: int


class Layout:
    """Where everything stands, and how wide it is. `bases`: of every step, and of what comes after the last; `sums`: of the
    groups of accumulators, likewise."""

    def __init__(self, plan: Plan, lanes: int):
        self.plan, self.lanes = plan, lanes
        self.edges = [step.edge for step in plan.steps if step.edge is not None]  # of all steps but the last
        self.emissions = [step.emission for step in plan.steps if step.emission is not None]  # of all but the first
        self.bases, self.sums = [Base(2, 0, 0, 0)], [0]  # weights: after words that open no lane, and all lanes
        for step in plan.steps:
            at, edge = self.bases[-1], step.edge
            block = at.block + (step.emission.source.blocks(lanes) if step.emission else 0)
            weight, row, column = (edge.shape[0] * edge.area(lanes), *edge.shape[1:]) if edge else (0, 0, 0)
            self.bases.append(Base(at.weight + weight, at.row + row, at.column + column, block))
        for group in plan.sums:
            self.sums.append(self.sums[-1] + group.positions * group.blocks(lanes))
        end = self.bases[-1]
        self.W, self.P, self.Y, self.X, self.B = (
            bits(n - 1) for n in (end.weight, self.sums[-1], end.row, end.column, end.block)
        )
        self.V = bits(max(self.bounds())) + 1
        low, high = min(int(group.low.min()) for group in plan.sums), max(int(group.high.max()) for group in plan.sums)
        self.A = max(self.V, signed_bits(low, high + 1))
        self.S = max(
            (emission.steps.shape[1] for emission in self.emissions if isinstance(emission, States)), default=1
        )
        self.rescale = text.Rescale.of(self.emissions[:-1], self.A)

    def bounds(self) -> list[int]:
        """The largest |value| of the events of every step but the last."""
        of_input = 128 if self.plan.input.signed else 255 * self.plan.input.factor
        return [step.bound if step.emission else of_input for step in self.plan.steps[:-1]]

    def base_of(self, group: object) -> int:
        return self.sums[self.plan.sums.index(group)]  # type: ignore[arg-type]


def fill(plan: Plan, lanes: int, name: str) -> Filled:
    at = Layout(plan, lanes)
    rows = [row for step in range(len(at.edges)) for row in _rows(at, step)]
    columns = [column for edge in at.edges for column in _columns(edge, lanes)]
    taken = [word for step in range(1, len(plan.steps)) for word in _taken(at, step)]
    channels = [word for step in range(1, len(plan.steps)) for word in _channels(at, step)]
    LANE, TY, TX = bits(lanes - 1), bits(max(row[0] for row in rows)), bits(max(column[0] for column in columns))
    ways = [row[1] for row in rows] + [n for column in columns for n in column[1:3]]
    ways += [tap_step(edge, lanes)[0] for edge in at.edges]
    K = at.W if min(ways) < 0 else bits(max(ways))  # negative: modulo 2^W
    keep = any(word[1] for word in taken)
    tables: dict[str, tuple[str, list[Row], Row]] = {
        "Y": ("rows", rows, (TY, K, at.P)),
        "X": ("columns", columns, (TX, K, K, at.P, at.P)),
        "E": ("places", taken, (1, int(keep), 1, 1, at.Y, at.X, LANE, at.B, at.P)),
        "C": ("channels", channels, (*(at.rescale.widths if at.rescale else (0, 0)), 1, at.W, *(at.A,) * at.S)),
    }
    words = {file: [_word(row, widths) for row in table] for file, table, widths in tables.values()}
    sizes = [_lane_size(at, i) for i in range(lanes)]
    words |= {f"lane_{i}": _lane(at, i) for i in range(lanes)}
    area = at.edges[0].area(lanes)
    inputs, height, width = plan.input.shape
    outputs = plan.last.shape[0]
    values: dict[str, int | str] = {
        "NAME": name, "LANES": lanes, "A": at.A, "STATES": at.S, "V": at.V, "Y": at.Y, "X": at.X, "W": at.W, "K": K,
        "P": at.P, "Q": bits(QUEUE - 1), "LANE_BITS": LANE, "BLOCK_BITS": at.B, "STEPS": len(at.edges),
        "STEP_BITS": bits(len(at.edges)), "SHIFT_BITS": bits(max(step.shift for step in plan.steps)),
        "LOOP_BITS": bits(max(edge.to.blocks(lanes) for edge in at.edges) - 1), "S_BITS": bits(at.S), "TY": TY, "TX": TX,
        **{f"{key}_WIDTH": sum(widths) for key, (_, _, widths) in tables.items()},
        **{f"{key}_DEPTH": len(table) for key, (_, table, _) in tables.items()}, "E_ADDR": bits(len(taken) - 1),
        "KEEP": f"at[{sum(tables['E'][2]) - 2}]" if keep else "1'b0",
        "CASES": "\n".join(text.case(plan, step, lanes, at.P, K) for step in range(len(plan.steps))),
        "ALL_LANES": "\n".join(
            text.lane(name, i, *sizes[i], (at.W, at.P), at.bases[-1].weight, at.sums[-1]) for i in range(lanes)
        ),
        "PICKED": text.picked(at.A, [own for own, _ in sizes]),
        "WATCHES": "\n".join(text.watch(i, own) for i, (own, _) in enumerate(sizes)),
        "EMITTED": text.emitted(plan, at.rescale), "INPUT_VALUE": text.input_value(plan.input, at.V),
        "INPUT_MEANING": "levels -64..64, two's complement" if plan.input.signed else "pixels 0..255",
        "IN_W": width, "IN_H": height, "IN_STEP": area, "IN_FIRST": at.bases[0].weight,
        "IN_LAST": at.bases[0].weight + (inputs - 1) * area,
        "INPUTS": inputs * (height - 2 * plan.input.border[0]) * (width - 2 * plan.input.border[1]),
        "OUTPUTS": outputs, "CLASS_BITS": bits(outputs - 1),
    }  # fmt: skip
    fixed = sum(len(table) * sum(widths) for _, table, widths in tables.values())
    written = sum(own for own, _ in sizes) * at.sums[-1] + QUEUE * (at.V + at.Y + at.X + at.W) + at.S * lanes
    return Filled(words, values, fixed + written + 2 * lanes * at.bases[-1].weight)


def _rows(at: Layout, step: int) -> list[Row]:
    """Taps, first weight, first sum."""
    edge = at.edges[step]
    b, width = edge.to.blocks(at.lanes), edge.window.count[1]
    kernel = 0 if edge.uniform else edge.weight.shape[2]
    base = at.base_of(edge.to)
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


def _taken(at: Layout, step: int) -> list[Row]:
    """The words of sums in the order they are taken: window by window, and in a window block by block."""
    emission, base = at.plan.steps[step].emission, at.bases[step]
    assert emission is not None
    source, after = emission.source, base if step < len(at.edges) else Base(0, 0, 0, 0)
    found: list[Row] = []
    window = []
    pool = emission.pool if isinstance(emission, States) else None
    for place in places(source.shape[1:], pool, at.plan.steps[step].clears):
        window.append(place)
        if not place.last:
            continue
        b = source.blocks(at.lanes)
        for block in range(b):
            last_lane = min(at.lanes, source.shape[0] - block * at.lanes) - 1
            for p in window:
                sums = at.base_of(source) + p.at * b + block
                where = (after.row + p.row, after.column + p.column, last_lane, base.block + block, sums)
                found.append((0, int(p.keep), int(p.last), int(p.spare), *where))
        window = []
    found[-1] = (1, *found[-1][1:])
    return found


def _channels(at: Layout, step: int) -> list[Row]:
    """Offset, multiplier, sign, first weight, thresholds, of all lanes of all blocks."""
    emission, base = at.plan.steps[step].emission, at.bases[step]
    assert emission is not None
    outputs = emission.source.shape[0]
    area = at.edges[step].area(at.lanes) if step < len(at.edges) else 0
    found: list[Row] = [
        (
            *(at.rescale.numbers(emission, channel) if at.rescale else (0, 0)),
            int(isinstance(emission, States) and bool(emission.flip[channel])),
            base.weight + channel * area if area else 0,
            *reversed(_steps(emission, channel, at)),
        )
        for channel in range(outputs)
    ]  # fmt: skip
    rest = (0, 0, 0, 0, *(_steps(None, 0, at)))
    return found + [rest] * (emission.source.blocks(at.lanes) * at.lanes - outputs)


def _steps(emission: Emission | None, channel: int, at: Layout) -> list[int]:
    own = [int(t) for t in emission.steps[channel]] if isinstance(emission, States) else []
    return own + [(1 << at.A - 1) - 1] * (at.S - len(own))  # beyond every sum


def _lane(at: Layout, i: int) -> list[str]:
    """The weights of lane i, after the words that open no lane and all."""
    words = ["0", "1"]
    for edge in at.edges:
        own = edge.weight[..., i :: at.lanes]
        padded = np.zeros((*own.shape[:-1], edge.to.blocks(at.lanes)), np.int8)
        padded[..., : own.shape[-1]] = own
        words += [str(int(w != 0) | int(w < 0) << 1) for w in padded.reshape(-1).tolist()]
    return words


def _lane_size(at: Layout, i: int) -> tuple[int, int]:
    """The bits of the sums of lane i, and of the values that it adds."""
    groups = [group for group in at.plan.sums if i < group.shape[0]]
    bounds = [bound for edge, bound in zip(at.edges, at.bounds(), strict=True) if i < edge.to.shape[0]]
    V = max([1, *map(bits, bounds)]) + 1
    low, high = (min(int(group.low[i :: at.lanes].min()) for group in groups),
                 max(int(group.high[i :: at.lanes].max()) for group in groups)) if groups else (0, 0)  # fmt: skip
    return max(V, signed_bits(low, high)), V


def _word(fields: Row, widths: Row) -> str:
    word = 0
    for number, width in zip(fields, widths, strict=True):
        word = word << width | number & (1 << width) - 1
    return f"{word:0{-(-sum(widths) // 4)}x}"
