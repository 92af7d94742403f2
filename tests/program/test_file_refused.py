"""Damaged, cut, invented and hostile files are refused, at no cost, with what is wrong in them."""

import io
import os
import struct
import tracemalloc

import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.programs import random_program
from gxnor.errors import GxnorError
from gxnor.program import file
from tests.program.files import assert_same, join, parse, parts, tiny


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\x80\x04K\x01.", b"PK\x03\x04" * 100])
def test_other_files_are_refused(data):
    with pytest.raises(GxnorError, match=r"not a \.gxnor file"):
        parse(data)


def test_paths_that_are_no_files_are_refused(tmp_path):
    with pytest.raises(GxnorError, match=r"missing\.gxnor: cannot be read: No such file"):
        file.read(tmp_path / "missing.gxnor")
    with pytest.raises(GxnorError, match="got a folder or a device"):
        file.read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GxnorError, match="got a folder or a device"):
        file.read(tmp_path / "pipe")


def test_every_truncation_and_extension_is_refused():
    data = file.encode(tiny())
    for length in range(len(data)):
        with pytest.raises(GxnorError):
            parse(data[:length])
    with pytest.raises(GxnorError, match="cut short"):
        parse(data[:-1])
    with pytest.raises(GxnorError, match="too long"):
        parse(data + b"\0")


def set_at(path, value):
    """A change of a file: the entry at `path` in ("header" | "program", key, ...) becomes `value`."""

    def change(header, program):
        *keys, last = path[1:]
        entry = {"header": header, "program": program}[path[0]]
        for key in keys:
            entry = entry[key]
        if value is KeyError:
            del entry[last]
        else:
            entry[last] = value

    return change


HOSTILE = {
    "version 2": (("program", "version"), 2, "expected format version 1, got 2; a newer gxnor may read it"),
    "version true": (("program", "version"), True, "expected format version 1, got True"),
    "no version": (("program", "version"), KeyError, "expected format version 1, got None"),
    "unknown key": (("program", "author"), "me", "expected the program with"),
    "input": (("program", "input"), 3, "expected input as a JSON object"),
    "negative input shape": (("program", "input", "shape"), [-3], "input shape as a tuple of integers from 1"),
    "huge input shape": (("program", "input", "shape"), [10**300], "input shape as a tuple"),
    "input N": (("program", "input", "N"), 8, "N as an integer from 0 to 7, got 8"),
    "layers": (("program", "layers"), {}, "expected layers as a list"),
    "no layers": (("program", "layers"), [], "belongs to no layer"),
    "layer": (("program", "layers", 0), [], "layer 1: expected a layer as a JSON object"),
    "kind": (("program", "layers", 0, "kind"), "exec", "layer 1: expected one of Conv, .* got 'exec'"),
    "kind list": (("program", "layers", 0, "kind"), [], "layer 1: expected one of Conv"),
    "unknown field": (("program", "layers", 0, "bias"), 1, "layer 1: expected Dense with kind, inputs, weight"),
    "missing field": (("program", "layers", 0, "inputs"), KeyError, "layer 1: expected Dense with"),
    "cycle": (("program", "layers", 0, "inputs"), [2], r"layer 1 \(Dense\): expected inputs .* from 0 to 0"),
    "inputs": (("program", "layers", 0, "inputs"), 0, "layer 1: expected inputs as a list"),
    "input of floats": (("program", "layers", 0, "inputs"), [0.0], r"layer 1 \(Dense\): expected inputs"),
    "input of lists": (("program", "layers", 0, "inputs"), [[0]], r"layer 1 \(Dense\): expected inputs"),
    "weight": (("program", "layers", 0, "weight"), [2, 3], "layer 1: expected weight as a JSON object"),
    "weight N": (("program", "layers", 0, "weight", "N"), -1, "layer 1: expected N as an integer"),
    "weight N float": (("program", "layers", 0, "weight", "N"), 1.0, "layer 1: expected N as an integer"),
    "weight N list": (("program", "layers", 0, "weight", "N"), [1], "layer 1: expected N as an integer"),
    "negative weight": (("program", "layers", 0, "weight", "shape"), [-2, -3], "at most 4 positive integers"),
    "bool weight": (("program", "layers", 0, "weight", "shape"), [True, 6], "at most 4 positive integers"),
    "many dimensions": (("program", "layers", 0, "weight", "shape"), [1] * 10000, "at most 4 positive integers"),
    "gigabytes": (("program", "layers", 0, "weight", "shape"), [2**31 - 1] * 4, "layer 1: .* states in base 3 take"),
    "a state more": (("program", "layers", 0, "weight", "shape"), [11, 1], "take 3 bytes"),
    "other shape": (("program", "layers", 0, "weight", "shape"), [3, 2], "expects an input"),
    "threshold N": (("program", "layers", 1, "N"), 2, r"layer 2 \(Threshold\): expected thresholds as int32 \(2, 4\)"),
    "classes": (("program", "classes"), "ab", "expected classes as a list"),
    "class names": (("program", "classes"), ["a", {}], "class names as text, got"),
    "too many classes": (("program", "classes"), ["a", "b", "c"], "a class name for each of 2 logits, got 3"),
    "data": (("program", "data"), 3, "the name of a data set as text, got 3"),
    "data null": (("program", "data"), None, "the name of a data set, or no such key, got null"),
    "data control": (("program", "data"), "a\n", "the name of a data set in printable characters"),
    "no metadata": (("header", "__metadata__"), KeyError, "expected metadata as a JSON object, got None"),
    "metadata": (("header", "__metadata__"), {"gxnor": 1}, "a JSON text in the metadata"),
    "other metadata": (("header", "__metadata__"), {"format": "pt"}, "expected metadata with gxnor, got 'format'"),
    "missing tensor": (("header", "3.bias"), KeyError, "overlap or leave a gap|cut short or too long"),
    "tensor": (("header", "3.bias"), 3, "tensor '3.bias' as a JSON object"),
    "tensor key": (("header", "3.bias", "x"), 3, "tensor '3.bias' with dtype, shape, data_offsets"),
    "dtype": (("header", "3.bias", "dtype"), "F64", "expected one of U8, .* got 'F64'"),
    "dtype list": (("header", "3.bias", "dtype"), [], "expected one of U8"),
    "other dtype": (("header", "3.bias", "dtype"), "I32", "expected '3.bias' as F32"),
    "other rank": (("header", "3.bias", "shape"), [1, 2], "expected '3.bias' as F32 of 1 dimensions"),
    "float shape": (("header", "3.bias", "shape"), [2.0], "positive lengths within the file"),
    "huge shape": (("header", "3.bias", "shape"), [2**62, 2**62], "positive lengths within the file"),
    "wrapping shape": (("header", "3.bias", "shape"), [2**64 + 2], "positive lengths within the file"),
    "long shape": (("header", "3.bias", "shape"), [1] * 1000, "one or two positive lengths"),
    "no shape": (("header", "3.bias", "shape"), [], "one or two positive lengths"),
    "huge offsets": (("header", "3.bias", "data_offsets"), [0, 2**40], "two offsets within the file.*: cut short"),
    "negative offsets": (("header", "3.bias", "data_offsets"), [-8, 0], "two offsets within the file"),
    "swapped offsets": (("header", "3.bias", "data_offsets"), [8, 0], "does not take bytes 8 to 0"),
    "overlap": (("header", "3.scale", "data_offsets"), [0, 8], "overlap or leave a gap"),
}


@pytest.mark.parametrize("path,value,message", HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers_are_refused_at_no_cost(path, value, message):
    header, program, tensors = parts(file.encode(tiny()))
    set_at(path, value)(header, program)
    data = join(header, program if path[0] == "program" else None, tensors)
    tracemalloc.start()
    with pytest.raises(GxnorError, match=message) as error:
        parse(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "tensor,content,message",
    [
        ("1.weight", [243, 0], "layer 1: byte 243 is not a group of 5 states"),
        ("1.weight", [0, 3], "layer 1: packed states end in spare digits"),
        ("2.sign", [4], "layer 2: packed states end in spare bits"),
        ("2.thresholds", [1, 0, 0, 0], r"layer 2 \(Threshold\): expected thresholds that ascend"),
        ("3.scale", [0, 0, 0xC0, 0x7F], r"layer 3 \(Scale\): expected a finite scale"),
        ("3.scale", [0, 0, 0x80, 0x7F], r"layer 3 \(Scale\): expected a finite scale"),
        ("3.bias", [0, 0, 0x80, 0xFF], r"layer 3 \(Scale\): expected a finite bias"),
        ("3.scale", [0xFF, 0xFF, 0x7F, 0x7F], r"layer 3 \(Scale\): scale and bias can leave the range of float32"),
    ],
)
def test_hostile_tensors_are_refused(tensor, content, message):
    header, _, tensors = parts(file.encode(tiny()))
    start = header[tensor]["data_offsets"][0]
    tensors = tensors[:start] + bytes(content) + tensors[start + len(content) :]
    with pytest.raises(GxnorError, match=message):
        parse(join(header, None, tensors))


def test_a_tensor_of_no_layer_is_refused():
    header, _, tensors = parts(file.encode(tiny()))
    header["4.weight"] = {"dtype": "U8", "shape": [1], "data_offsets": [len(tensors), len(tensors) + 1]}
    with pytest.raises(GxnorError, match=r"tensor '4\.weight' belongs to no layer"):
        parse(join(header, None, tensors + b"\0"))


@pytest.mark.parametrize(
    "text,message",
    [
        (b"[" * 2**19, "not the JSON"),
        (b'{"a":' * 2**17, "not the JSON"),
        (b"[]", "the header as a JSON object"),
        (b'{"a":1,"a":1}', "a key comes twice"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not the JSON"),
        (b'{"\xff":1}', "not the JSON"),
        (b"{} {}", "not the JSON"),
    ],
)
def test_headers_that_are_no_json_are_refused(text, message):
    with pytest.raises(GxnorError, match=message):
        parse(join(text, None, b""))


@pytest.mark.parametrize("text", ["[" * 2**18, '{"version":1,"version":1}', '{"version":NaN}', "[]", ""])
def test_programs_that_are_no_json_are_refused(text):
    header, _, tensors = parts(file.encode(tiny()))
    with pytest.raises(GxnorError, match="the program"):
        parse(join(header, text, tensors))


def test_a_header_that_claims_gigabytes_is_refused():
    for claimed in (2**20 + 1, 2**30, 2**63, 2**64 - 1):
        with pytest.raises(GxnorError, match=f"a header of {claimed}"):
            parse(struct.pack("<Q", claimed) + b"{}" * 100)


def test_a_file_that_shrinks_while_it_is_read_is_refused():
    data = file.encode(tiny())
    with pytest.raises(GxnorError, match="became shorter"):
        file.read_stream(io.BytesIO(data[:-3]), len(data))


def read_or_refuse(data: bytes) -> None:
    """Whatever comes, a program or a GxnorError of one line; what is accepted, the safetensors library accepts too."""
    try:
        program = parse(data)
    except GxnorError as error:
        assert "\n" not in str(error)
    else:
        safetensors.numpy.load(data)
        assert_same(parse(file.encode(program)), program)


def test_every_changed_byte_is_read_or_refused():
    data = file.encode(tiny())
    for at in range(len(data)):
        for change in (1, 0x20, 0x80, 0xFF):
            read_or_refuse(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :])


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    read_or_refuse(data)
    read_or_refuse(struct.pack("<Q", len(data)) + data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def paths(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*path, key))


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.data())
def test_any_json_in_any_place_is_read_or_refused(data):
    program = random_program(data.draw(st.integers(0, 30), label="seed"))
    header, text, tensors = parts(file.encode(program))
    whole = {"header": {k: v for k, v in header.items() if k != "__metadata__"}, "program": text}
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([p for p in paths(whole) if len(p) > 1]))
        number = st.sampled_from([-1, 0, 1, 2, 3, 4, 7, 8, 255, 65535, 2**31 - 1, 2**63, 10**30])
        *keys, last = path
        entry = whole
        for key in keys:
            entry = entry[key]
        entry[last] = data.draw(number | json_values)
    changed = dict(whole["header"], __metadata__=header["__metadata__"]) if isinstance(whole["header"], dict) else {}
    try:
        mutated = join(changed, whole["program"], tensors)
    except (KeyError, UnicodeEncodeError):
        return
    read_or_refuse(mutated)
