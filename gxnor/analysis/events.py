"""The event-driven view: the operations that a program performs on given data, counted exactly.

A product of a weight and an input is an event if neither is zero. Otherwise its gate stays closed and the unit rests.
With all states of Z_N1 and Z_N2 equally likely,

    resting = 1 - p(N1) p(N2),    p(0) = 1,   p(N) = 2^N / (2^N + 1)

which is 1 - (2/3)^2 = 55.6 % for ternary weights and activations (GXNOR-Net, arXiv 1705.09283, section 3.4).
Window positions in the zero padding are not operations and are counted nowhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from gxnor.errors import GxnorError
from gxnor.program import Conv, Dense, Program, reference
from gxnor.space import DiscreteSpace

BATCH = 16  # samples counted at a time: their windows take megabytes each


@dataclass(frozen=True)
class LayerEvents:
    """Counts of a Conv or Dense layer, summed over all samples; `zero_weights` and `weights` are of the layer.

    Attributes:
        layer: its number in the program; 0 for the sum over all layers.
        kind: "Conv", "Dense", or "total".
        operation: what a product takes. "xnor": both operands binary or ternary; "add": one of them, the other a pixel,
            a sum or a state of five or more; "multiply": neither; "" for the total.
        pixels: whether the input is pixels or sums, not states.
        macs: multiply-accumulates of the full-precision twin.
        gated: products with a non-zero weight: the additions of a network with ternary weights and real activations.
        fired: products with a non-zero weight and a non-zero input: the events.
        neurons, active_neurons: outputs, and those with at least one event (each takes one bit count).
        inputs, zero_inputs: activations that come in, and how many of them are 0.
        expected_resting: the resting share with all states equally likely.
    """

    layer: int
    kind: str
    operation: str
    pixels: bool
    macs: int
    gated: int
    fired: int
    neurons: int
    active_neurons: int
    weights: int
    zero_weights: int
    inputs: int
    zero_inputs: int
    expected_resting: float

    @property
    def resting(self) -> float:
        """The share of products that are not events; 1 if there are no products."""
        return 1 - self.fired / self.macs if self.macs else 1.0


@dataclass(frozen=True)
class Events:
    """What a program did on `samples` samples, layer by layer."""

    samples: int
    layers: tuple[LayerEvents, ...]

    @property
    def total(self) -> LayerEvents:
        """The sum over all layers; `expected_resting` weighted by products."""
        names = (
            "macs",
            "gated",
            "fired",
            "neurons",
            "active_neurons",
            "weights",
            "zero_weights",
            "inputs",
            "zero_inputs",
        )
        sums = {name: sum(getattr(layer, name) for layer in self.layers) for name in names}
        resting = sum(layer.expected_resting * layer.macs for layer in self.layers) / max(sums["macs"], 1)
        return LayerEvents(0, "total", "", False, **sums, expected_resting=resting)

    def to_json(self) -> dict:
        """Plain numbers, counts over all samples."""
        rows = [{**asdict(layer), "resting": layer.resting} for layer in (*self.layers, self.total)]
        return {"samples": self.samples, "layers": rows[:-1], "total": rows[-1]}


def count(program: Program, x: np.ndarray) -> Events:
    """Runs uint8 (samples, *input shape) and counts. Raises GxnorError for another input or none."""
    if not len(x):
        raise GxnorError("expected at least one sample to count events on, got none")
    layers = {number: layer for number, layer in enumerate(program.layers, 1) if isinstance(layer, Conv | Dense)}
    seen = {number: np.zeros(3, dtype=np.int64) for number in layers}  # fired, active neurons, zero inputs
    for start in range(0, len(x), BATCH):
        values = reference.trace(program, x[start : start + BATCH])
        for number, layer in layers.items():
            inputs = values[layer.inputs[0]] != 0
            events = neuron_events(layer, inputs, layer.weight.levels() != 0)
            seen[number] += events.sum(dtype=np.int64), np.count_nonzero(events), np.count_nonzero(~inputs)
    return Events(len(x), tuple(_layer(program, n, layer, len(x), *map(int, seen[n])) for n, layer in layers.items()))


def neuron_events(layer: Conv | Dense, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """int32, of the layer's output shape: for every neuron, how many of its products pair a true input with a true
    weight. The layer itself, run on indicators."""
    inputs, weights = inputs.astype(np.int32), weights.astype(np.int8)
    if isinstance(layer, Dense):
        return reference.product(inputs, weights, axes=1)
    return reference.conv(inputs, weights, layer.stride, layer.padding, layer.dilation, layer.groups)


def _layer(
    program: Program, number: int, layer: Conv | Dense, samples: int, fired: int, active: int, zero_inputs: int
) -> LayerEvents:
    source, weights = program.values[layer.inputs[0]], layer.weight.levels() != 0
    every = np.ones((1, *source.shape), dtype=bool)
    gates = [space is not None and space.N <= 1 for space in (layer.weight.space, source.space)]
    return LayerEvents(
        layer=number,
        kind=type(layer).__name__,
        operation=("multiply", "add", "xnor")[sum(gates)],
        pixels=source.space is None,
        macs=samples * int(neuron_events(layer, every, np.ones_like(weights)).sum(dtype=np.int64)),
        gated=samples * int(neuron_events(layer, every, weights).sum(dtype=np.int64)),
        fired=fired,
        neurons=samples * int(np.prod(program.values[number].shape)),
        active_neurons=active,
        weights=weights.size,
        zero_weights=int(np.count_nonzero(~weights)),
        inputs=samples * every.size,
        zero_inputs=zero_inputs,
        expected_resting=1 - _nonzero(layer.weight.space) * _nonzero(source.space),
    )


def _nonzero(space: DiscreteSpace | None) -> float:
    """The share of non-zero states; pixels, 2p - 255, are never zero."""
    return 1.0 if space is None else float(np.mean(space.levels != 0))
