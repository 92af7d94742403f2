"""Arrows between the parts of the house run downwards only: of Python's imports and of the native code's includes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the ground up. A part imports from the floors below its own; never from above, nor from beside.
FLOORS = (
    {"version", "machine", "errors", "space", "names", "pixels"},
    {"native", "writing", "image_files", "locking", "pretrained"},
    {"packing"},
    {"program", "nn", "data"},
    {"runtime", "analysis", "optim", "exporter"},
    {"targets"},
    {"training"},
    {"cli"},
    {"gxnor", "__main__"},
    {"experiments"},
    {"benchmarks"},
)
NEEDS_TORCH = {"nn", "optim", "exporter", "training"}
NATIVE = {
    "common": {"common"},
    "kernels": {"common", "kernels"},
    "engine": {"common", "kernels", "engine"},
    "training": {"common", "kernels", "engine", "training"},  # the products in integers take the engine's Winograd
    "bench": {"common", "kernels"},
}


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module(path): path for top in ("gxnor", "experiments", "benchmarks") for path in (ROOT / top).rglob("*.py")}


def part(name: str) -> str:
    """The part that a module belongs to: the folder or file below gxnor/, or the folder beside it."""
    top, _, below = name.partition(".")
    return below.partition(".")[0] if top == "gxnor" and below else top


def imports(name: str, nodes: Iterable[ast.AST] | None = None) -> Iterator[str]:
    """The modules that a module imports, at its top or where it uses them, or those that `nodes` of it import."""
    for node in ast.walk(ast.parse(FILES[name].read_text())) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in FILES else str(node.module)


def arrows() -> list[tuple[str, str]]:
    return [(name, other) for name in FILES for other in imports(name)]


def test_every_part_has_a_floor():
    assert {part(name) for name in FILES} - {"recipes"} <= set().union(*FLOORS)


def test_imports_run_downwards():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    for name, other in arrows():
        if other in FILES and part(other) != part(name):
            assert floor[part(other)] < floor[part(name)], f"{name} imports {other}"


def test_no_modules_import_each_other_in_a_circle():
    """At their tops. Within a part, a function may import what is built on its own module."""
    trees = {name: ast.parse(path.read_text()).body for name, path in FILES.items()}
    graph = {name: {other for other in imports(name, body) if other in FILES} for name, body in trees.items()}
    list(TopologicalSorter(graph).static_order())


def test_what_works_without_pytorch_does_not_import_it():
    for name, other in arrows():
        if name.startswith("gxnor.") and part(name) not in NEEDS_TORCH | {"cli"}:
            assert other.partition(".")[0] != "torch", f"{name} imports {other}"
            assert part(other) not in NEEDS_TORCH or not other.startswith("gxnor"), f"{name} imports {other}"


def test_nothing_imports_from_the_tests():
    for name, other in arrows():
        assert other.partition(".")[0] != "tests", f"{name} imports {other}"


@pytest.mark.parametrize("room", NATIVE)
def test_includes_run_downwards(room):
    for path in (ROOT / "native" / room).iterdir():
        for included in re.findall(r'#include "(.*?)"', path.read_text()):
            assert (ROOT / "native" / included).exists(), f"{path} includes {included}"
            assert included.partition("/")[0] in NATIVE[room], f"{path} includes {included}"


def test_every_native_file_has_a_room():
    sources = [path for pattern in ("native/*/*.cpp", "native/*/*.h") for path in ROOT.glob(pattern)]
    assert {path.parent.name for path in sources} == NATIVE.keys()
