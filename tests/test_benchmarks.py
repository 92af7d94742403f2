"""The tables and pages of the repository are those that the stored results give."""

import json

import pytest

from gxnor.training import recipe as recipes
from tests.scripts import ROOT, load


@pytest.fixture(scope="module")
def results():
    return load("results")


@pytest.mark.parametrize("name", ["README.md", "docs/engine.md"])
def test_the_tables_show_the_stored_results(results, name):
    text = (ROOT / name).read_text()
    assert results.write_tables(text) == text, "run: python benchmarks/results.py write"


def test_the_results_page_shows_the_stored_results(results):
    page = (ROOT / "docs" / "results.md").read_text()
    assert results.write_tables(results.page.text(results.RESULTS)) == page, "run: python benchmarks/results.py write"
    for summary in results.page.stored(results.RESULTS):
        assert results.page.up_to_date(summary, ROOT / "docs"), "run: python benchmarks/results.py write"


def test_the_command_beside_a_result_has_the_settings_it_was_made_with(results):
    for path in (ROOT / "benchmarks" / "results" / "mnist").glob("*.json"):
        stored = json.loads(path.read_text())["settings"]
        today = recipes.load(results.again("mnist", stored)).model_dump()
        for section in ("data", "network", "precision", "optimizer", "augment", "train"):
            for key in stored[section].keys() - {"seed", "small_activations"}:
                now = today[section].get(key, 0)  # a setting that is gone was off
                assert now == stored[section][key], f"{path.name}: {section}.{key}"
