"""How engines and the input are connected: one engine whose events come back to it, or one for every group of sums."""

from __future__ import annotations

from gxnor.targets.verilog.layout import Engine, Layout, Widths
from gxnor.targets.verilog.text import named
from gxnor.targets.verilog.widths import bits

ONE = """\
// One engine of $LANES lanes runs all layers, one after the other: in a step, one layer emits into the queue of events, from
// which another accumulates. Step 0 takes the input; in the last step the sums of the last layer leave."""

MANY = """\
// Every layer has an engine of its own, of up to $LANES lanes. Each adds up one image in one bank of its accumulators while
// it emits the image before from the other, so several images are under way."""


def one(name: str, at: Layout) -> str:
    steps = len(at.plan.steps) - 1
    engine = at.engines[0]
    width, events = bits(steps), at.taken(engine).event(at.events)
    return f"""\
  reg [{width - 1}:0] step;
  wire in_done, in_give, done, give, room, settled, drained, wiping;
  wire [{events - 1}:0] in_given, given;
  wire turn = (in_done || done) && drained;
  {name}_input #(.DENSE(DENSE)) in (.clk(clk), .reset(reset), .in_data(in_data), .in_valid(in_valid), .in_ready(in_ready),
    .open(step == 0 && room && !wiping), .turn(turn), .done(in_done), .give(in_give), .given(in_given));
  {engine.name}_engine #(.DENSE(DENSE)) engine (.clk(clk), .reset(reset), .takes(step), .take(step == 0 ? in_give : give),
    .taken(step == 0 ? in_given : given), .room(room), .settled(settled), .drained(drained), .gives(step),
    .start(turn && step != {steps}), .turn(turn), .give_room(room), .give_settled(settled), .done(done), .give(give),
    .given(given), .wiping(wiping), .takes_odd(1'b0), .gives_odd(1'b0),
    .out_index(out_index), .out_sum(out_sum), .out_valid(out_valid), .out_ready(out_ready));
  always @(posedge clk)
    if (reset) step <= 0;
    else if (turn) step <= step == {steps} ? 0 : step + 1;"""


def many(name: str, at: Layout) -> str:
    events = at.taken(at.engines[0]).event(at.events)
    lines = [
        f"  wire in_done, in_give;\n  wire [{events - 1}:0] in_given;",
        f"  {name}_input #(.DENSE(DENSE)) in (.clk(clk), .reset(reset), .in_data(in_data), .in_valid(in_valid), "
        ".in_ready(in_ready),\n    .open(room_0), .turn(taken_0), .done(in_done), .give(in_give), .given(in_given));",
    ]
    lines = [*(_wires(at, k) for k in range(len(at.engines))), *lines]
    return "\n".join([*lines, *(_engine(name, at, k) for k in range(len(at.engines)))])


def _wires(at: Layout, k: int) -> str:
    """What goes on between engine k and those around it, declared before it is used."""
    engine = at.engines[k]
    taken, given = at.taken(engine).event(at.events), at.given(engine).event(at.events)
    takes, gives = at.step_bits(engine)
    return (
        f"  wire take_{k}, end_{k}, room_{k}, space_{k}, open_{k}, ready_{k}, taken_{k}, drained_{k}, wiping_{k};\n"
        f"  wire done_{k}, give_{k}, give_room_{k}, turn_{k}, takes_odd_{k}, gives_odd_{k};\n"
        f"  wire [{taken - 1}:0] event_{k};\n  wire [{given - 1}:0] given_{k};\n"
        f"  wire [{takes - 1}:0] takes_{k};\n  wire [{gives - 1}:0] gives_{k};"
    )


def _engine(name: str, at: Layout, k: int) -> str:
    engine = at.engines[k]
    to, (takes, gives) = at.taken(engine), at.step_bits(engine)
    sources = [_source(at, number) for number in engine.takes]
    events = [at.taken(engine) if u is None else at.given(at.engines[u]) for u in sources]
    buses = ["in_given" if u is None else _resized(f"given_{u}", have, to, at.events)
             for u, have in zip(sources, events, strict=True)]  # fmt: skip
    links = [_while(at, number) for number in engine.takes]
    ways = [(_while(at, number), _target(at, number)) for number in engine.gives]
    leave = len(at.plan.steps) - 1 in engine.gives
    outputs = (
        ".out_index(out_index), .out_sum(out_sum), .out_valid(out_valid), .out_ready(out_ready)"
        if leave
        else ".out_index(), .out_sum(), .out_valid(), .out_ready(1'b1)"
    )
    froms = ["in_{}" if u is None else f"{{}}_{u}" for u in sources]
    return f"""
  // {_about(at, engine)}
  assign take_{k} = {_any(links, [wire.format("give") for wire in froms])};
  assign end_{k} = {_any(links, [wire.format("done") for wire in froms])};
  assign event_{k} = {_one_of(links, buses)};
  assign room_{k} = space_{k} && open_{k}, taken_{k} = end_{k} && drained_{k} && open_{k};
  assign give_room_{k} = {_any([link for link, _ in ways], ["1'b1" if v is None else f"room_{v}" for _, v in ways])};
  assign turn_{k} = {_any([link for link, _ in ways], [f"done_{k}" if v is None else f"taken_{v}" for _, v in ways])};
  {name}_turns #(.TAKES({len(engine.takes)}), .GIVES({len(engine.gives)}), .TAKES_BITS({takes}), \
.GIVES_BITS({gives})) turns_{k} (.clk(clk), .reset(reset),
    .wiping(wiping_{k}), .taken(taken_{k}), .turn(turn_{k}), .open(open_{k}), .ready(ready_{k}), .takes(takes_{k}),
    .gives(gives_{k}), .takes_odd(takes_odd_{k}), .gives_odd(gives_odd_{k}));
  {engine.name}_engine #(.DENSE(DENSE)) engine_{k} (.clk(clk), .reset(reset), .takes(takes_{k}), .take(take_{k}),
    .taken(event_{k}), .room(space_{k}), .settled(), .drained(drained_{k}), .gives(gives_{k}), .start(ready_{k}),
    .turn(turn_{k}), .give_room(give_room_{k}), .give_settled(1'b1), .done(done_{k}), .give(give_{k}), .given(given_{k}),
    .wiping(wiping_{k}), .takes_odd(takes_odd_{k}), .gives_odd(gives_odd_{k}),
    {outputs});"""


def _source(at: Layout, number: int) -> int | None:
    """The engine that emits in a step; None: the input."""
    return next((k for k, engine in enumerate(at.engines) if number in engine.gives), None)


def _target(at: Layout, number: int) -> int | None:
    """The engine that adds in a step; None: the sums leave."""
    return next((k for k, engine in enumerate(at.engines) if number in engine.takes), None)


def _while(at: Layout, number: int) -> list[str]:
    """The conditions under which both engines of a step are at it: none for an engine that knows no other step."""
    source, target, found = _source(at, number), _target(at, number), []
    if target is not None and len(at.engines[target].takes) > 1:
        found.append(f"takes_{target} == {at.engines[target].takes.index(number)}")
    if source is not None and len(at.engines[source].gives) > 1:
        found.append(f"gives_{source} == {at.engines[source].gives.index(number)}")
    return found


def _any(links: list[list[str]], wires: list[str]) -> str:
    return " || ".join(" && ".join([*link, wire]) for link, wire in zip(links, wires, strict=True))


def _one_of(links: list[list[str]], buses: list[str]) -> str:
    """The bus of the step that is on: engines know by their own counters which one."""
    chosen = [f"{link[0]} ? {bus} : " for link, bus in zip(links[:-1], buses[:-1], strict=True)]
    return "".join(chosen) + buses[-1]


def _resized(bus: str, have: Widths, want: Widths, events: int) -> str:
    """An event whose fields are wider than those of the engine that takes it."""
    if have == want:
        return bus
    sizes = [
        (have.W, want.W),
        (have.X, want.X),
        (have.Y, want.Y),
        (have.V, want.V),
        *((have.U, want.U),) * (events - 1),
    ]
    parts, low = [], 0
    for own, kept in sizes:
        parts.append(f"{bus}[{low} +: {kept}]")
        low += own
    return f"{{{', '.join(reversed(parts))}}}"


def _about(at: Layout, engine: Engine) -> str:
    shape = engine.sums[0].shape
    return f"{named(engine.sums[0].numbers)}: {' x '.join(map(str, shape))} sums, {engine.lanes} lanes"
