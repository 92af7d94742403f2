"""Exported C, compiled on this machine: the logits of the reference interpreter on every bit, and no warning."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cores import CORES
from benchmarks.programs import Builder, batch, mnist, one_d, random_program, residual
from gxnor.errors import GxnorError
from gxnor.program import Add, Requantize, reference
from gxnor.targets import rest
from gxnor.targets.c import choice, costs, write
from gxnor.targets.lowering import lower
from tests.targets.host import WARNINGS, Compiled, compiler

SPACES = [(1, 1), (0, 0), (2, 2), (0, 2), (3, 1)]


def samples(program, size=4):
    """Random inputs, half of them with zeros; all zero; all equal."""
    x = batch(program, size)
    half = x[: size // 2]
    half[np.random.default_rng(1).random(half.shape) < 0.5] = 0
    top = 255 if program.input.space is None else program.input.space.size - 1
    return np.concatenate([x, np.zeros_like(x[:1]), np.full_like(x[:1], top)])


def agree(compiled: Compiled) -> None:
    x = samples(compiled.program)
    expected = reference.run(compiled.program, x)
    np.testing.assert_array_equal(compiled.logits(x), expected)
    assert compiled.predict(x) == expected.argmax(1).tolist()


@pytest.mark.parametrize("make", [mnist, residual, one_d])
@pytest.mark.parametrize("N1, N2", SPACES)
def test_networks(make, N1, N2, tmp_path):
    agree(Compiled(make(N1, N2), tmp_path))


@pytest.mark.parametrize("seed", range(24))
def test_any_mixture_of_layers(seed, tmp_path):
    agree(Compiled(random_program(seed), tmp_path))


def with_one_score_a_class(first: int, count: int) -> list[int]:
    """Seeds of programs with layers of every kind that do not give scores for every place."""
    seeds = (
        seed for seed in range(first, first + 4 * count) if len(random_program(seed, every=True).values[-1].shape) == 1
    )
    return list(seeds)[:count]


@pytest.mark.parametrize("seed", with_one_score_a_class(0, 24))
def test_any_mixture_of_layers_of_every_kind(seed, tmp_path):
    agree(Compiled(random_program(seed, every=True), tmp_path))


def test_rescaled_integers_are_rounded_down_on_both_sides_of_zero(tmp_path):
    """And their products need more than 32 bits."""
    net = Builder((1, 2, 2), seed=1)
    multiplier = np.array([2**30 + 7], np.int32)
    net.add(Requantize((0,), 29, multiplier, np.array([-(2**36) + 5], np.int64)), 1.0)
    net.flatten()
    compiled = Compiled(net.program(), tmp_path)
    x = np.array([[[[0, 127], [128, 255]]]], dtype=np.uint8)
    wide = [int(multiplier[0]) * (2 * int(p) - 255) - 2**36 + 5 for p in x.reshape(-1)]
    assert min(wide) < -(2**31) and max(wide) > 2**31
    np.testing.assert_array_equal(compiled.logits(x), reference.run(compiled.program, x))


def test_scores_for_every_place_are_refused(tmp_path):
    net = Builder((1, 4, 4))
    net.conv(3, 3)
    with pytest.raises(GxnorError, match=r"layer 2 \(Scale\): scores for every place"):
        write(net.program(), tmp_path / "out", name="net")


@pytest.mark.parametrize("seed", range(30, 42))
def test_states_at_rest_change_nothing(seed, tmp_path):
    """Whatever the samples are that say which states rest: here few, so that most channels rest elsewhere than at 0."""
    program = random_program(seed)
    agree(Compiled(program, tmp_path, samples=batch(program, 2, seed)))


@pytest.mark.parametrize("N", [0, 1])
def test_states_at_rest_beside_padding(N, tmp_path):
    """Padding is 0 and not at rest."""
    net = Builder((1, 7, 6), seed=N)
    net.conv(40, 3, padding=2)
    net.threshold(N)
    net.conv(33, 3, padding=(1, 3), stride=2, dilation=(2, 1))
    net.threshold(N)
    net.conv(3, (2, 4), padding=1)
    net.flatten()
    program = net.program()
    x = samples(program, 6)
    agree(Compiled(program, tmp_path, samples=x))
    rests = rest.states(lower(program), x)
    assert all(np.any(states) for states in rests.values())  # or this test tests nothing


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 65])
def test_odd_numbers_of_channels(channels, tmp_path):
    net = Builder((2, 9, 8), seed=channels)
    net.conv(channels, 3, padding=1)
    net.threshold()
    net.conv(channels, (2, 3), stride=(1, 2), padding=(0, 1))
    net.threshold(2)
    net.max_pool(2, ceil_mode=True)
    net.flatten()
    net.dense(channels)
    net.threshold()
    net.dense(3)
    agree(Compiled(net.program(), tmp_path))


@pytest.mark.parametrize("outputs", [1, 16, 17])
@pytest.mark.parametrize("N1, N2", [(0, 0), (1, 1), (0, 1), (1, 2), (2, 1)])
def test_few_outputs(outputs, N1, N2, tmp_path):
    """The last layer by bit planes or by events."""
    net = Builder((3, 5, 5), N2, seed=outputs)
    net.conv(outputs, 3, N1, padding=1, stride=2)
    net.flatten()
    agree(Compiled(net.program(), tmp_path))


def test_another_compiler_and_the_smallest_code(tmp_path):
    agree(Compiled(residual(), tmp_path, "-Os", using="clang"))


@pytest.mark.parametrize("seed", range(24, 30))
def test_no_undefined_behaviour(seed, tmp_path):
    """Under the address and the undefined-behaviour sanitizers, which stop the process."""
    program = mnist() if seed == 24 else random_program(seed)
    write(program, tmp_path, name="net")
    x = samples(program)
    size, classes = int(np.prod(program.input.shape)), len(program.classes)
    (tmp_path / "main.c").write_text(
        f"""#include <stdio.h>
#include "net.h"
int main(void) {{
    static uint8_t in[{size}];
    float logits[{classes}];
    while (fread(in, 1, sizeof in, stdin) == sizeof in) {{
        net_logits(in, logits);
        fwrite(logits, sizeof logits[0], {classes}, stdout);
    }}
    return 0;
}}
"""
    )
    call = [compiler(), *WARNINGS, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "net.c"]
    done = subprocess.run([*call, "main.c", "-o", "net"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([tmp_path / "net"], input=x.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    logits = np.frombuffer(done.stdout, dtype=np.float32).reshape(-1, classes)
    np.testing.assert_array_equal(logits, reference.run(program, x))


def test_what_is_written_depends_on_the_program_alone(tmp_path):
    write(mnist(), tmp_path / "one", name="net")
    write(mnist(), tmp_path / "two", name="net")
    for file in ("net.c", "net.h"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("name", ["2net", "net-1", "", "a" * 50, "_net", "nét"])
def test_names_that_c_does_not_know_are_refused(name, tmp_path):
    with pytest.raises(GxnorError, match="expected a C identifier"):
        write(mnist(), tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["double", "class", "main"])
def test_words_of_c_are_refused(name, tmp_path):
    with pytest.raises(GxnorError, match=rf"expected a name of your own, got '{name}', a word of C or C\+\+"):
        write(mnist(), tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()


def test_the_folder_names_the_network(tmp_path):
    assert "digit.c" in write(mnist(), tmp_path / "digit")
    assert sorted(path.name for path in (tmp_path / "digit").iterdir()) == ["digit.c", "digit.h"]


@pytest.mark.parametrize("make", [mnist, residual])
def test_ram_is_what_is_said(make, tmp_path):
    """To the byte: the sizes of all static variables in the compiled object."""
    said = write(make(), tmp_path, name="net")
    subprocess.run([compiler(), "-c", "-Os", "net.c"], cwd=tmp_path, check=True)
    names = subprocess.run(["nm", "-S", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    sizes = [int(size, 16) for size in re.findall(r"^\w+ (\w+) [bB] ", names, re.M)]
    assert f" {sum(sizes):,} bytes of RAM" in said
    assert f"#define NET_ARENA {sum(sizes)} " in (tmp_path / "net.h").read_text()


def test_every_core_is_told_and_samples_lower_the_estimate(tmp_path):
    program = mnist()
    quiet = np.zeros((3, 1, 28, 28), dtype=np.uint8)
    told = [write(program, tmp_path, name="net", samples=samples) for samples in (None, quiet)]
    instructions = []
    for text in told:
        rows = dict(re.findall(r"^(\w+) +[\d,]+ +([\d,]+)$", text, re.M))
        assert rows.keys() == CORES.keys()
        instructions.append(int(rows["M4"].replace(",", "")))
    assert "--data NAME" in told[0] and "--data NAME" not in told[1]
    assert instructions[1] < instructions[0] / 2


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "net").write_text("mine")
    with pytest.raises(GxnorError, match="expected the name of a folder"):
        write(mnist(), tmp_path / "net")
    with pytest.raises(GxnorError, match="cannot be made"):
        write(mnist(), tmp_path / "net" / "inner", name="net")
    assert (tmp_path / "net").read_text() == "mine"


def test_a_network_beyond_the_arena_is_refused(tmp_path):
    with pytest.raises(GxnorError, match=r"expected a network that runs in 1,000 bytes of RAM, got one that needs \d"):
        write(mnist(), tmp_path / "out", name="net", arena=1000)
    assert not (tmp_path / "out").exists()


def test_a_layer_beyond_the_kernels_is_named(tmp_path):
    net = Builder((1, 4), 1)
    net.max_pool(1, 40_000)
    net.flatten()
    with pytest.raises(GxnorError, match=r"layer 1 \(MaxPool\): expected no number beyond 32767"):
        write(net.program(), tmp_path / "out", name="net")


def test_a_kind_of_layer_that_lowering_does_not_know_is_named(tmp_path, monkeypatch):
    from gxnor.targets import lowering

    class Other(Add):
        pass

    monkeypatch.setattr(lowering, "Add", Other)
    with pytest.raises(GxnorError, match=r"layer \d+ \(Add\): no stage does what it does"):
        write(residual(), tmp_path / "out", name="net")


def test_class_names_cannot_leave_their_comment(tmp_path):
    import dataclasses

    program = dataclasses.replace(mnist(), classes=("*/ int x; /*", "\\", *"23456789"))
    agree(Compiled(program, tmp_path))


def test_every_kernel_has_its_costs_on_every_core():
    parts = {path.stem for path in (Path(costs.__file__).parent / "kernels").glob("*.c")}
    assert list(costs.cores()) == list(CORES)
    for core in costs.cores():
        assert costs.table()[core]["code"].keys() == parts | {"each call"}
    for program in (
        mnist(),
        residual(),
        one_d(),
        *(random_program(seed, every=True) for seed in with_one_score_a_class(0, 9)),
    ):
        plan = choice.plan(program, None)
        for core in costs.cores():
            assert all(number > 0 for number in costs.instructions(plan, costs.expected(plan, None), core))
