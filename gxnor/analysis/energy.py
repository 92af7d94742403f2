"""The paper's table of operations (GXNOR-Net, arXiv 1705.09283, table 3), measured: what the counterparts of a network
would do on the same data, and an estimate of what that costs.

Of a neuron with M inputs, z of them with a zero weight:

    full precision   M multiplications and M additions of floats
    BWN              M additions of floats                  (binary weights, real activations)
    TWN              M - z additions of floats              (ternary weights, real activations)
    BNN              M XNORs and 1 bit count                (binary both; M integer additions where pixels come in)
    this network     only events: XNORs and a bit count where both sides are binary or ternary, integer additions where
                     one is, 8-bit multiplications and integer additions where neither is
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gxnor.analysis.events import Events, LayerEvents

# pJ per operation, 45 nm, 0.9 V.
SOURCE = "M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014, 45 nm"
FLOAT_MULTIPLICATION, FLOAT_ADDITION = 3.7, 0.9  # 32 bit
INTEGER_ADDITION, BYTE_ADDITION, BYTE_MULTIPLICATION = 0.1, 0.03, 0.2  # 32, 8 and 8 bit
# Derived: one XNOR and the adder cell that counts its bit are taken for two of the eight bits of an 8-bit addition; the
# bit count of a neuron ends in one 32-bit addition.
XNOR, BIT_COUNT = 2 * BYTE_ADDITION / 8, INTEGER_ADDITION


@dataclass(frozen=True)
class Operations:
    """Counts of operations by kind, and `resting`, the products that need not be formed."""

    float_multiplications: int = 0
    float_additions: int = 0
    byte_multiplications: int = 0
    integer_additions: int = 0
    xnors: int = 0
    bit_counts: int = 0
    resting: int = 0

    def __add__(self, other: Operations) -> Operations:
        mine, theirs = asdict(self), asdict(other)
        return Operations(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def energy(self) -> float:
        """pJ of the operations alone; fetching operands from memory costs more and is not included."""
        return (
            FLOAT_MULTIPLICATION * self.float_multiplications
            + FLOAT_ADDITION * self.float_additions
            + BYTE_MULTIPLICATION * self.byte_multiplications
            + INTEGER_ADDITION * self.integer_additions
            + XNOR * self.xnors
            + BIT_COUNT * self.bit_counts
        )


def counterparts(events: Events) -> dict[str, Operations]:
    """Operations over all samples, by network: "full precision", "BWN", "TWN", "BNN", "this network"."""
    table: dict[str, Operations] = {}
    for layer in events.layers:
        for name, operations in _of_layer(layer).items():
            table[name] = table.get(name, Operations()) + operations
    return table


def _of_layer(layer: LayerEvents) -> dict[str, Operations]:
    macs, fired = layer.macs, layer.fired
    own = {
        "xnor": Operations(xnors=fired, bit_counts=layer.active_neurons),
        "add": Operations(integer_additions=fired),
        "multiply": Operations(byte_multiplications=fired, integer_additions=fired),
    }[layer.operation]
    return {
        "full precision": Operations(float_multiplications=macs, float_additions=macs),
        "BWN": Operations(float_additions=macs),
        "TWN": Operations(float_additions=layer.gated, resting=macs - layer.gated),
        "BNN": Operations(integer_additions=macs) if layer.pixels else Operations(xnors=macs, bit_counts=layer.neurons),
        "this network": own + Operations(resting=macs - fired),
    }


def to_json(events: Events) -> dict:
    """The table with energies, counts over all samples."""
    table = counterparts(events)
    return {
        "source": SOURCE,
        "networks": {name: {**asdict(row), "energy_pj": row.energy} for name, row in table.items()},
    }
