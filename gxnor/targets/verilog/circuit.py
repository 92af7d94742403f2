"""The texts and memories of a program's circuit, out of the templates beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, ClassVar

from gxnor.targets.verilog import memories, text, tops, wiring
from gxnor.targets.verilog.layout import Engine, Layout, engines
from gxnor.targets.verilog.plan import Plan
from gxnor.targets.verilog.widths import bits

HERE = Path(__file__).parent
QUEUE = 256  # events that wait before an engine


@dataclass(frozen=True)
class Circuit:
    """verilog: its text. values: what the names in the testbench stand for. hex: words of every memory, as $readmemh takes
    them. bits: of all memories, those that are written at run time included. width: of the sums. lanes: of every engine."""

    verilog: str
    values: dict[str, Any]
    hex: dict[str, list[str]]
    bits: int
    width: int
    lanes: list[int]


def make(plan: Plan, name: str, lanes: int, events: int, pipelined: bool) -> Circuit:
    at = Layout(plan, engines(plan, name, lanes, events, pipelined), events, pipelined)
    common = _common(at, name)
    own = [common | _engine(at, engine, name) for engine in at.engines]
    files = [_memories(at, engine) for engine in at.engines]
    about, body = (tops.MANY, tops.many(name, at)) if pipelined else (tops.ONE, tops.one(name, at))
    parts = [template("network.v", common | {"ABOUT": about.replace("$LANES", str(at.engines[0].lanes)), "BODY": body})]
    parts += [template(file, values) for values in own for file in ("walk.v", "engine.v", "emit.v")]
    parts += [template(file, common) for file in (*["turns.v"] * pipelined, "lane.v")]
    hexes = {file: words for words_of, _ in files for file, words in words_of.items()}
    common["WATCHES"] = "\n".join(text.watches(at, k) for k in range(len(at.engines)))
    lanes_of = [engine.lanes for engine in at.engines]
    return Circuit("".join(parts), common, hexes, sum(size for _, size in files), common["A"], lanes_of)


def template(file: str, values: dict[str, Any]) -> str:
    return _Template((HERE / file).read_text(encoding="utf-8")).substitute(values)


def _common(at: Layout, name: str) -> dict[str, Any]:
    """What the module as a whole needs."""
    given, entry = at.plan.input, at.entries[0]
    to, last = at.taken(at.engines[0]), at.plan.last
    channels, height, width = given.shape
    return {
        "NAME": name, "A": max(at.widest(engine) for engine in at.engines if last in engine.sums),
        "CLASS_BITS": bits(last.shape[0] - 1), "STYLE": "block" if at.banks == 1 else "auto",
        "OUTPUTS": last.shape[0], "STEPS": len(at.plan.steps) - 1, "EVENTS": at.events,
        "CONTENTS": f"{at.engines[0].name}_weights_0.hex",
        "INPUTS": channels * (height - 2 * given.border[0]) * (width - 2 * given.border[1]),
        "INPUT_MEANING": "levels -64..64, two's complement" if given.signed else "pixels 0..255",
        "EVENT_MEANING": f"the values of {at.events} channels, not all 0" if at.events > 1 else "a value that is not 0",
        "IN_BITS": to.event(at.events), "IN_V": to.V, "IN_Y": to.Y, "IN_X": to.X, "IN_WEIGHT": to.W,
        "IN_WIDTH": width, "IN_HEIGHT": height, "IN_FIRST": entry.weight,
        "INPUT_VALUE": wiring.input_value(given, to, at.events),
        "INPUT_NEXT": wiring.input_next(given, entry.weight, entry.area, at.events),
        "INPUT_RESET": " in_slot <= 0;" if wiring.several(given, at.events) else "",
    }  # fmt: skip


def _engine(at: Layout, engine: Engine, name: str) -> dict[str, Any]:
    """What an engine needs."""
    E, plan = at.events, at.plan
    taken, given, tables = at.taken(engine), at.given(engine), memories.tables(at, engine)
    K, P = tables.rows.widths[1:]
    shared = at.banks == 1
    blocks = sum(at.emission(number).source.blocks(engine.lanes) for number in engine.gives)
    takes, gives = at.step_bits(engine)
    sized = {"Y": tables.rows, "X": tables.columns, "E": tables.places, "C": tables.channels}
    return {
        "UNIT": engine.name, "LANES": engine.lanes, "A": at.widest(engine), "V": taken.V, "U": taken.U, "Y": taken.Y,
        "X": taken.X, "W": taken.W, "VE": taken.V + (E - 1) * taken.U, "K": K, "P": P, "Q": bits(QUEUE - 1),
        "BANKS": at.banks, "TAKES_BITS": takes, "GIVES_BITS": gives,
        "LOOP_BITS": bits(max(at.edge(number).to.blocks(engine.lanes) for number in engine.takes) - 1),
        "TY": tables.rows.widths[0], "TX": tables.columns.widths[0],
        **{f"{key}_WIDTH": table.width for key, table in sized.items()},
        **{f"{key}_DEPTH": len(table.rows) for key, table in sized.items()},
        "E_ADDR": bits(len(tables.places.rows) - 1), "SLOT": tables.slot,
        "KEEP": f"at[{tables.places.width - 2}]" if tables.places.widths[1] else "1'b0",
        "STATES": at.thresholds(engine), "S_BITS": bits(at.thresholds(engine)),
        "SHIFT_BITS": bits(max(plan.steps[number].shift for number in engine.gives)),
        "LANE_BITS": bits(engine.lanes - 1), "BLOCK_BITS": bits(blocks - 1),
        "GIVEN_V": given.V, "GIVEN_Y": given.Y, "GIVEN_X": given.X, "GIVEN_W": given.W, "GIVEN_BITS": given.event(E),
        "GIVEN_VALUES": wiring.given_values(given, E), "LIVE": wiring.live(taken, E), "NEGATED": wiring.negated(taken, E),
        "ALL_LANES": wiring.lanes(name, at, engine, memories.share(at, engine)), "PICKED": wiring.picked(at, engine),
        "WALKS": text.walks(plan, engine, P, K), "EMITS": text.emits(plan, engine, 1 if shared else 0),
        "EMITTED": text.emitted(plan, engine, at.rescale(engine)),
    }  # fmt: skip


def _memories(at: Layout, engine: Engine) -> tuple[dict[str, list[str]], int]:
    """Words by file, and the bits of all memories of an engine."""
    tables, E = memories.tables(at, engine), at.events
    named = {"rows": tables.rows, "columns": tables.columns, "places": tables.places, "channels": tables.channels}
    found = {f"{engine.name}_{file}": table.hex() for file, table in named.items()}
    found |= {f"{engine.name}_weights_{k}": words for k, words in enumerate(memories.weights(at, engine))}
    fixed = (
        sum(len(table.rows) * table.width for table in named.values()) + 2 * E * engine.lanes * at.ends[engine].weight
    )
    sums = sum(at.lane(engine, i)[0] for i in range(engine.lanes)) * at.words(engine)
    return found, fixed + sums + QUEUE * at.taken(engine).event(E) + at.thresholds(engine) * engine.lanes


class _Template(Template):
    """`$NAME` in capitals alone, so that Verilog's own $readmemh stays."""

    flags: ClassVar[Any] = 0
    pattern: ClassVar[Any] = (
        r"\$(?:(?P<escaped>\$)|(?P<named>[A-Z][A-Z_]*)|\{(?P<braced>[A-Z][A-Z_]*)\}|(?P<invalid>(?!)))"
    )
