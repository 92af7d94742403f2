"""ONNX and QONNX models beside the reference: equal logits, on programs of every kind, by the runtimes that read them."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import programs
from benchmarks.programs import Builder
from gxnor.cli import main as cli
from gxnor.errors import GxnorError
from gxnor.program import ALWAYS, NEVER, Threshold, reference
from gxnor.runtime.engine import Engine
from gxnor.space import DiscreteSpace

onnx = pytest.importorskip("onnx", reason='needs ONNX: pip install "gxnor[onnx]" onnxruntime qonnx')
onnxruntime = pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install onnxruntime")

from gxnor.targets import onnx as to_onnx  # noqa: E402
from gxnor.targets import qonnx as to_qonnx  # noqa: E402

pytestmark = pytest.mark.onnx
FORMS = ("float", "integer")


def run(model, x: np.ndarray, optimised: bool = True, settings: dict[str, str] | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    for key, value in (settings or {}).items():
        options.add_session_config_entry(key, value)
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in model.graph.output]
    logits = session.run(names, {model.graph.input[0].name: x})
    return logits[0] if names == ["logits"] else dict(zip(names, logits, strict=True))


def run_qonnx(model, x: np.ndarray) -> np.ndarray:
    """By qonnx's executor, in batches of len(x)."""
    pytest.importorskip("qonnx", reason="needs qonnx: pip install qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.change_batchsize import ChangeBatchSize
    from qonnx.transformation.infer_shapes import InferShapes

    wrapped = ModelWrapper(model)
    if len(x) > 1:
        wrapped = wrapped.transform(ChangeBatchSize(len(x))).transform(InferShapes())
    found = execute_onnx(wrapped, {model.graph.input[0].name: x.astype(np.float32)})
    return found["logits"] if list(found) == ["logits"] else found


def in_floats(program) -> bool:
    return program.largest_sum <= 2**24


def forms(program, opsets=(to_onnx.OPSETS[-1],)):
    for opset in opsets:
        for form in FORMS if in_floats(program) else ("integer",):
            yield to_onnx.model(program, form, opset)


def assert_agrees(program, x: np.ndarray) -> None:
    expected = reference.run(program, x)
    for opset in (13, 21, 25):
        for model in forms(program, [opset]):
            for optimised in (True, False):
                assert_equal(run(model, x, optimised), expected)
    if in_floats(program):
        assert_equal(run_qonnx(to_qonnx.model(program), x[:1]), reference.run(program, x[:1]))


def assert_equal(logits, expected) -> None:
    if not isinstance(expected, dict):
        logits, expected = {"logits": logits}, {"logits": expected}
    assert list(logits) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(logits[name], expected[name], strict=True)


@pytest.mark.parametrize("N1, N2", [(0, 0), (0, 1), (1, 1), (2, 3), (4, 4), (7, 7)])
@pytest.mark.parametrize("build", [programs.residual, programs.one_d])
def test_networks_agree_in_every_space(build, N1, N2):
    program = build(N1, N2)
    assert_agrees(program, programs.batch(program, 3))


@pytest.mark.parametrize("seed", range(30))
def test_random_programs_agree(seed):
    program = programs.random_program(1000 + seed, every=seed % 3 > 0)
    assert_agrees(program, programs.batch(program, 2, seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_many_random_programs_agree(seed):
    program = programs.random_program(2000 + seed, every=seed % 3 > 0)
    assert_agrees(program, programs.batch(program, 2, seed))


@pytest.mark.parametrize("N1, N2", [(0, 0), (1, 1), (4, 4)])
def test_several_outputs_have_their_names(N1, N2):
    program = programs.two_heads(N1, N2)
    assert_agrees(program, programs.batch(program, 3))
    for model in forms(program):
        classes = json.loads({p.key: p.value for p in model.metadata_props}["classes"])
        assert {name: len(of) for name, of in classes.items()} == {"head 1": 5, "head 2": 3, "head 3": 9}


@pytest.mark.parametrize("channels", [1, 3])
def test_real_numbers_go_in_as_they_are(channels):
    """At the ends, beyond them, and at halves between two levels."""
    net = Builder((3, 40), 4)
    net.flatten()
    net.dense(4)
    program = net.program()
    low = np.array([-1, 0.3, 1000], dtype=np.float32)[:channels]
    scale = np.array([8, 3, 0.001], dtype=np.float32)[:channels]
    program = dataclasses.replace(program, input=dataclasses.replace(program.input, low=low, scale=scale))
    index = np.linspace(-2, 18.5, 120, dtype=np.float32).reshape(1, 3, 40)
    x = (index / scale[:, None] + low[:, None]).astype(np.float32)
    x = np.concatenate([x, np.full_like(x, np.inf), np.full_like(x, -np.inf)])
    assert_agrees(program, x)


@pytest.mark.parametrize("kernel, stride, padding, dilation", [(2, 3, 1, 1), (2, 1, 2, 3), (3, 4, 1, 2), (1, 3, 0, 1)])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("extent", [5, 6, 7, 8])
def test_pools_agree_where_windows_are_cut(kernel, stride, padding, dilation, ceil_mode, extent):
    net = Builder((2, extent, extent + 1))
    net.max_pool(kernel, stride, padding, dilation, ceil_mode)
    net.flatten()
    program = net.program()
    assert_agrees(program, programs.batch(program, 2))


def test_thresholds_at_the_ends_of_what_sums_reach():
    net = Builder((8,), N=1)
    steps = [[-8, 8], [-9, 9], [ALWAYS, NEVER], [ALWAYS, ALWAYS], [NEVER, NEVER], [-7, 8], [0, 0], [1, 1]]
    net.layers.append(
        Threshold((0,), DiscreteSpace(1), np.array(steps, dtype=np.int32), np.array([1, -1] * 4, dtype=np.int8))
    )
    net.values.append(net.layers[0].infer(net.values[0]))
    net.spread.append(1.0)
    program = net.program()
    assert_agrees(program, np.repeat(np.arange(3, dtype=np.uint8)[:, None], 8, axis=1))


def test_sums_beyond_floats_are_refused_by_floats_and_run_in_integers():
    net = Builder((3,))
    net.dense(2, 7)  # sums to 255 * 3 * 64
    net.dense(3, 7)
    net.dense(2, 7)  # and to 1.2e9
    program = net.program()
    assert program.largest_sum > 2**24
    for refused in (to_onnx.model, to_qonnx.model):
        with pytest.raises(GxnorError, match=r"layer 3 \(Dense\).*float32 is exact up to 16777216"):
            refused(program)
    x = programs.batch(program, 50)
    np.testing.assert_array_equal(run(to_onnx.model(program, "integer"), x), reference.run(program, x), strict=True)


def test_the_paper_network_is_small_and_named_after_its_file():
    program = programs.mnist()
    for model in forms(program):
        assert len(model.SerializeToString()) <= 200_000
        names = {value.name for value in (*model.graph.initializer, *model.graph.value_info)}
        assert {"1.weight", "3.thresholds", "1.Conv", "2.MaxPool", "11.scale"} <= names
        assert json.loads({p.key: p.value for p in model.metadata_props}["classes"]) == list("0123456789")
        known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
        assert all(name in known for node in model.graph.node for name in node.output)


def test_weights_take_two_bits_where_the_opset_has_them():
    program = programs.one_d(1, 1)
    kinds = {opset: next(forms(program, [opset])).graph.initializer for opset in (25, 21, 13)}
    found = {opset: {t.name: t.data_type for t in tensors}["1.weight"] for opset, tensors in kinds.items()}
    assert found == {25: onnx.TensorProto.INT2, 21: onnx.TensorProto.INT4, 13: onnx.TensorProto.INT8}


def test_weights_unpacked_once_give_the_same_logits():
    program = programs.mnist()
    x = programs.batch(program, 20)
    for model in forms(program):
        logits = run(model, x, settings={"session.disable_quant_qdq": "1"})
        np.testing.assert_array_equal(logits, reference.run(program, x), strict=True)


def test_qonnx_knows_the_type_of_every_tensor():
    wrapper = pytest.importorskip("qonnx.core.modelwrapper", reason="needs qonnx: pip install qonnx")
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_datatypes import InferDataTypes

    program = programs.mnist()
    model = wrapper.ModelWrapper(to_qonnx.model(program))
    x = programs.batch(program, 1).astype(np.float32)
    values = execute_onnx(model, {"pixels": x}, return_full_exec_context=True)
    for name in ("pixels", "1.weight", "1.Conv", "2.MaxPool", "3.thresholds", "3.Threshold", "8.Dense", "9.Threshold"):
        kind = model.get_tensor_datatype(name)
        assert kind.is_integer() and np.all(kind.allowed(values[name])), name
    assert model.get_tensor_datatype("pixels").name == "UINT8"
    inferred = model.transform(InferDataTypes())
    for name in ("1.weight", "3.Threshold", "4.weight", "6.Threshold", "9.Threshold", "10.weight"):
        assert inferred.get_tensor_datatype(name).name == "TERNARY", name


@pytest.mark.filterwarnings("ignore:The values of tensor")  # qonnx's new names for tensors keep the types of old ones
@pytest.mark.parametrize("build", [programs.mnist, programs.residual, programs.one_d])
def test_qonnx_models_survive_what_hls4ml_and_finn_do_first(build):
    wrapper = pytest.importorskip("qonnx.core.modelwrapper", reason="needs qonnx: pip install qonnx")
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.util.cleanup import cleanup_model

    program = build()
    x = programs.batch(program, 1)
    cleaned = cleanup_model(wrapper.ModelWrapper(to_qonnx.model(program)))
    for model in (cleaned, cleaned.transform(ConvertToChannelsLastAndClean())):
        (logits,) = execute_onnx(model, {model.graph.input[0].name: x.astype(np.float32)}).values()
        np.testing.assert_array_equal(logits, reference.run(program, x), strict=True)


def test_a_trained_network_agrees_on_its_whole_test_set(tiny, tmp_path):
    loop = pytest.importorskip("gxnor.training.loop", reason='needs PyTorch: pip install "gxnor[train]"')
    from gxnor.data import load

    loop.train(tiny(), tmp_path / "run")
    program, images = loop.export_run(tmp_path / "run"), load("digits").test_images
    expected = Engine(program).run(images)
    for model in forms(program):
        np.testing.assert_array_equal(run(model, images), expected, strict=True)
    np.testing.assert_array_equal(run_qonnx(to_qonnx.model(program), images), expected, strict=True)


@pytest.mark.slow
def test_the_paper_network_agrees_on_all_of_mnist():
    from gxnor.data import load

    try:
        images = load("mnist").test_images
    except GxnorError as error:
        pytest.skip(f"needs MNIST: {error}")
    program = programs.mnist()
    expected = Engine(program).run(images)
    models = list(forms(program))
    for start in range(0, len(images), 1000):
        batch, logits = images[start : start + 1000], expected[start : start + 1000]
        for model in models:
            np.testing.assert_array_equal(run(model, batch), logits, strict=True)
        np.testing.assert_array_equal(run_qonnx(to_qonnx.model(program), batch), logits, strict=True)


def test_what_is_written_is_what_runs(tmp_path):
    program = programs.one_d()
    x = programs.batch(program, 4)
    for form in FORMS:
        path = tmp_path / f"{form}.onnx"
        assert f"{form} form" in to_onnx.write(program, path, onnx_form=form)
        np.testing.assert_array_equal(run(onnx.load(path), x), reference.run(program, x), strict=True)
    to_qonnx.write(program, tmp_path / "net.qonnx.onnx")
    np.testing.assert_array_equal(
        run_qonnx(onnx.load(tmp_path / "net.qonnx.onnx"), x[:1]), reference.run(program, x[:1]), strict=True
    )


@pytest.mark.parametrize("options, message", [
    ({"onnx_form": "int"}, "expected an ONNX form among float, integer, got 'int'"),
    ({"opset": 12}, "expected an opset from 13 to 25, got 12"),
])  # fmt: skip
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises(GxnorError, match=message):
        to_onnx.write(programs.one_d(), tmp_path / "net.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_models_and_says_what_is_wrong(tmp_path, capsys):
    program = programs.one_d()
    program.save(tmp_path / "net.gxnor")
    x, path = programs.batch(program, 2), tmp_path / "net.onnx"
    call = ["export", str(tmp_path / "net.gxnor"), "-o", str(path), "--to"]
    assert cli.main([*call, "onnx", "--onnx-form", "integer", "--opset", "21"]) == 0
    assert f"ONNX in integer form, opset 21, {path.stat().st_size:,} bytes" in capsys.readouterr().out
    np.testing.assert_array_equal(run(onnx.load(path), x), reference.run(program, x), strict=True)
    assert cli.main([*call, "qonnx", "--opset", "21"]) == 2
    assert "--opset is not an option of an export to qonnx" in capsys.readouterr().err
    assert cli.main([*call, "onnx", "--opset", "99"]) == 2
    assert "expected an opset from 13 to 25, got 99" in capsys.readouterr().err
