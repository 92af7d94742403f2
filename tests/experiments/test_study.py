"""A study as a user meets it: what it leaves behind, that it can be stopped, and that wrong calls cost nothing."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from experiments import definitions, page, pictures, summary
from experiments.__main__ import parser
from experiments.command import study
from experiments.definitions import STUDIES, Form, Point
from experiments.runs import plan
from experiments.table import provenance
from gxnor import locking
from gxnor.cli import main as cli
from gxnor.cli.main import execute
from gxnor.errors import GxnorError, WorkError
from gxnor.training import recipes

ROOT = Path(__file__).parents[2]
TINY = {
    "network.layers": "4C3-MP2-16FC-10",
    "data.validation": 200,
    "train.batch": 100,
    "train.epochs": 1,
    "train.batch_growth": 1,
    "optimizer.increment": "adam",
    "optimizer.counter": 0,
}
REAL = {"precision.weights": "real", "precision.activations": "real"}
POINTS = (Point("DST", {"precision.weights": 1}), Point("full", {**REAL, "optimizer.lr": 0.01}))


def tiny(name="table", points=POINTS, **settings):
    return dataclasses.replace(STUDIES[name], quick=Form("digits", {**TINY, **settings}, points, 1))


def run(out, resume=False, seeds=None, name="table"):
    return study(name, True, None, seeds, 2, out, None, resume)


def test_a_study_leaves_one_json_one_table_and_one_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(definitions.STUDIES, "table", tiny())
    out = tmp_path / "study"
    summary = run(out)
    printed = capsys.readouterr()
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()}
    assert len(set(modes.values())) == 1 and modes[".log"] & 0o111 == 0, modes
    assert "2 of 2 runs to go, 2 at a time: about" in printed.err
    assert printed.err.index("to go") < printed.err.index("validation")  # the time is told first
    assert {path.name for path in out.iterdir()} == {"runs", "study.json", "table.md", "picture.png"}
    assert json.loads((out / "study.json").read_text()) == summary
    assert summary["complete"] and [row["row"] for row in summary["rows"]] == ["DST", "full"]
    assert {"made_on", "date", "seconds", "command"} <= summary.keys()
    dst, full = summary["rows"]
    assert 8.25 < dst["train_state_bytes_per_weight"] < 9.5  # Adam's moments, and the small network's batch norm
    assert full["bits_per_weight"] == 32
    assert full["operations"]["fired"] == full["operations"]["products"] > dst["operations"]["fired"]
    assert dst["row"] in printed.out and f"{100 * dst['test_mean']:.2f}" in (out / "table.md").read_text()
    assert "19 times of 20" not in (out / "table.md").read_text()  # one seed does not tell
    assert Image.open(out / "picture.png").info["Source"] == pictures.fingerprint(summary)

    words = dst["command"].split()
    assert words[:3] == ["gxnor", "train", "digits"]
    assert cli.main([*words[1:], "--out", str(tmp_path / "again"), "--set", "train.device=cpu"]) == 0
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert again["test_accuracy"] == pytest.approx(dst["test_mean"], abs=0.1)  # another number of threads may be used

    assert run(out, resume=True, seeds=2)["rows"][0]["seeds"][0] == dst["seeds"][0]  # more seeds: the old runs are kept
    assert "19 times of 20 |" in (out / "table.md").read_text()
    with pytest.raises(GxnorError, match="there already"):
        run(out)
    with pytest.raises(GxnorError, match="holds the quick form of table"):
        run(out, resume=True, name="window")
    stored = page.add(out, tmp_path / "results")
    assert (
        stored.name == "table-digits-quick.json" and page.stored(tmp_path / "results", "quick")[0]["study"] == "table"
    )


def leave(arguments: list[str]) -> int:
    try:
        return execute(parser(), arguments)
    except SystemExit as left:
        return left.code


def test_wrong_calls_leave_nothing_behind(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, words in (
        (["tabel"], "tabel"),
        (["table", "--seeds", "0"], "--seeds"),
        (["table", "--quick", "--jobs", "0"], "--jobs"),
        (["levels", "--data", "svhn"], "mnist"),
        (["table", "--quick", "--data", "mnist"], "digits"),
    ):
        assert leave(arguments) == 2
        errors = capsys.readouterr().err
        assert words in errors
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(GxnorError, match="no study to resume"):
        run(tmp_path, resume=True)


# seml#177
def test_a_second_study_in_the_folder_of_a_live_one_is_refused_and_a_killed_one_is_not_in_the_way(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(definitions.STUDIES, "table", tiny())
    with locking.alone_in(tmp_path / "study", "study"):
        for resume in (False, True):
            with pytest.raises(GxnorError, match="a study is going on in"):
                run(tmp_path / "study", resume)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / locking.LOCK).touch()  # as kill -9 leaves it
    assert run(tmp_path / "study")["complete"]


def test_a_run_that_fails_does_not_take_the_others_with_it(tmp_path, monkeypatch):
    points = (
        Point("wild", {**REAL, "optimizer.lr": 1e30}),
        POINTS[0],
    )
    monkeypatch.setitem(definitions.STUDIES, "memory", tiny("memory", points, **{"train.epochs": 3}))
    with pytest.raises(WorkError, match=r"1 runs failed.*wild.*not finite"):
        run(tmp_path / "study", name="memory")
    rows = json.loads((tmp_path / "study" / "study.json").read_text())["rows"]
    assert [row["row"] for row in rows] == ["DST"]


PROGRAM = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from experiments import definitions
from experiments.__main__ import parser
from gxnor.cli.main import execute
import test_study
if __name__ == "__main__":
    definitions.STUDIES["table"] = test_study.tiny(**{{"train.epochs": 60}})
    sys.exit(execute(parser()))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_interrupted_it_goes_on_where_it_stopped(tmp_path):
    program, out = tmp_path / "program.py", tmp_path / "study"
    program.write_text(PROGRAM.format(root=str(ROOT), tests=os.path.dirname(__file__)))
    command = [sys.executable, program, "table", "--quick", "--jobs", "2", "--out", out, "--resume"]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # ignored below a shell that runs in the background
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while not any(path.stat().st_size for path in out.glob("runs/*/history.jsonl")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1 and "--resume" in errors.splitlines()[-1] and "Traceback" not in errors
    checkpoints = [path.stat().st_mtime_ns for path in sorted(out.glob("runs/*/checkpoint.safetensors"))]
    assert checkpoints and not json.loads((out / "study.json").read_text())["complete"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "study.json").read_text())["complete"]


@pytest.mark.parametrize("name", STUDIES)
def test_every_point_of_every_study_is_a_recipe_of_its_own(name, tmp_path):
    found = STUDIES[name]
    for form in (found.quick, found.full, *found.others.values()):
        runs = plan(form, 2, tmp_path)
        assert len(runs) == 2 * len(form.points)
        assert len({run.path for run in runs}) == len({recipes.dump(run.recipe) for run in runs}) == len(runs)


def test_points_that_take_fewer_seeds(tmp_path):
    form = Form("digits", TINY, (Point("a", {}), Point("b", {"optimizer.lr": 0.2}, seeds=1)), 3)
    taken = [(run.point.row, run.seed) for run in plan(form, None, tmp_path)]
    assert taken == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]
    assert len(plan(form, 2, tmp_path)) == 4  # --seeds 2 is said of all points


def finish(run, val, test, cpu="a cpu"):
    """As if the run had been made, on a processor of that name."""
    run.path.mkdir(parents=True)
    result = {"val_accuracy": val, "test_accuracy": test, "seconds": 1.0, "epochs": 1, "best_epoch": 1,
              "date": "2026-01-01T00:00:00Z", "machine": {"cpu": cpu, "threads": 1},
              "versions": {"gxnor": "0.1", "torch": "2.13"}, "weights": 10, "bits_per_weight": 1.6,
              "train_state_bytes_per_weight": 8.25, "zero_fraction": 0.3}  # fmt: skip
    (run.path / "result.json").write_text(json.dumps(result))


def test_a_row_is_chosen_by_validation_not_by_test(tmp_path):
    points = (Point("a", {"optimizer.lr": 0.1}), Point("a", {"optimizer.lr": 0.2}), Point("b", {}))
    found = tiny("memory", points)
    runs = plan(found.quick, 2, tmp_path)
    for run, (val, test) in zip(runs, [(0.9, 0.8), (0.8, 0.95), (0.5, 0.5)] * 2, strict=True):
        finish(run, val, test + 0.01 * run.seed)
    rows = summary.summarise(found, found.quick, True, runs, "python -m experiments memory")["rows"]
    assert [row["chosen"] for row in rows] == [True, False, True]
    assert [row["candidates"] for row in rows] == [2, 2, 1]
    assert (rows[0]["test_min"], rows[0]["test_max"]) == pytest.approx((0.81, 0.82))


def test_a_study_that_was_resumed_elsewhere_names_every_machine_once(tmp_path):
    found = tiny()
    runs = plan(found.quick, 3, tmp_path)
    for run in runs:
        finish(run, 0.9, 0.9, cpu="one" if run.seed < 3 else "another")
    words = provenance(summary.summarise(found, found.quick, True, runs, "python -m experiments table"))
    place = "threads a run: 1; gxnor 0.1, PyTorch 2.13"
    assert f" one, {place} and another, {place}; 2026-01-01; `python -m experiments table`." in words


def test_a_study_that_is_not_finished_is_stored_once_it_has_a_run_and_its_page_says_how_many(tmp_path):
    found = tiny()
    runs = plan(found.quick, 1, tmp_path)

    def store():
        so_far = summary.summarise(found, found.quick, True, runs, "python -m experiments table")
        (tmp_path / "study.json").write_text(json.dumps(so_far))
        page.add(tmp_path, tmp_path / "results")

    with pytest.raises(GxnorError, match="none of its 2 runs"):
        store()
    finish(runs[0], 0.9, 0.9)
    store()
    assert "1 of 2 runs so far" in page.quick_text(tmp_path / "results")


def test_rows_that_another_machine_has_run_stay_when_a_study_is_stored_again(tmp_path, monkeypatch):
    found = tiny("memory", (Point("a", {"optimizer.lr": 0.1}), Point("b", {}), Point("a", {"optimizer.lr": 0.2})))
    monkeypatch.setitem(definitions.STUDIES, "memory", found)

    def store(folder, accuracies, settings=None):
        """A study of the runs that have an accuracy, and what is stored after it."""
        runs = plan(found.quick, 1, tmp_path / folder)
        for run, accuracy in zip(runs, accuracies, strict=True):
            if accuracy:
                finish(run, accuracy, accuracy, cpu=folder)
        so_far = summary.summarise(found, found.quick, True, runs, "python -m experiments memory")
        so_far["settings"] = settings or so_far["settings"]
        (tmp_path / folder / "study.json").write_text(json.dumps(so_far))
        return json.loads(page.add(tmp_path / folder, tmp_path / "results").read_text())

    store("one", (0.7, 0.8, None))
    both = store("two", (None, 0.6, 0.9))
    assert [(row["row"], row["test_mean"], row["chosen"]) for row in both["rows"]] == [
        ("a", 0.7, False), ("b", 0.6, True), ("a", 0.9, True),
    ]  # fmt: skip
    assert (both["runs"], both["complete"], both["seconds"]) == (3, True, 3.0)
    assert [place["machine"]["cpu"] for place in both["made_on"]] == ["one", "two"]
    assert [row["row"] for row in store("other settings", (0.5, None, None), {"train.epochs": 9})["rows"]] == ["a"]
