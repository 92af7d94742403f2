"""The tables and pages of the repository are those that the stored results give."""

import argparse
import json
from itertools import pairwise

import pytest

from experiments import accuracies, tables
from experiments.again import again_by
from experiments.definitions import STUDIES
from gxnor.errors import GxnorError
from gxnor.training import recipes
from tests.scripts import ROOT, load


@pytest.fixture(scope="module")
def results():
    return load("results", "experiments")


@pytest.mark.parametrize("name", ["README.md", "docs/engine.md"])
def test_the_tables_show_the_stored_results(results, name):
    text = (ROOT / name).read_text()
    assert tables.write_tables(text) == text, "run: python -m experiments results write"


@pytest.mark.parametrize("form", ["full", "quick"])
def test_the_results_pages_show_the_stored_results(results, form):
    name, text = {"full": ("results.md", results.page.text), "quick": ("quick.md", results.page.quick_text)}[form]
    page = (ROOT / "docs" / name).read_text()
    assert tables.write_tables(text(results.RESULTS)) == page, "run: python -m experiments results write"
    for summary in results.page.stored(results.RESULTS, form):
        assert results.page.up_to_date(summary, ROOT / "docs"), "run: python -m experiments results write"


def test_every_study_has_both_forms_stored(results):
    for form in ("full", "quick"):
        assert {summary["study"] for summary in results.page.stored(results.RESULTS, form)} == set(STUDIES)


def test_the_command_beside_a_result_has_the_settings_it_was_made_with(results):
    for path in results.RESULTS.glob("*/*.json"):
        if path.parent.name == "studies":
            continue
        result = json.loads(path.read_text())
        for stored in [*result.get("before", []), result["settings"]]:
            _, _, recipe, *words = again_by(stored).split()
            settings = [value for word, value in pairwise(words) if word == "--set"]
            check_same(stored, recipes.load(recipe, settings), path)


def check_same(stored, recipe, name):
    today = recipe.model_dump()
    unused = {"seed", "pack_saved_activations", *["gradient_bits"] * (today["train"]["arithmetic"] == "float")}
    for section in ("data", "network", "precision", "optimizer", "augment", "train"):
        for key in stored[section].keys() - unused:
            now = today[section].get(key, 0)  # a setting that is gone was off
            assert now == stored[section][key], f"{name}: {section}.{key}"


@pytest.fixture
def cifar_run(results, tmp_path, monkeypatch):
    """A finished run on CIFAR-10, and nothing stored yet."""
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "recipe.toml").write_text(recipes.dump(recipes.load("cifar10", ["train.epochs=3"])))
    stored = json.loads(next((results.RESULTS / "mnist").glob("*.json")).read_text())
    command = "gxnor train cifar10 --seed 1 --resume --out runs/one --set train.epochs=3"
    (run / "result.json").write_text(json.dumps({**stored, "test_accuracy": 0.8765, "seed": 1, "command": command}))
    for module in (results, accuracies):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return run


@pytest.mark.parametrize("note", [[], ["--note", "Images of another kind."]])
@pytest.mark.parametrize("recipe", ["cifar10", "cifar10-resnet20"])
def test_a_run_on_cifar10_stands_in_the_table_with_its_command_and_note(results, cifar_run, note, recipe):
    (cifar_run / "recipe.toml").write_text(recipes.dump(recipes.load(recipe, ["train.epochs=3"])))
    assert accuracies.table_with_commands(recipe) == "Not run yet."
    call(results, "results", "add", str(cifar_run), *note)
    text = accuracies.table_with_commands(recipe)
    assert "**87.65 %** (87.65)" in text
    assert f"\ngxnor train {recipe} --seed N --set train.epochs=3\n" in text
    assert ("Images of another kind. The best epoch" in text) == bool(note)


def test_a_wider_network_has_a_row_of_its_own(results, cifar_run):
    for width in ("1", "2"):
        settings = ["train.epochs=3", f"network.width={width}"]
        (cifar_run / "recipe.toml").write_text(recipes.dump(recipes.load("cifar10-resnet20", settings)))
        results.add(cifar_run)
    text = accuracies.table_with_commands("cifar10-resnet20")
    assert text.count("\n| GXNOR, DST, ") == text.count("\n| GXNOR, width 2, DST, ") == 1
    assert "\ngxnor train cifar10-resnet20 --seed N --set network.width=2.0 --set train.epochs=3\n" in text


def test_every_epoch_of_a_stored_run_is_kept(results, cifar_run):
    epochs = [dict.fromkeys(results.KEPT_OF_EPOCHS, 0.5) | {"epoch": epoch, "layers": []} for epoch in (1, 2)]
    (cifar_run / "history.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    lines = results.add(cifar_run).with_suffix(".jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert all(json.loads(line)["val_accuracy"] == 0.5 for line in lines)


def test_a_run_on_data_that_no_page_shows_is_refused(results, cifar_run):
    (cifar_run / "recipe.toml").write_text(recipes.dump(recipes.load("digits")))
    with pytest.raises(GxnorError, match="no page has a table of runs on 'digits'"):
        results.add(cifar_run)


def test_a_run_of_another_network_does_not_mix_with_the_stored_ones(results, tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").write_text(recipes.dump(recipes.load("mnist-mcu")))
    first = next((results.RESULTS / "mnist").glob("*.json"))
    (run / "result.json").write_text(first.read_text())
    (tmp_path / "results" / "mnist").mkdir(parents=True)
    (tmp_path / "results" / "mnist" / first.name).write_text(first.read_text())
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    with pytest.raises(GxnorError, match="but the runs stored in"):
        results.add(run)
    assert (tmp_path / "results" / "mnist" / first.name).read_text() == first.read_text()


def test_adding_nothing_is_refused(results):
    with pytest.raises(SystemExit):
        call(results, "results", "add", "--note", "x")


def call(results, *words):
    parser = argparse.ArgumentParser()
    results.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(words)
    arguments.main(arguments)
