"""Runs and the programs exported from them, through the command line: the same predictions, and what is refused."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gxnor.cli import main as cli
from gxnor.data import load as load_data
from gxnor.exporter import export
from gxnor.nn.networks import network
from gxnor.program import file, reference
from gxnor.runtime.engine import Engine
from gxnor.training.loop import export_run, train
from gxnor.training.loop import test_run as evaluate_run


def test_a_run_and_its_exported_file_predict_the_same(tiny, tmp_path, capsys):
    """Real digits, through the command line, and by the reference."""
    run, out = str(tmp_path / "run"), str(tmp_path / "digits.gxnor")
    train(tiny("train.epochs=6"), tmp_path / "run")
    capsys.readouterr()
    assert cli.main(["export", run, "-o", out]) == 0
    assert "weights in" in capsys.readouterr().out
    results = []
    for path in (run, out):
        assert cli.main(["eval", path, "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["predictions"] == results[1]["predictions"] and len(results[0]["predictions"]) == 359
    assert results[0]["test_accuracy"] == results[1]["test_accuracy"] > 0.5
    program = file.read(out)
    assert program.data == "digits"
    images = load_data("digits").test_images
    assert reference.run(program, images).argmax(1).tolist() == results[0]["predictions"]
    script = "import sys; from gxnor.cli import main as cli; "
    script += f"sys.exit(cli.main(['eval', {out!r}]) or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)  # needs no PyTorch
    assert done.returncode == 0 and done.stdout == f"{100 * results[1]['test_accuracy']:.2f} % of 359 test images\n", (
        done.stderr
    )


@pytest.mark.parametrize("weights, activations, latent", [(0, 0, "false"), (1, 1, "true"), (3, 2, "false")])
def test_special_cases_predict_the_same(tiny, tmp_path, weights, activations, latent):
    recipe = tiny(f"precision.weights={weights}", f"precision.activations={activations}", f"precision.latent={latent}",
                  "train.epochs=1")  # fmt: skip
    train(recipe, tmp_path / "run")
    images = load_data("digits").test_images
    expected = evaluate_run(tmp_path / "run").predicted.numpy()
    program = export_run(tmp_path / "run")
    assert np.array_equal(reference.run(program, images).argmax(1), expected)
    assert np.array_equal(Engine(program).run(images).argmax(1), expected)


@pytest.mark.parametrize("shortcuts", [0, 5])
@pytest.mark.filterwarnings("ignore:.*nearly tie")
def test_a_residual_network_from_a_recipe_predicts_the_same(tiny, tmp_path, shortcuts):
    settings = ["network.layers=8C3-8R3-16D3-AP-10", f"precision.shortcuts={shortcuts}"]
    train(tiny(*settings, "train.epochs=1"), tmp_path / "run")
    images = load_data("digits").test_images
    program = export_run(tmp_path / "run")
    assert np.array_equal(Engine(program).run(images), reference.run(program, images))
    assert np.array_equal(Engine(program).run(images).argmax(1), evaluate_run(tmp_path / "run").predicted.numpy())


def test_a_run_that_cannot_be_exported_writes_nothing(tiny, tmp_path, capsys):
    train(tiny("precision.activations=real", "train.epochs=1"), tmp_path / "run")
    capsys.readouterr()
    out = tmp_path / "net.gxnor"
    assert cli.main(["export", str(tmp_path / "run"), "-o", str(out)]) == 2
    errors = capsys.readouterr().err
    assert (
        all(f"act{i}: ReLU is a real activation, which only the end may have" in errors for i in (1, 2))
        and "Traceback" not in errors
    )
    assert not out.exists() and [p.name for p in tmp_path.iterdir()] == ["run"]
    assert cli.main(["export", str(tmp_path), "-o", str(out)]) == 2
    assert "recipe.toml is missing" in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path / "nix.gxnor"), "-o", str(out)]) == 2
    assert "there is neither a file nor a folder" in capsys.readouterr().err


def test_eval_of_a_file_that_does_not_fit_its_data_is_refused(tmp_path, capsys):
    program = export(network("10", (1, 8, 8)), (1, 8, 8), [str(i) for i in range(10)])
    for changed, words in (
        ({}, "does not say which data"),
        ({"data": "moon"}, "no data set 'moon'"),
        ({"data": "digits", "classes": tuple("abcdefghij")}, "knows other classes than digits"),
    ):
        file.save(dataclasses.replace(program, **changed), tmp_path / "net.gxnor")
        assert cli.main(["eval", str(tmp_path / "net.gxnor")]) == 2
        assert words in capsys.readouterr().err
    other = export(network("10", (1, 7, 9)), (1, 7, 9), [str(i) for i in range(10)])
    file.save(dataclasses.replace(other, data="digits"), tmp_path / "net.gxnor")
    assert cli.main(["eval", str(tmp_path / "net.gxnor")]) == 2
    assert "images of (1, 8, 8)" in capsys.readouterr().err


def test_a_network_for_a_folder_of_images(tiny, tmp_path, capsys):
    images = load_data("digits").train_images[:80, 0]
    for number, image in enumerate(images):
        folder = tmp_path / "images" / ("test" if number >= 60 else "train") / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    recipe = tiny("data.name=folder", f"data.path={tmp_path / 'images'}", "data.size=[9, 7]", "data.validation=10",
                  "network.layers=4C3-2", "train.batch=10", "train.batch_growth=1", "train.epochs=1")  # fmt: skip
    train(recipe, tmp_path / "run")
    out = str(tmp_path / "net.gxnor")
    assert cli.main(["export", str(tmp_path / "run"), "-o", out]) == 0
    assert str(tmp_path).encode() not in (tmp_path / "net.gxnor").read_bytes()  # the file tells no paths
    capsys.readouterr()
    assert cli.main(["eval", out, "--data-dir", str(tmp_path / "images"), "--json"]) == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    assert predictions == evaluate_run(tmp_path / "run").predicted.tolist() and len(predictions) == 20
    assert cli.main(["eval", out]) == 2
    assert "--data-dir DIR" in capsys.readouterr().err
    assert cli.main(["inspect", out, "--data", "folder"]) == 2
    assert "--data-dir DIR" in capsys.readouterr().err
    assert cli.main(["inspect", out, "--data", "folder", "--data-dir", str(tmp_path / "images")]) == 0
    (tmp_path / "images").rename(tmp_path / "moved")  # a run looks where it is told to
    assert cli.main(["eval", str(tmp_path / "run"), "--data-dir", str(tmp_path / "images")]) == 1
    assert "cannot read" in capsys.readouterr().err
    assert cli.main(["eval", str(tmp_path / "run"), "--data-dir", str(tmp_path / "moved"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == predictions
    for part in ("train", "test"):
        (tmp_path / "moved" / part / "0").rename(tmp_path / "moved" / part / "other")
    assert cli.main(["eval", str(tmp_path / "run"), "--data-dir", str(tmp_path / "moved")]) == 2
    assert "knows other classes than the data" in capsys.readouterr().err
