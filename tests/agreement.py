"""The engine beside the reference: every bit of the logits, on every instruction set, kernel and thread count."""

from __future__ import annotations

import numpy as np

from benchmarks.programs import Builder
from gxnor import native
from gxnor.program import Program, reference
from gxnor.runtime.engine import Engine, instruction_sets

ISAS = instruction_sets() if native.library() is not None else ()
WINOGRAD = {
    "winograd2": "product, Winograd 2x2",
    "winograd4": "product, Winograd 4x4",
    "winograd2-fip": "product, Winograd 2x2, fast inner products",
    "winograd4-fip": "product, Winograd 4x4, fast inner products",
}


def winograd(isa: str) -> dict[str, str]:
    """The kernels that an instruction set has, and the names of their steps."""
    return {kernel: step for kernel, step in WINOGRAD.items() if "fip" not in kernel or isa == "avx512"}


def assert_agrees(program: Program, x: np.ndarray) -> None:
    expected = reference.run(program, x)
    for isa in ISAS:
        engines = [Engine(program, threads, isa, "direct") for threads in (1, 3)]
        for kernel, step in winograd(isa).items():
            if step in Engine(program, isa=isa, kernel=kernel).steps:
                engines += [Engine(program, threads, isa, kernel) for threads in (1, 3)]
        for runner in engines:
            logits = runner.run(x)
            assert logits.dtype == np.float32
            message = f"{isa}, {runner.threads} threads, {runner.steps}"
            np.testing.assert_array_equal(logits, expected, strict=True, err_msg=message)


def finished(net: Builder) -> Program:
    """Its sums as logits, one per feature: no later layer hides anything."""
    net.flatten()
    return net.program()
