import argparse
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.programs import Builder, batch, cifar, mnist
from gxnor.analysis import energy, events
from gxnor.cli import eval, inspect, run
from gxnor.errors import GxnorError
from gxnor.program import Program, file
from gxnor.runtime.network import Network
from tests.data.test_idx import write
from tests.runtime.test_network import in_a_bare_process

GRAY = mnist()


def call(*arguments) -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    run.add_parser(commands)
    inspect.add_parser(commands)
    eval.add_parser(commands)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    parsed.main(parsed)


@pytest.fixture
def folder(tmp_path):
    file.save(GRAY, tmp_path / "net.gxnor")
    for i, image in enumerate(batch(GRAY, 3)):
        Image.fromarray(image[0]).save(tmp_path / f"{i}.png")
    return tmp_path


@pytest.fixture
def data(monkeypatch):
    """A data set of random images instead of those on disk; gives the test images."""
    loaders = pytest.importorskip("gxnor.data")
    images = batch(GRAY, 300, seed=1)

    class Images:
        test_images, test_labels, classes = images, np.zeros(300, np.int64), GRAY.classes

    monkeypatch.setattr(loaders, "load", lambda name, folder: Images)
    return images


def test_run_prints_class_and_score(folder, capsys):
    call("run", folder / "net.gxnor", folder / "0.png", folder / "2.png")
    lines = capsys.readouterr().out.splitlines()
    logits = Network(GRAY).logits(batch(GRAY, 3))
    assert len(lines) == 3
    for line, row, name in zip(lines[1:], logits[[0, 2]], ("0.png", "2.png"), strict=True):
        assert line.split() == [str(folder / name), str(row.argmax()), f"{row.max():.3f}"]


def test_run_prints_json(folder, capsys):
    (folder / "net.gxnor").rename(folder.parent / "net.gxnor")
    call("run", folder.parent / "net.gxnor", folder, "--json")
    rows = json.loads(capsys.readouterr().out)
    logits = Network(GRAY).logits(batch(GRAY, 3))
    assert [row["index"] for row in rows] == logits.argmax(axis=1).tolist()
    np.testing.assert_array_equal(np.array([row["logits"] for row in rows], dtype=np.float32), logits)
    assert [row["class"] for row in rows] == [GRAY.classes[row["index"]] for row in rows]


def test_run_cuts_no_name(folder, capsys):
    name = folder / ("long" * 50 + "[red]:smile:.png")
    (folder / "0.png").rename(name)
    call("run", folder / "net.gxnor", name)
    assert str(name) in capsys.readouterr().out


def test_run_says_which_input_is_wrong(folder):
    with pytest.raises(GxnorError, match=r"missing\.png: cannot be read"):
        call("run", folder / "net.gxnor", folder / "0.png", folder / "missing.png")


def test_inspect_prints_layers_and_the_size_of_the_file(folder, capsys):
    call("inspect", folder / "net.gxnor")
    text, size = capsys.readouterr().out, (folder / "net.gxnor").stat().st_size
    assert "32x24x24" in text and "Z_1 512x1024" in text and "1.600" in text
    assert f"581,408 weights; file {size:,} bytes, {8 * size / 581_408:.3f} bits per weight" in text
    assert "no sum beyond 6,375" in text


def test_inspect_prints_events_on_data(folder, data, capsys):
    call("inspect", folder / "net.gxnor", "--data", "mnist", "--samples", 20)
    text, counted = capsys.readouterr().out, events.count(GRAY, data[:20])
    assert "Events on 20 samples of mnist" in text and "55.6 %" in text and "ISSCC 2014" in text
    for row in (*counted.layers, counted.total):
        for number in (row.macs, row.fired, row.active_neurons):
            assert f"{number / 20:,.0f}" in text
        assert f"{100 * row.resting:.1f} %" in text
    for name in energy.counterparts(counted):
        assert name in text


@pytest.fixture
def own(tmp_path):
    """A program with classes of the user's own, and samples as arrays, in class folders, and in a plain folder; with what
    the program says of them."""
    program = Program(GRAY.input, GRAY.layers, tuple(f"kind {letter}" for letter in "abcdefghij"))
    x = batch(GRAY, 20)
    predicted = Network(program).predict(x)
    file.save(program, tmp_path / "net.gxnor")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.where(np.arange(20) < 5, (predicted + 1) % 10, predicted))  # 15 of 20 are right
    for number, (image, label) in enumerate(zip(x, np.load(tmp_path / "y.npy"), strict=True)):
        for place in (f"sorted/{program.classes[label]}", f"split/test/{program.classes[label]}", "plain"):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(tmp_path / place / f"{number:02}.png")
    (tmp_path / "plain" / "Thumbs.db").write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    "samples",
    [("x.npy", "--labels", "y.npy"), ("sorted",), ("split",), ("split/test",), ("plain", "--labels", "y.npy")],
)
def test_eval_of_a_users_own_program_on_a_users_own_samples(own, samples, capsys, monkeypatch):
    monkeypatch.chdir(own)
    call("eval", "net.gxnor", "--data", *samples)
    assert capsys.readouterr().out == "75.00 % of 20 test images\n"


@pytest.mark.parametrize("samples", ["x.npy", "sorted", "split", "plain"])
def test_inspect_counts_events_on_a_users_own_samples(own, samples, capsys, monkeypatch):
    monkeypatch.chdir(own)
    call("inspect", "net.gxnor", "--data", samples, "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["events"]["total"] == events.count(GRAY, np.load("x.npy")).to_json()["total"]
    call("inspect", "net.gxnor", "--data", samples)
    assert f"Events on 20 samples of {samples};" in capsys.readouterr().out


def test_eval_of_a_users_own_program_on_a_data_set_by_name(folder, data, capsys):
    call("eval", folder / "net.gxnor", "--data", "mnist")
    expected = (Network(GRAY).predict(data) == 0).mean()
    assert capsys.readouterr().out == f"{100 * expected:.2f} % of 300 test images\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("x.npy",), r"x\.npy does not say of which classes its samples are: give --labels"),
        (("plain",), "plain does not say of which classes"),
        (("nowhere",), "there is no data set and no path 'nowhere': choose one of digits"),
        (("x.npy", "--labels", "x.npy"), r"--labels x\.npy: expected 20 integers, got uint8 \(20, 1, 28, 28\)"),
        (("x.npy", "--labels", "none.npy"), r"--labels none\.npy: No such file"),
        (("x.npy", "--labels", "far.npy"), r"--labels far\.npy: expected 0 to 9, got 0 to 19"),
        (("sorted", "--labels", "y.npy"), "the folders in sorted are labels"),
        (
            ("strange",),
            r"strange/other is not a class of the training images \(kind a, .*kind j\): rename or remove it",
        ),
        (("sorted", "--data-dir", "."), "--data sorted is a path already"),
    ],
)
def test_eval_refuses_samples_that_do_not_suit(own, arguments, message, monkeypatch):
    monkeypatch.chdir(own)
    np.save("far.npy", np.arange(20))
    (own / "strange" / "other").mkdir(parents=True)
    with pytest.raises(GxnorError, match=message):
        call("eval", "net.gxnor", "--data", *arguments)


def test_inspect_prints_json(folder, data, capsys):
    call("inspect", folder / "net.gxnor", "--data", "mnist", "--json")
    result, counted = json.loads(capsys.readouterr().out), events.count(GRAY, data[: inspect.SAMPLES])
    assert result["events"] == json.loads(json.dumps(counted.to_json()))
    assert result["sizes"]["disk"] == (folder / "net.gxnor").stat().st_size
    assert result["sizes"]["disk_bits"] == 8 * result["sizes"]["disk"] / 581_408
    assert result["energy"]["networks"].keys() == energy.counterparts(counted).keys()


def test_inspect_draws(folder, data, capsys):
    pytest.importorskip("matplotlib")
    picture = folder / "events.png"
    call("inspect", folder / "net.gxnor", "--data", "mnist", "--samples", 2, "--picture", picture)
    with Image.open(picture) as image:
        assert image.width > 500


@pytest.mark.parametrize(
    "options,message",
    [
        (("--picture", "x.png"), "add --data NAME"),
        (("--samples", "3"), "add --data NAME"),
        (("--data-dir", "somewhere"), "add --data NAME"),
        (("--data", "nothing", "--picture", "x.doc"), "x.doc: expected a picture of type png, svg, pdf"),
        (("--data", "mnist", "--samples", "0"), "--samples of at least 1, got 0"),
    ],
)
def test_inspect_refuses(folder, data, options, message):
    with pytest.raises(GxnorError, match=message):
        call("inspect", folder / "net.gxnor", *options)


def test_inspect_refuses_data_of_another_shape(folder, data):
    file.save(cifar(width=8), folder / "colour.gxnor")
    with pytest.raises(GxnorError, match=r"an input of \(3, 32, 32\), mnist has images of \(1, 28, 28\)"):
        call("inspect", folder / "colour.gxnor", "--data", "mnist")


def test_inspect_of_a_program_without_weights_or_products(folder, data, capsys):
    flat = Builder((1, 28, 28))
    flat.flatten()
    file.save(flat.program(), folder / "flat.gxnor")
    call("inspect", folder / "flat.gxnor")
    assert "0 weights; file " in capsys.readouterr().out
    padded = Builder((1, 28, 28))
    padded.conv(4, 1, stride=100, padding=4)  # the only window that fits lies in the padding
    padded.flatten()
    file.save(padded.program(), folder / "padded.gxnor")
    call("inspect", folder / "padded.gxnor", "--data", "mnist", "--samples", 2, "--json")
    assert json.loads(capsys.readouterr().out)["events"]["total"]["resting"] == 1


def test_both_commands_work_without_pytorch(folder):
    code = """
        from gxnor.cli.main import main
        sys.exit(main())
    """
    images = write(folder / "mnist")
    on_data = ["inspect", folder / "net.gxnor", "--data", "mnist", "--data-dir", images]
    for arguments in (["run", folder / "net.gxnor", folder / "0.png"], ["inspect", folder / "net.gxnor"], on_data):
        done = in_a_bare_process(code, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert "Events on 5 samples of mnist" in done.stdout
