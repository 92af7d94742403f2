"""The contents of the circuit's memories, and the widths that they give its registers."""

from __future__ import annotations

from dataclasses import dataclass

from gxnor.targets.verilog.plan import Plan, strides, taps


@dataclass(frozen=True)
class Filled:
    """hex: words of every memory, as $readmemh takes them. values: what the template's names stand for. bits: of all
    memories, those that are written at run time included."""

    hex: dict[str, list[str]]
    values: dict[str, int | str]
    bits: int


def fill(plan: Plan, lanes: int, name: str) -> Filled:
    layers = plan.layers
    blocks = [layer.blocks(lanes) for layer in layers]
    area = [layer.weight.shape[1] * layer.weight.shape[2] * b for layer, b in zip(layers, blocks, strict=True)]
    reach = max(layer.reach for layer in layers)
    A = (reach + 1).bit_length() + 1  # holds -reach and reach + 1, a step beyond every sum
    S = max((layer.steps.shape[1] for layer in layers if layer.steps is not None), default=1)
    most = max(1, *(layer.shape[0] * layer.shape[1] * layer.shape[2] for layer in layers))
    depth = max(layer.positions * b for layer, b in zip(layers, blocks, strict=True))

    weights: list[tuple[int, int]] = []
    steps: list[int] = []
    rows: list[tuple[int, ...]] = []
    columns: list[tuple[int, ...]] = []
    places: list[tuple[int, ...]] = []
    cases: list[str] = []
    tables = {"rows": rows, "columns": columns}
    for number, (layer, b) in enumerate(zip(layers, blocks, strict=True)):
        base = len(weights), len(steps), len(rows), len(columns), len(places)
        for word in layer.weight.reshape(-1, layer.outputs):
            for block in range(b):
                part = word[block * lanes : (block + 1) * lanes]
                up = sum(1 << i for i, w in enumerate(part) if w > 0)
                down = sum(1 << i for i, w in enumerate(part) if w < 0)
                weights.append((up, down))
        for channel in range(layer.outputs if layer.steps is not None else 1):
            own = [] if layer.steps is None else [int(t) for t in layer.steps[channel]]
            own += [reach + 1] * (S - len(own))
            flip = int(layer.flip[channel]) if layer.flip is not None else 0
            steps.append(sum((t & ((1 << A) - 1)) << k * A for k, t in enumerate(own)) | flip << S * A)
        kernel, width = layer.weight.shape[1:3], layer.window.count[1]
        rows += [(n, k * kernel[1] * b, o * width * b) for n, k, o in taps(layer.shape[1], layer.window, 0)]
        columns += [(n, k * b, o * b) for n, k, o in taps(layer.shape[2], layer.window, 1)]
        places += [
            (int(i == len(layer.places) - 1), last, spare, y, x, at * b)
            for i, (last, spare, y, x, at) in enumerate(layer.places)
        ]
        (ky, oy), (kx, ox) = strides(layer.window, 0), strides(layer.window, 1)
        size = 2 ** layer_states(layer) if layer.steps is not None and not layer.binary else 0
        following = area[number + 1] if number + 1 < len(layers) else 0
        cases.append(
            f"      {'default' if number == len(layers) - 1 else number}: begin  "
            f"// {'+'.join(map(str, layer.numbers))}: {' x '.join(map(str, layer.shape))} to {layer.outputs}\n"
            f"        last_block = {b - 1}; last_lane = {(layer.outputs - 1) % lanes}; w_base = {base[0]}; "
            f"wx = {kx * b}; wy = {ky * kernel[1] * b}; ax = {ox * b}; ay = {oy * width * b};\n"
            f"        t_base = {base[1]}; y_base = {base[2]}; x_base = {base[3]}; e_base = {base[4]}; "
            f"channel_step = {following}; half = {size // 2}; binary = {int(layer.binary)}; "
            f"logits = {int(layer.steps is None)};\n"
            "      end"
        )  # fmt: skip
    _, height, width = layers[0].shape
    W = bits(len(weights) - 1)
    P = bits(depth - 1)
    Y = bits(max(max(layer.shape[1] for layer in layers) - 1, *(place[3] for place in places)))
    X = bits(max(max(layer.shape[2] for layer in layers) - 1, *(place[4] for place in places)))
    TY, TX = (bits(max(row[0] for row in table)) for table in tables.values())
    E = bits(most - 1)
    V = 9
    words = {
        **{
            f"weights_{i}": [hexadecimal((down >> i & 3) << 2 | up >> i & 3, 4) for up, down in weights]
            for i in range(0, lanes, 2)
        },
        "steps": [hexadecimal(word, S * A + 1) for word in steps],
        "rows": [hexadecimal(n << W + P | k << P | o, TY + W + P) for n, k, o in rows],
        "columns": [hexadecimal(n << W + P | k << P | o, TX + W + P) for n, k, o in columns],
        "places": [
            hexadecimal(((((end << 1 | last) << 1 | spare) << Y | y) << X | x) << P | at, 3 + Y + X + P)
            for end, last, spare, y, x, at in places
        ],
    }
    values = {
        "LANES": lanes, "A": A, "STEPS": S, "V": V, "Y": Y, "X": X, "W": W, "P": P, "C": W, "N": E + 1,
        "LAYERS": len(layers), "LAYER_BITS": bits(len(layers) - 1), "B_BITS": bits(max(blocks) - 1),
        "L_BITS": bits(lanes - 1),
        "S_BITS": bits(S), "TY": TY, "TX": TX, "Y_ADDR": bits(len(rows)), "X_ADDR": bits(len(columns)),
        "T_ADDR": bits(len(steps) + max(blocks) * lanes), "E_ADDR": bits(len(places)), "Y_WIDTH": TY + W + P,
        "X_WIDTH": TX + W + P,
        "E_WIDTH": 3 + Y + X + P, "W_DEPTH": len(weights), "T_DEPTH": len(steps), "Y_DEPTH": len(rows),
        "X_DEPTH": len(columns), "E_DEPTH": len(places), "P_DEPTH": depth, "E_MOST": 1 << E, "CASES": "\n".join(cases),
        "IN_BITS": 8, "IN_VALUE": "{1'b0, in_data}", "IN_W": width, "IN_H": height, "IN_STEP": area[0],
        "IN_LAST": (layers[0].shape[0] - 1) * area[0], "INPUTS": layers[0].shape[0] * height * width,
        "INPUT_MEANING": "pixels 0..255",
        "WEIGHTS": "\n".join(_pair(name, i, len(weights)) for i in range(0, lanes, 2)), "NAME": name,
        "OUTPUTS": layers[-1].outputs, "CLASS_BITS": bits(layers[-1].outputs - 1),
    }  # fmt: skip
    held = 2 * (1 << E) * (V + Y + X + W) + depth * lanes * A + len(weights) * 2 * lanes
    read_only = sum(
        len(words[name]) * size
        for name, size in (
            ("steps", S * A + 1), ("rows", TY + W + P), ("columns", TX + W + P),
            ("places", 3 + Y + X + P),
        )
    )  # fmt: skip
    return Filled(words, values, held + read_only)


def _pair(name: str, i: int, depth: int) -> str:
    """The memory of lanes i and i + 1."""
    return (
        f"  reg [3:0] weights_{i} [0:{depth - 1}];\n"
        f'  initial $readmemh("{name}_weights_{i}.hex", weights_{i});\n'
        f"  always @(posedge clk) {{fetched[L+{i} +: 2], fetched[{i} +: 2]}} <= weights_{i}[w_address];"
    )


def layer_states(layer) -> int:
    """N of the states that a layer gives: it has 2^N steps."""
    return (layer.steps.shape[1]).bit_length() - 1


def bits(largest: int) -> int:
    return max(1, int(largest).bit_length())


def hexadecimal(word: int, width: int) -> str:
    return f"{word:0{-(-width // 4)}x}"
