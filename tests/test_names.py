"""Names of classes: what a program would refuse after the training is refused with the data, and emoji are names."""

import os

import numpy as np
import pytest
from PIL import Image

import gxnor
from benchmarks.programs import Builder
from gxnor.data import Dataset, load
from gxnor.errors import GxnorError, WorkError
from gxnor.names import wrong_character
from gxnor.program import Program, file
from gxnor.program.reference import run

NAMES = [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "caf\u00e9 cr\u00e8me", "no\u00a0break", "soft\u00adhyphen", "\u732b", "[red]:smile:", "", " ", "\U0001fae9",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
]  # fmt: skip
WRONG = {"tab\t": "U+0009", "two\nlines": "U+000A", "\x1b[31m": "U+001B", "c1 \x9b": "U+009B", "\x7f": "U+007F",
         "turned \u202e": "U+202E", "line\u2028": "U+2028", "half \ud83d": "U+D83D"}  # fmt: skip


def program(classes) -> Program:
    net = Builder((3,))
    net.dense(len(classes))
    made = net.program()
    return Program(made.input, made.layers, tuple(classes))


# turicreate#419
@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_script_and_joined_emoji_go_through_data_program_and_file(name, tmp_path):
    image, label = np.zeros((1, 1, 2, 2), np.uint8), np.zeros(1, np.int64)
    assert name in Dataset("mine", image, label, image, label, (name, "other")).classes
    program([name, "other"]).save(tmp_path / "net.gxnor")
    assert gxnor.load(tmp_path / "net.gxnor").classes == (name, "other")


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_no_program_could_carry_is_refused_with_the_data_and_said(name):
    image, label = np.zeros((1, 1, 2, 2), np.uint8), np.zeros(1, np.int64)
    assert wrong_character(name) == WRONG[name]
    with pytest.raises(WorkError) as error:
        Dataset("mine", image, label, image, label, ("cat", name))
    assert repr(name) in str(error.value) and WRONG[name] in str(error.value)
    with pytest.raises(GxnorError) as error:
        program(["cat", name])
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\xfe", b"ab\x80", b"tab\t", b"line\n"])
def test_a_class_folder_whose_name_is_no_text_is_refused_before_its_images_are_read(name, tmp_path):
    for part in ("train", "test"):
        for label in (b"cat", name):
            try:
                os.makedirs(os.path.join(os.fsencode(tmp_path / part), label))
            except OSError:
                pytest.skip("this file system has no such names")
    Image.new("L", (4, 4)).save(tmp_path / "train/cat/1.png")
    with pytest.raises(WorkError, match=r"the name of the class .* which a program's names may not"):
        load("folder", path=tmp_path)


def layers(count: int) -> Program:
    net = Builder((1,), N=1)
    for _ in range(count):
        net.dense(1)
        net.threshold()
    net.dense(2)
    return net.program()


# safetensors#668
@pytest.mark.parametrize(
    "make",
    [
        lambda: program([f"class {number} " + 200 * "n" for number in range(1000)]),
        lambda: program([str(number) + 40_000 * "x" for number in range(20)]),
        lambda: program([str(number) + 4_000 * "\u732b" for number in range(30)]),
        lambda: program([str(number) + 4_000 * '"\\' for number in range(60)]),
        lambda: layers(1000),
        lambda: layers(6000),
    ],
)
def test_whatever_is_saved_can_be_loaded_and_the_rest_is_refused(make, tmp_path):
    made, path = make(), tmp_path / "net.gxnor"
    try:
        file.save(made, path)
    except GxnorError as error:
        assert "could not be read again" in str(error) and not path.exists()
        return
    read = file.read(path)
    assert read.classes == made.classes and len(read.layers) == len(made.layers)
    x = np.zeros((1, *made.input.shape), np.uint8)
    np.testing.assert_array_equal(run(read, x), run(made, x))
