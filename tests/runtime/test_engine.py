"""The Engine as its users meet it: inputs, batches, threads, callers, copies, memory; the logits are the reference's."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks import programs
from benchmarks.programs import Builder
from gxnor import native
from gxnor.errors import GxnorError
from gxnor.program import file, reference
from gxnor.program.ops import Dense
from gxnor.runtime.engine import Engine
from tests.agreement import ISAS, finished, winograd

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native library is not built")


def test_portable_kernels_are_always_there():
    assert ISAS[-1] == "portable"


def test_a_batch_may_be_read_only_or_empty():
    program = programs.mnist()
    x, runner = programs.batch(program, 2), Engine(program)
    fixed = np.frombuffer(x.tobytes(), dtype=np.uint8).reshape(x.shape)
    np.testing.assert_array_equal(runner.run(fixed), runner.run(x), strict=True)
    assert runner.run(x[:0]).shape == (0, 10)


def test_steps_name_what_is_done_and_take_time():
    program = programs.cifar(width=24)
    x = programs.batch(program, 3)
    for kernel, name in (("direct", "product, bits"), *winograd(ISAS[0]).items()):
        runner = Engine(program, 2, kernel=kernel)
        profile = runner.profile(x)
        assert [step for step, _ in profile] == list(runner.steps)
        assert runner.steps[0] == "input" and name in runner.steps and runner.steps[-1] == "scale"
        assert all(seconds > 0 for _, seconds in profile)
    with pytest.raises(GxnorError, match="direct, winograd2, winograd4, winograd2-fip, winograd4-fip, got 'fast'"):
        Engine(program, kernel="fast")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 9, 16, 17, 33, 65, 70, 131])
def test_every_batch_size(size):
    program = programs.residual()
    x = programs.batch(program, size)
    expected = reference.run(program, x)
    for threads in (1, 2, 3, 5):
        np.testing.assert_array_equal(Engine(program, threads).run(x), expected, strict=True)


@pytest.mark.parametrize("N1, N2", [(0, 0), (1, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize("size", [0, 1, 5])
def test_several_outputs(N1, N2, size):
    program = programs.two_heads(N1, N2)
    x = programs.batch(program, size)
    expected = reference.run(program, x)
    for isa in ISAS:
        for threads in (1, 3):
            logits = Engine(program, threads, isa).run(x)
            assert list(logits) == list(expected)
            for name, each in expected.items():
                np.testing.assert_array_equal(logits[name], each, strict=True)


def test_inputs_in_any_layout_and_as_integers():
    program = programs.residual()
    x = programs.batch(program, 4)
    expected, runner = reference.run(program, x), Engine(program)
    np.testing.assert_array_equal(runner.run(np.asfortranarray(x)), expected)
    np.testing.assert_array_equal(runner.run(np.repeat(x, 2, axis=0)[::2]), expected)
    np.testing.assert_array_equal(runner.run(program.input.integers(x)), expected)
    for N in range(4):
        program = programs.Builder((6,), N)
        program.dense(3)
        program = program.program()
        x = programs.batch(program, 5)
        np.testing.assert_array_equal(Engine(program).run(program.input.integers(x)), reference.run(program, x))


def test_wrong_inputs_are_refused():
    runner = Engine(programs.one_d())
    for x in (np.zeros((1, 2, 63), np.uint8), np.zeros((2, 64), np.uint8), np.zeros((1, 2, 64)), np.uint8(3)):
        with pytest.raises(GxnorError):
            runner.run(x)
    net = Builder((4,), 1)
    net.dense(2)
    program = net.program()
    for threads in (1, 2):
        with pytest.raises(GxnorError, match="below 3, got 7"):
            Engine(program, threads).run(np.array([[0, 1, 2, 0]] * 9 + [[1, 1, 7, 1]], dtype=np.uint8))


def test_wrong_settings_are_refused():
    with pytest.raises(GxnorError, match="portable"):
        Engine(programs.one_d(), isa="sse9")
    for threads in (0, -1, 1.5):
        with pytest.raises(ValueError, match="threads"):
            Engine(programs.one_d(), threads)
    assert Engine(programs.one_d(), np.int64(2)).threads == 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_engine_is_not_copied(copied):
    """Two that own one plan would free it twice."""
    program = programs.one_d()
    runner, x = Engine(program), programs.batch(program, 2)
    with pytest.raises(TypeError, match="an Engine cannot be copied or pickled"):
        copied(runner)
    np.testing.assert_array_equal(runner.run(x), reference.run(program, x))


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    with pytest.raises(GxnorError, match="native library"):
        Engine(programs.one_d())


def test_the_program_may_go():
    program = programs.residual()
    x = programs.batch(program, 3)
    expected, runner = reference.run(program, x), Engine(program)
    for layer in program.layers:
        if isinstance(layer, Dense):
            layer.weight.packed[:] = 0
    del program
    np.testing.assert_array_equal(runner.run(x), expected)


def test_memory_is_close_to_the_file():
    program = programs.cifar(width=64)
    for kernel in ("direct", "winograd4"):  # without one forced, a layer may have both
        assert Engine(program, kernel=kernel).nbytes <= 1.3 * len(file.encode(program))


@pytest.mark.parametrize("N2", [1, 2])
def test_a_kernel_by_the_batch_gives_the_same_bits(N2):
    """Few images may take another kernel than many: layers of 512 channels on few pixels are where that pays."""
    net = Builder((512, 4, 4), N2)
    net.conv(512, 3, 1, padding=1)
    program = finished(net)
    for batch in (1, 2, 5, 40):
        x = programs.batch(program, batch)
        expected = Engine(program, kernel="direct").run(x)
        for threads in (1, 2):
            np.testing.assert_array_equal(Engine(program, threads).run(x), expected)


def test_many_callers_at_once():
    program = programs.residual()
    runners = [Engine(program, threads) for threads in (1, 2, 4)]
    inputs = [programs.batch(program, 1 + i % 9, seed=i) for i in range(48)]
    expected = [reference.run(program, x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            got = pool.map(lambda i: runners[i % 3].run(inputs[i]), range(len(inputs)))
            for logits, right in zip(got, expected, strict=True):
                np.testing.assert_array_equal(logits, right)


def _child(program, x, queue):
    queue.put(Engine(program, 2).run(x))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_threads_work_in_a_forked_child():
    program = programs.residual()
    x = programs.batch(program, 9)
    expected = Engine(program, 2).run(x)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(program, x, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join(60)
