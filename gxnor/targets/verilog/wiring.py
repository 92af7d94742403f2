"""How the circuit's parts are connected: lanes and their weights, the slots of an event, engines in a row."""

from __future__ import annotations

from gxnor.targets.verilog.layout import Engine, Layout, Widths
from gxnor.targets.verilog.plan import Input
from gxnor.targets.verilog.widths import bits


def lanes(name: str, at: Layout, engine: Engine, share: int) -> str:
    """The memories of weights, of `share` lanes each, and the lanes."""
    E, words = at.events, at.ends[engine].weight
    wide = 2 * E * share
    lines = [
        f'  {name}_weights #(.BITS({wide}), .W(W), .WORDS({words}), .CONTENTS("{engine.name}_weights_{k}.hex"))'
        f" weights{k} (.clk(clk), .w(op_w), .word(weights[{k * wide} +: {wide}]));"
        for k in range(engine.lanes // share)
    ]
    for i in range(engine.lanes):
        own_a, v, u, o = at.lane(engine, i)
        values = ", ".join(f".{operand}({slots(operand, at.taken(engine), v, u, E)})" for operand in ("plus", "minus"))
        lines.append(
            f"  wire [{own_a - 1}:0] taken_{i};\n"
            f"  {name}_lane #(.E(E), .A({own_a}), .V({v}), .U({u}), .O({o}), .P(P), .DEPTH({at.words(engine)}), "
            f".DENSE(DENSE)) lane{i} (.clk(clk),\n"
            f"    .weight(weights[{2 * E * i} +: {2 * E}]), .live(live), .busy(adds_1), .from(a_from), {values},\n"
            f"    .clear(clears_2), .wipe(wipe), .to(a_to), .skip(skip[{i // E}]), .picked(taken_{i}));"
        )
    return "\n".join(lines)


def slots(bus: str, given: Widths, v: int, u: int, events: int) -> str:
    """Of the values on a bus, as many bits of each as are asked for: v of the first, u of the others."""
    if events > 1 and (v, u) == (given.V, given.U):
        return bus
    found = [f"{bus}[{v - 1}:0]"]
    found += [f"{bus}[{given.V + (g - 1) * given.U} +: {u}]" for g in range(1, events)]
    return joined(found)


def joined(parts: list[str]) -> str:
    """The first one lowest."""
    return parts[0] if len(parts) == 1 else f"{{{', '.join(reversed(parts))}}}"


def live(given: Widths, events: int) -> str:
    """Which values are not 0."""
    return joined([f"{slot} != 0" for slot in _each("op_value", given, events)])


def negated(given: Widths, events: int) -> str:
    return joined([f"-{slot}" for slot in _each("value_1", given, events)])


def _each(bus: str, given: Widths, events: int) -> list[str]:
    return [slots(bus, given, given.V, given.U, 1)] + [
        f"{bus}[{given.V + (g - 1) * given.U} +: {given.U}]" for g in range(1, events)
    ]


def given_values(given: Widths, events: int) -> str:
    """Emitted values as they enter an event."""
    return joined([f"emitted[{given.V - 1}:0]", *(f"emitted[{g}*V +: {given.U}]" for g in range(1, events))])


def picked(at: Layout, engine: Engine) -> str:
    """The sums of the lanes that are picked, as wide as the widest: all others give 0."""
    A, E = at.widest(engine), at.events
    own = [at.lane(engine, i)[0] for i in range(engine.lanes)]
    wide = [f"{{{{{A - a + 1}{{taken_{i}[{a - 1}]}}}}, taken_{i}[{a - 2}:0]}}" for i, a in enumerate(own)]
    lines = [f"  wire [A-1:0] any_{g} = " + "\n    | ".join(wide[g::E]) + ";" for g in range(E)]
    return "\n".join([*lines, f"  wire [E*A-1:0] any = {joined([f'any_{g}' for g in range(E)])};"])


def input_value(given: Input, to: Widths, events: int) -> str:
    """Inputs as events; pixels of a padded layer are doubled, and the padding is events of 255."""
    _, height, width = given.shape
    up, left = given.border
    V = to.V
    border = f"in_y < {up} || in_y >= {height - up} || in_x < {left} || in_x >= {width - left}" if up or left else "0"
    if given.signed:
        value = f"{{{{{V - 8}{{in_data[7]}}}}, in_data}}" if V > 8 else f"in_data[{V - 1}:0]"
    else:
        value = "{in_data, 1'b0}" if given.factor == 2 else "{1'b0, in_data}"
    value = f"border ? 255 : {value}" if up or left else value
    lines = [f"  wire border = {border};", f"  wire [V-1:0] in_value = {value};"]
    if not several(given, events):
        lines.append(f"  wire [{to.V + (events - 1) * to.U - 1}:0] in_values = in_value;")
    else:
        parts = ["in_slot == 0 ? in_value : {V{1'b0}}"]
        parts += [f"in_slot == {g} ? in_value[{to.U - 1}:0] : {to.U}'d0" for g in range(1, events)]
        lines += [
            f"  reg [{bits(events - 1) - 1}:0] in_slot;  // of the channels whose events are taken together",
            f"  wire [{to.V + (events - 1) * to.U - 1}:0] in_values = {{{', '.join(reversed(parts))}}};",
        ]
    return "\n".join(lines)


def input_next(given: Input, first: int, area: int, events: int) -> str:
    """After a channel."""
    channels = given.shape[0]
    last = first + (channels - 1) // events * area
    if channels == 1:
        return "          done <= 1;"
    if events == 1:
        return (
            f"          in_w <= in_w + {area};\n"
            f"          if (in_w == {last}) begin\n            in_w <= {first};\n            done <= 1;\n          end"
        )
    return (
        f"          in_slot <= in_slot + 1;\n          if (in_slot == {events - 1}) in_w <= in_w + {area};\n"
        f"          if (in_w == {last} && in_slot == {(channels - 1) % events}) begin\n"
        f"            in_w <= {first};\n            in_slot <= 0;\n            done <= 1;\n          end"
    )


def several(given: Input, events: int) -> bool:
    """Whether channels of the input share an event."""
    return given.shape[0] > 1 and events > 1
