"""The native side trusts no description of a program: what does not fit is refused, and nothing is read out of bounds."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from benchmarks import programs
from gxnor import native
from gxnor.program.ops import Flatten, Scale
from gxnor.runtime import engine
from gxnor.runtime.engine import instruction_sets

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


@pytest.fixture
def status():
    program = programs.one_d()
    described, keep = engine._describe(program)
    given = native.Input(engine._lift(program.input.shape), -1)

    def create(count=None):
        plan, at = ctypes.c_void_p(), ctypes.c_int32()
        count = len(described) if count is None else count
        status = native.library().gxnor_plan_create(
            ctypes.byref(given), described, count, None, 0, 1, ctypes.byref(plan), ctypes.byref(at)
        )
        if plan:
            native.library().gxnor_plan_destroy(plan)
        return status

    create.layers, create.input, create.keep = described, given, keep
    assert create() == 0
    return create


@pytest.mark.parametrize(
    ("layer", "field", "value"),
    [
        (0, "kind", 99),
        (0, "kind", -1),
        (1, "inputs", (2, 0)),
        (1, "inputs", (-1, 0)),
        (0, "space", 8),
        (0, "space", -1),
        (0, "space", 0),
        (0, "out", 0),
        (0, "out", 2**31 - 1),
        (0, "groups", 0),
        (0, "groups", 5),
        (0, "kernel", (1, 0)),
        (0, "kernel", (1, 6)),
        (0, "kernel", (65535, 65535)),
        (0, "stride", (1, 0)),
        (0, "stride", (1, -1)),
        (0, "padding", (0, -1)),
        (0, "padding", (65535, 65535)),
        (0, "dilation", (1, 65535)),
        (1, "space", 2),
        (3, "padding", (0, 60000)),
        (3, "kernel", (3, 3)),
        (1, "sizes", (4, 12)),
        (1, "data", (None, None)),
        (7, "sizes", (12, 16)),
        (2, "kind", engine._KINDS.index(Scale)),
        (6, "kind", engine._KINDS.index(Flatten)),
    ],
)
def test_inconsistent_ones_are_refused(status, layer, field, value):
    current = getattr(status.layers[layer], field)
    setattr(status.layers[layer], field, type(current)(*value) if isinstance(value, tuple) else value)
    assert status() in (2, 4)


def test_shapes_beyond_bounds_are_refused(status):
    for shape in ((2, 1, 0), (2, 1, -64), (2**31 - 1,) * 3, (3, 1, 64)):
        status.input.shape = (ctypes.c_int32 * 3)(*shape)
        assert status() == 2


def test_programs_without_an_end_are_refused(status):
    for count in (0, -1, 3):
        assert status(count) == 2


def test_indices_that_are_no_state_are_refused(status):
    status.keep[0][0] = 0b11
    assert status() == 2


def test_thresholds_that_do_not_ascend_are_refused(status):
    steps = next(array for array in status.keep if array.dtype == np.int32)
    steps[0] = [5, -5]
    assert status() == 2


@pytest.mark.parametrize("seed", range(10))
def test_any_changed_integer_is_refused_or_runs(seed):
    """The short form of tests/fuzz/fuzz_engine.cpp: every instruction set refuses it, or all compute the same."""
    program = programs.random_program(seed, every=seed > 5)
    x, library = programs.batch(program, 3), native.library()
    given = native.Input(engine._lift(program.input.shape), engine._space(program.input.space))
    described, _keep = engine._describe(program)
    words = native.Layer.data.offset // 4

    def outcome(isa, kernel):
        plan, at = ctypes.c_void_p(), ctypes.c_int32()
        status = library.gxnor_plan_create(
            ctypes.byref(given), described, len(described), isa.encode(), kernel, 1, ctypes.byref(plan),
            ctypes.byref(at),
        )  # fmt: skip
        assert bool(plan) == (status == 0)
        if status == 0:
            logits = np.zeros((3, *program.values[-1].shape), dtype=np.float32)
            assert library.gxnor_plan_run(plan, x.ctypes.data, 3, 1, logits.ctypes.data, None) == 0
            library.gxnor_plan_destroy(plan)
            return logits.tobytes()
        return status, at.value

    outcomes = set()
    for layer in described:
        fields = (ctypes.c_int32 * words).from_buffer(layer)
        for i, word in enumerate(list(fields)):
            for value in (-(2**31), -1, 0, 1, 2, 3, 5, 99, 65536, 2**31 - 1):
                fields[i] = value
                first, *others = {outcome(isa, kernel) for isa in instruction_sets() for kernel in (1, 2)}
                assert not others
                outcomes.add(first)
            fields[i] = word
    assert {status for status, _ in (o for o in outcomes if isinstance(o, tuple))} <= {2, 4}
    assert len(outcomes) > (10 if seed < 6 else 3)
