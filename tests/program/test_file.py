"""Programs as files: what was written is read, and how large files are."""

import dataclasses
import os
import tracemalloc

import pytest
import safetensors.numpy

from benchmarks.programs import cifar, mnist, one_d, random_program, residual, two_heads
from gxnor.errors import GxnorError
from gxnor.program import Conv, Dense, file
from tests.program.files import assert_same, join, parse, parts, tiny


def weights_of(program):
    return sum(layer.weight.size for layer in program.layers if isinstance(layer, Conv | Dense))


@pytest.mark.parametrize("build", [tiny, mnist, residual, one_d, lambda: cifar(width=8)])
@pytest.mark.parametrize("N1,N2", [(0, 0), (1, 1), (2, 3), (4, 4)])
def test_round_trip_of_networks(build, N1, N2, tmp_path):
    program = build() if build.__code__.co_argcount == 0 else build(N1, N2)
    file.save(program, tmp_path / "net.gxnor")
    assert_same(file.read(tmp_path / "net.gxnor"), program)


@pytest.mark.parametrize("seed", range(40))
def test_round_trip_of_any_program(seed):
    program = random_program(seed, every=seed % 2 == 0)
    assert_same(parse(file.encode(program)), program)


def test_a_file_can_name_its_data():
    program = dataclasses.replace(tiny(), data="mnist")
    assert parse(file.encode(program)).data == "mnist"
    assert parse(file.encode(tiny())).data is None and b"mnist" not in file.encode(tiny())


def test_a_file_can_have_several_outputs():
    assert_same(parse(file.encode(two_heads())), two_heads())
    assert b"outputs" not in file.encode(tiny())
    header, program, tensors = parts(file.encode(two_heads()))
    for names, message in (
        ([], "expected names of outputs"),
        ("ab", "as a list"),
        (["a", "b"], "as many as it has names"),
    ):
        with pytest.raises(GxnorError, match=message):
            parse(join(header, {**program, "outputs": names}, tensors))


def test_one_program_has_one_file():
    assert file.encode(residual(seed=3)) == file.encode(parse(file.encode(residual(seed=3))))


def test_safetensors_reads_our_files(tmp_path):
    file.save(tiny(), tmp_path / "net.gxnor")
    tensors = safetensors.numpy.load_file(tmp_path / "net.gxnor")
    assert tensors["1.weight"].tolist() == [0 + 3 * 1 + 9 * 2 + 27 * 2 + 81 * 2, 0]
    assert tensors["2.thresholds"].tolist() == [[-1, 1], [-128, 127]]
    assert tensors["2.sign"].tolist() == [1]
    assert tensors["3.bias"].tolist() == [0, 0.5]


@pytest.mark.parametrize("N,bits", [(0, 1), (1, 1.6)])
def test_weights_of_the_cifar_network_take_their_bits_and_little_more(N, bits, tmp_path):
    file.save(cifar(N), tmp_path / "net.gxnor")
    on_disk = os.path.getsize(tmp_path / "net.gxnor") * 8 / 12_973_440
    assert bits < on_disk < 1.03 * bits
    if N == 1:
        assert on_disk < 1.65


def test_a_loaded_network_holds_little_more_than_its_file(tmp_path):
    file.save(cifar(), tmp_path / "net.gxnor")
    file.read(tmp_path / "net.gxnor")  # tables and imports are not part of the network
    tracemalloc.start()
    program = file.read(tmp_path / "net.gxnor")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert weights_of(program) == 12_973_440
    assert held < 1.3 * os.path.getsize(tmp_path / "net.gxnor")


@pytest.mark.parametrize("N1", [0, 1])
def test_a_file_is_written_without_holding_the_states_one_by_one(N1):
    program = cifar(N1)
    file.encode(program)  # tables and imports are not part of the network
    tracemalloc.start()
    file.encode(program)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < weights_of(program)


@pytest.mark.parametrize(
    "largest,dtype", [(126, "I8"), (127, "I16"), (32766, "I16"), (32767, "I32"), (2**31 - 2, "I32")]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_thresholds_take_the_smallest_type_that_leaves_its_ends_free(largest, dtype, sign):
    program = tiny()
    program.layers[1].thresholds[0] = sorted([0, sign * largest])
    data = file.encode(program)
    assert parts(data)[0]["2.thresholds"]["dtype"] == dtype
    assert_same(parse(data), program)


def test_saving_replaces_the_file_or_leaves_it(tmp_path, monkeypatch):
    path = tmp_path / "net.gxnor"
    file.save(tiny(), path)
    before = path.read_bytes()
    monkeypatch.setattr(file, "encode", lambda program: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        file.save(mnist(), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["net.gxnor"]
    monkeypatch.undo()
    file.save(one_d(), path)
    assert_same(file.read(path), one_d())
