"""The one door to the native library repeats what the headers declare, and can be closed."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gxnor import native
from gxnor.errors import WorkError
from gxnor.runtime import engine

NATIVE = Path(__file__).parent.parent / "native"
HEADERS = ("common/gxnor.h", "engine/engine.h", "training/training.h")
TYPES = {
    "void": None,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "const char*": ctypes.c_char_p,
}
STRUCTS = {
    "gxnor_layer": native.Layer,
    "gxnor_input": native.Input,
    "gxnor_phi": native.Phi,
    "gxnor_pool": native.Pool,
    "gxnor_levels": native.Levels,
    "gxnor_code": native.Code,
    "gxnor_adam_settings": native.AdamSettings,
    "gxnor_rule": native.Rule,
    "gxnor_int_conv": native.IntConv,
}


INTERFACE = re.sub(r"//.*", "", "\n".join((NATIVE / header).read_text() for header in HEADERS))


def ctype(of: str):
    """What ctypes calls a type of C."""
    return TYPES[of] if of in TYPES else ctypes.c_void_p if of.endswith("*") else pytest.fail(f"unknown type {of}")


def argument(declared: str):
    return ctype(re.sub(r"\s*\w+$", "", declared.strip()))


def declared_functions() -> dict[str, tuple]:
    found = re.findall(r"GXNOR_API\s+([\w ]+?\*?)\s*(\w+)\(([^)]*)\);", INTERFACE)
    return {name: (ctype(result), *map(argument, arguments.split(","))) for result, name, arguments in found}


def declared_structs() -> dict[str, tuple]:
    structs = {}
    for name, body in re.findall(r"struct (gxnor_\w+) \{(.*?)\};", INTERFACE, re.DOTALL):
        fields = []
        for kind, names in re.findall(r"((?:const )?\w+\*?) ([^;]+);", body):
            for field, size in re.findall(r"(\w+)(?:\[(\d+)\])?", names):
                fields.append((field, ctype(kind) * int(size) if size else ctype(kind)))
        structs[name] = tuple(fields)
    return structs


def enumerators(name: str) -> list[str]:
    body = re.search(rf"enum {name} \{{(.*?)\}};", INTERFACE, re.DOTALL)[1]
    return re.findall(r"GXNOR_(\w+)", body)


def test_every_signature_is_that_of_the_headers():
    assert declared_functions() == native.SIGNATURES


def test_every_struct_is_that_of_the_headers():
    assert declared_structs() == {name: struct._fields_ for name, struct in STRUCTS.items()}


def test_what_the_library_shows_is_declared_in_these_headers_alone():
    others = (path for room in ("common", "kernels", "engine", "training") for path in (NATIVE / room).iterdir())
    shown = {str(path.relative_to(NATIVE)) for path in others if "GXNOR_API" in path.read_text()}
    assert shown == set(HEADERS)


def test_numbers_are_those_of_the_headers():
    kinds = [kind.__name__.lower() for kind in engine._KINDS]
    assert kinds == [name.replace("_", "").lower() for name in enumerators("gxnor_kind")]
    kernels = [name.lower().replace("_", "-") for name in enumerators("gxnor_kernel")]
    assert kernels == ["choose", *engine.KERNELS[1:]]


def test_gxnor_pure_closes_the_door():
    code = "from gxnor import native; print(native.library())"
    for pure, expected in (("1", "None"), ("0", repr(native.library())[:5])):
        environment = {**os.environ, "GXNOR_PURE": pure}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(expected)


@pytest.fixture
def another_library(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "PATH", tmp_path / "_native.so")
    native.library.cache_clear()
    yield native.PATH
    native.library.cache_clear()


def test_a_library_that_cannot_be_opened_is_an_error(another_library):
    another_library.write_bytes(b"not a library")
    with pytest.raises(WorkError, match=r"cannot be opened: .*GXNOR_PURE=1"):
        native.library()


@pytest.mark.skipif(native.library() is None, reason="the native library is not built")
def test_a_library_of_another_version_is_an_error(another_library, monkeypatch):
    another_library.symlink_to(Path(native.__file__).with_name("_native.so"))
    monkeypatch.setitem(native.SIGNATURES, "gxnor_of_tomorrow", (None,))
    with pytest.raises(WorkError, match=r"of another version, it lacks gxnor_of_tomorrow; .*GXNOR_PURE=1"):
        native.library()


def test_a_missing_library_is_none(another_library):
    assert native.library() is None
