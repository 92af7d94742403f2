"""A run has its folder for itself while it lives, and a killed one is in nobody's way."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from gxnor import locking
from gxnor.errors import GxnorError
from gxnor.training.loop import train

SETTINGS = ["network.layers=16C3-MP2-64FC-10", "train.batch=25", "train.epochs=500"]
LONG = [sys.executable, "-m", "gxnor", "train", "digits", *(word for s in SETTINGS for word in ("--set", s))]
pytestmark = pytest.mark.skipif(locking.fcntl is None, reason="this platform has no advisory locks")


@pytest.fixture
def alive(tmp_path):
    """A run that goes on for long in tmp_path/run and has written its first epoch."""
    process = subprocess.Popen([*LONG, "--out", tmp_path / "run"], stderr=subprocess.DEVNULL, start_new_session=True)
    while not (tmp_path / "run/history.jsonl").exists() or not (tmp_path / "run/history.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


# seml#177
def test_a_second_run_in_a_folder_is_refused_while_the_first_lives_and_not_after_kill_9(alive, tiny, tmp_path):
    for settings in ([], ["train.seed=2"]):
        for resume in (False, True):
            with pytest.raises(
                GxnorError, match=rf"a run is going on in .*/run \(process {alive.pid}\): wait for its end"
            ):
                train(tiny(*settings), tmp_path / "run", resume=resume)
    assert alive.poll() is None

    # a run killed by kill -9 leaves no lock in the way
    alive.send_signal(signal.SIGKILL)
    alive.wait()
    assert (tmp_path / "run" / locking.LOCK).exists()
    again = subprocess.Popen([*LONG, "--out", tmp_path / "run", "--resume"], stderr=subprocess.PIPE)
    epochs = len((tmp_path / "run/history.jsonl").read_text().splitlines())
    deadline = time.monotonic() + 60
    while len((tmp_path / "run/history.jsonl").read_text().splitlines()) <= epochs and time.monotonic() < deadline:
        assert again.poll() is None, again.stderr.read()
        time.sleep(0.02)
    again.send_signal(signal.SIGTERM)
    assert again.wait() == 1  # stopped, its checkpoint written
    numbers = [json.loads(line)["epoch"] for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > epochs
    assert not (tmp_path / "run" / locking.LOCK).exists()


def test_a_run_killed_before_it_wrote_anything_leaves_a_folder_that_counts_as_empty(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / locking.LOCK).write_text("4711")
    train(tiny("train.epochs=1"), tmp_path / "run")
    assert (tmp_path / "run/result.json").exists() and not (tmp_path / "run" / locking.LOCK).exists()


def test_a_finished_run_can_be_asked_for_again_where_nothing_can_be_written(tiny, tmp_path):
    result = train(tiny("train.epochs=1"), tmp_path / "run")
    with locking.alone_in(tmp_path / "run", "run"):
        assert train(tiny("train.epochs=1"), tmp_path / "run", resume=True) == result


def _hold(folder, seconds, got):
    try:
        with locking.alone_in(folder, "run"):
            got.put("held")
            time.sleep(seconds)
            got.put("left")
    except GxnorError:
        got.put("refused")


def test_of_many_that_want_a_folder_at_once_one_gets_it(tmp_path):
    context = multiprocessing.get_context("fork")
    got = context.Queue()
    processes = [context.Process(target=_hold, args=(tmp_path / "new/run", 1.0, got)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(got.get() for _ in range(9)) == ["held", "left", *["refused"] * 7]
    assert not (tmp_path / "new").exists()  # they left nothing in it


def test_the_folder_is_free_again_at_once_and_one_hands_over_to_the_next(tmp_path):
    context = multiprocessing.get_context("fork")
    got = context.Queue()
    process = context.Process(target=_hold, args=(tmp_path / "run", 0.5, got))
    process.start()
    assert got.get() == "held"
    with locking.alone_in(tmp_path / "run", "run", patience=30):
        assert got.get() == "left"
    process.join()
    with locking.alone_in(tmp_path / "run", "run"), pytest.raises(GxnorError, match="a study is going on"):  # noqa: SIM117
        with locking.alone_in(tmp_path / "run", "study"):
            pass


def test_where_there_are_no_locks_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "fcntl", None)
    with (
        pytest.warns(RuntimeWarning, match="nothing keeps a second run out"),
        locking.alone_in(tmp_path / "run", "run"),
    ):
        assert os.path.isdir(tmp_path / "run")
