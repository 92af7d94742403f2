"""The contents of the circuit's memories, and the widths that they give its registers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gxnor.targets.verilog.plan import Layer, Plan, strides, taps

QUEUE = 256  # events between two layers


@dataclass(frozen=True)
class Filled:
    """hex: words of every memory, as $readmemh takes them. values: what the template's names stand for. bits: of all
    memories, those that are written at run time included."""

    hex: dict[str, list[str]]
    values: dict[str, int | str]
    bits: int


@dataclass(frozen=True)
class Base:
    """Where a layer begins: in the lanes' weights and sums, in the tables of rows and columns, in the blocks of channels."""

    weight: int
    sum: int
    row: int
    column: int
    block: int


def fill(plan: Plan, lanes: int, name: str) -> Filled:
    layers = plan.layers
    bases = [Base(2, 0, 0, 0, 0)]  # after the words of weights that open no lane and all lanes
    for layer in layers:
        at, b = bases[-1], layer.blocks(lanes)
        weight = at.weight + len(layer.weight) * _area(layer, lanes)
        sums = at.sum + layer.positions * b
        bases.append(Base(weight, sums, at.row + layer.shape[1], at.column + layer.shape[2], at.block + b))
    end = bases[-1]
    A = signed_bits(min(int(layer.low.min()) for layer in layers), max(int(layer.high.max()) + 1 for layer in layers))
    V = max(bits(layer.bound) + 1 for layer in layers)
    S = max((layer.steps.shape[1] for layer in layers if layer.steps is not None), default=1)
    W, P, Y, X, B, E = (
        bits(n - 1) for n in (end.weight, end.sum, end.row, end.column, end.block, _places(plan, lanes))
    )

    rows, columns, places, channels = [], [], [], []
    for number, (layer, base) in enumerate(zip(layers, bases, strict=False)):
        following = layers[number + 1] if number + 1 < len(layers) else None
        after = bases[number + 1]
        rows += _rows(layer, base, lanes)
        columns += _columns(layer, lanes)
        places += _taken(layer, base, after, lanes)
        for channel in range(layer.blocks(lanes) * lanes):
            inside = channel < layer.outputs
            own = [int(t) for t in layer.steps[channel]] if inside and layer.steps is not None else []
            own += [(1 << A - 1) - 1] * (S - len(own))  # beyond every sum
            flip = int(inside and layer.flip is not None and bool(layer.flip[channel]))
            weight = after.weight + channel * _area(following, lanes) if following and inside else 0
            channels.append((flip, weight, *reversed(own)))
    TY, TX = bits(max(row[0] for row in rows)), bits(max(column[0] for column in columns))
    K = bits(max(*(row[1] for row in rows), *(n for column in columns for n in column[1:3]), *_tap_steps(plan, lanes)))
    LANE = bits(lanes - 1)
    formats = {
        "rows": (rows, (TY, K, P)),
        "columns": (columns, (TX, K, K, P, P)),
        "places": (places, (1, 1, 1, Y, X, LANE, B, P)),
        "channels": (channels, (1, W, *(A,) * S)),
    }
    words = {file: [_word(row, widths) for row in table] for file, (table, widths) in formats.items()}
    lane_widths: list[tuple[int, int]] = []
    for i in range(lanes):
        words[f"lane_{i}"], size = _lane(layers, i, lanes)
        lane_widths.append(size)
    _, height, width = layers[0].shape
    values = {
        "LANES": lanes, "A": A, "STEPS": S, "V": V, "Y": Y, "X": X, "W": W, "K": K, "P": P, "Q": bits(QUEUE - 1),
        "LANE_BITS": LANE, "BLOCK_BITS": B, "STEP_BITS": bits(len(layers)), "LAYERS": len(layers),
        "LOOP_BITS": bits(max(layer.blocks(lanes) for layer in layers) - 1), "S_BITS": bits(S), "TY": TY, "TX": TX,
        **{f"{key}_WIDTH": sum(formats[file][1]) for key, file in (("Y", "rows"), ("X", "columns"), ("E", "places"))},
        "Y_DEPTH": len(rows), "X_DEPTH": len(columns), "E_DEPTH": len(places), "C_DEPTH": len(channels), "E_ADDR": E,
        "CASES": "\n".join(_case(step, layers, lanes, P) for step in range(len(layers) + 1)), "ALL_LANES": "\n".join(
            _instance(name, i, *lane_widths[i], (A, W, P), end.weight, end.sum) for i in range(lanes)
        ), "PICKED": _picked(A, [own for own, _ in lane_widths]),
        "WATCHES": "\n".join(_watch(i, own) for i, (own, _) in enumerate(lane_widths)),
        "BORDER": _border(plan), "IN_W": width, "IN_H": height, "IN_STEP": _area(layers[0], lanes),
        "IN_FIRST": bases[0].weight, "IN_LAST": bases[0].weight + (len(layers[0].weight) - 1) * _area(layers[0], lanes),
        "INPUTS": layers[0].shape[0] * (height - 2 * plan.border[0]) * (width - 2 * plan.border[1]),
        "INPUT_MEANING": "pixels 0..255", "NAME": name,
        "OUTPUTS": layers[-1].outputs, "CLASS_BITS": bits(layers[-1].outputs - 1),
    }  # fmt: skip
    tables = sum(len(table) * sum(widths) for table, widths in formats.values())
    sums = sum(own * end.sum for own, _ in lane_widths)
    return Filled(words, values, tables + sums + 2 * lanes * end.weight + QUEUE * (V + Y + X + W) + S * lanes)


def _area(layer: Layer, lanes: int) -> int:
    """Words of weights per input channel."""
    return layer.weight.shape[1] * layer.weight.shape[2] * layer.blocks(lanes)


def _places(plan: Plan, lanes: int) -> int:
    return sum(len(layer.places) * layer.blocks(lanes) for layer in plan.layers)


def _rows(layer: Layer, base: Base, lanes: int) -> list[tuple[int, ...]]:
    """Taps, first weight, first sum."""
    b = layer.blocks(lanes)
    kernel, width = layer.weight.shape[2], layer.window.count[1]
    return [(n, k * kernel * b, base.sum + o * width * b) for n, k, o in taps(layer.shape[1], layer.window, 0)]


def _columns(layer: Layer, lanes: int) -> list[tuple[int, ...]]:
    """Taps, first weight, weights from the last tap to the next row's first, sums from there to there, first sum."""
    b = layer.blocks(lanes)
    kernel, width = layer.weight.shape[2], layer.window.count[1]
    (ky, oy), (kx, ox) = strides(layer.window, 0), strides(layer.window, 1)
    return [
        (
            n, k * b, (ky * kernel - (n - 1) * kx) * b - (b - 1) if n else 0,
            (oy * width - (n - 1) * ox) * b - (b - 1) if n else 0, o * b,
        )
        for n, k, o in taps(layer.shape[2], layer.window, 1)
    ]  # fmt: skip


def _tap_steps(plan: Plan, lanes: int) -> list[int]:
    """Weights from the last block of a tap to the first of the next, of every layer."""
    return [(strides(layer.window, 1)[0] - 1) * layer.blocks(lanes) + 1 for layer in plan.layers]


def _taken(layer: Layer, base: Base, after: Base, lanes: int) -> list[tuple[int, ...]]:
    """The words of sums in the order they are taken: window by window, and in a window block by block."""
    b = layer.blocks(lanes)
    row, column = (after.row, after.column) if layer.steps is not None else (0, 0)
    found: list[tuple[int, ...]] = []
    window: list[tuple[int, int, int, int, int]] = []
    for place in layer.places:
        window.append(place)
        if not place[0]:
            continue
        for block in range(b):
            last_lane = min(lanes, layer.outputs - block * lanes) - 1
            for last, spare, y, x, at in window:
                sums = base.sum + at * b + block
                found.append((0, last, spare, row + y, column + x, last_lane, base.block + block, sums))
        window = []
    found[-1] = (1, *found[-1][1:])
    return found


def _case(step: int, layers: list[Layer], lanes: int, P: int) -> str:
    """What differs in a step: how layer `step` walks from tap to tap, and what the layer before makes of counts."""
    told, does = [], ""
    if step < len(layers):
        layer = layers[step]
        b, (kx, ox) = layer.blocks(lanes), strides(layer.window, 1)
        told.append(
            f"{'+'.join(map(str, layer.numbers))} adds ({' x '.join(map(str, layer.shape))} to {layer.outputs})"
        )
        does += f" last_block = {b - 1}; tap_w = {kx * b - b + 1}; tap_a = {(ox * b - b + 1) % (1 << P)};"
    if step > 0:
        layer = layers[step - 1]
        told.append(f"{'+'.join(map(str, layer.numbers))} emits")
        if layer.steps is None:
            does += " logits = 1;"
        else:
            does += " binary = 1;" if layer.binary else f" half = {layer.steps.shape[1] // 2};"
    return f"      {step}: begin{does} end  // {', '.join(told)}"


def _lane(layers: list[Layer], i: int, lanes: int) -> tuple[list[str], tuple[int, int]]:
    """The weights of lane i, and the bits of its sums and of the values that it adds."""
    words = ["0", "1"]
    A = V = 2
    for layer in layers:
        own = layer.weight[..., i::lanes]
        count = own.shape[-1]
        padded = np.zeros((*own.shape[:-1], layer.blocks(lanes)), np.int8)
        padded[..., :count] = own
        words += [str(int(w != 0) | int(w < 0) << 1) for w in padded.reshape(-1).tolist()]
        if count:
            V = max(V, bits(layer.bound) + 1)
            A = max(A, V, signed_bits(int(layer.low[i::lanes].min()), int(layer.high[i::lanes].max())))
    return words, (A, V)


def _instance(name: str, i: int, own_a: int, own_v: int, sizes: tuple[int, int, int], words: int, depth: int) -> str:
    A, W, P = sizes
    return (
        f"  wire [{own_a - 1}:0] taken_{i};\n"
        f"  {name}_lane #(.A({own_a}), .V({own_v}), .W({W}), .P({P}), .WORDS({words}), .DEPTH({depth}), .DENSE(DENSE),\n"
        f'    .WEIGHTS("{name}_lane_{i}.hex")) lane{i} (.clk(clk), .w(op_w), .busy(adds_1), .from(a_from),\n'
        f"    .plus(plus[{own_v - 1}:0]), .minus(minus[{own_v - 1}:0]), .clear(clears_2), .to(a_to), .skip(skip[{i}]),\n"
        f"    .picked(taken_{i}));"
    )


def _picked(A: int, own: list[int]) -> str:
    """The sum of the one lane that is picked, as wide as the widest: all others give 0."""
    wide = [f"{{{{{A - a + 1}{{taken_{i}[{a - 1}]}}}}, taken_{i}[{a - 2}:0]}}" for i, a in enumerate(own)]
    return "  assign any = " + "\n    | ".join(wide) + ";"


def _watch(i: int, own_a: int) -> str:
    wires = ", ".join(f"dut.lane{i}.{name}" for name in ("found", "sum", "operand", "result", "writes"))
    return f"  watch #(.A({own_a})) watch{i} (clk, {wires});"


def _border(plan: Plan) -> str:
    """Pixels as events; those of a padded layer are doubled, and the padding is events of 255."""
    _, height, width = plan.layers[0].shape
    up, left = plan.border
    if not up and not left:
        return "  wire border = 0;\n  wire [V-1:0] in_value = {1'b0, in_data};"
    return (
        f"  wire border = in_y < {up} || in_y >= {height - up} || in_x < {left} || in_x >= {width - left};\n"
        "  wire [V-1:0] in_value = border ? 255 : {in_data, 1'b0};"
    )


def _word(fields: tuple[int, ...], widths: tuple[int, ...]) -> str:
    word = 0
    for field, width in zip(fields, widths, strict=True):
        word = word << width | field & (1 << width) - 1
    return f"{word:0{-(-sum(widths) // 4)}x}"


def bits(largest: int) -> int:
    return max(1, int(largest).bit_length())


def signed_bits(low: int, high: int) -> int:
    """Of two's complement that holds both."""
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0, 1) + 1
