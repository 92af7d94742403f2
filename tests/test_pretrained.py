"""Networks that come with the package are there by name, and do what their cards say."""

import re
from pathlib import Path

import pytest

import gxnor
from gxnor import data, native, pretrained
from gxnor.errors import GxnorError


def test_every_network_has_a_card_that_says_how_to_make_it_again():
    assert "digits" in pretrained.names()
    for name in pretrained.names():
        assert f"gxnor train {name}" in pretrained.card(name)


@pytest.mark.skipif(native.library() is None, reason="the native library is not built")
def test_the_network_for_the_digits_has_the_accuracy_on_its_card():
    pytest.importorskip("sklearn")
    dataset = data.load("digits")
    accuracy = (gxnor.load("digits").predict(dataset.test_images) == dataset.test_labels).mean()
    assert f"{100 * accuracy:.2f}" == re.search(r"test accuracy \| ([\d.]+) %", pretrained.card("digits"))[1]


def test_a_file_of_that_name_comes_first_and_unknown_names_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GxnorError, match=r"no file 'digit', nor a network .* expected a path, or one of .*digits"):
        gxnor.load("digit")
    assert pretrained.find("digits").parent != Path(".")
    (tmp_path / "digits").write_bytes(b"mine")
    assert pretrained.find("digits") == Path("digits")
    assert pretrained.find("folder/digits") == Path("folder/digits")
