"""Several workers, as real processes under torchrun."""

import os
import subprocess
import sys

import pytest
import torch

from gxnor.errors import GxnorError
from gxnor.training import checkpoint, distributed, recipes
from gxnor.training.build import count_parts
from gxnor.training.loop import train
from gxnor.training.recipe import Recipe
from tests.runs import final_tensors

SETTINGS = ["network.layers=16C3-MP2-64FC-10", "train.epochs=2", "train.batch=48", "train.batch_growth=1",
            "data.validation=200"]  # fmt: skip

# `gxnor`, with the weights and the optimizer compared after every step, and with a worker that does something to itself
# when it has made a step: EVENT is WORKER:STEP:SIGNAL. A run that has ended well leaves no thread of gloo: one that is there
# while the interpreter closes can end the process by SIGABRT.
WATCHED = """
import os, pathlib, sys
from gxnor.cli import main as cli
from gxnor.training import distributed
from gxnor.training.trainer import Trainer

worker, at, signal = map(int, os.environ.get("EVENT", "0:-1:0").split(":"))
plain, steps = Trainer._step, 0

def step(self, images, labels):
    global steps
    result = plain(self, images, labels)
    memory = [t for state in self.optimizer.state.values() for t in state.values() if hasattr(t, "numel")]
    distributed.check_equal([*self.tensors(), *memory, self.optimizer.generator.get_state()])
    steps += 1
    if (distributed.rank(), steps) == (worker, at):
        os.kill(os.getpid(), signal)
    return result

Trainer._step = step
code = cli.main(sys.argv[1:])
names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
left = [name for name in names if "gloo" in name]
sys.exit(code or (f"left running: {left}" if left else 0))
"""

TOOLS = """
import sys
import torch
from gxnor.errors import GxnorError
from gxnor.training import distributed

def same(tensors):
    try:
        distributed.check_equal(tensors)
    except GxnorError as error:
        return str(error)
    return "equal"

with distributed.workers(torch.device("cpu")):
    rank, size = distributed.rank(), distributed.size()
    for shape in ((1,), (7,), (300,), (4, 3, 5, 2)):
        terms = [torch.randn(shape, generator=torch.Generator().manual_seed(i)) * 10.0**i for i in range(size)]
        for format in (torch.contiguous_format, torch.channels_last)[: 1 + (len(shape) == 4)]:
            total = terms[rank].to(memory_format=format, copy=True)
            distributed.add(total)
            assert torch.equal(total, (terms[0] + terms[1]) + terms[2])
    assert [distributed.any_of(rank == who) for who in (0, 2, 5)] == [True, True, False]
    assert distributed.on_first(lambda: rank) == 0 and distributed.in_turn(lambda: rank) == rank
    mine = torch.full((3,), rank, dtype=torch.uint8)
    assert same([torch.ones(2)]) == "equal" and "workers 0 and 1 hold different" in same([torch.ones(2), mine])
    distributed.broadcast([mine])
    assert same([mine]) == "equal"
    print("all well", flush=True)

    def refuse():
        raise GxnorError("refused once")

    try:
        distributed.on_first(refuse)
    except GxnorError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
    print("nobody comes here", flush=True)
"""


def torchrun(workers: int, script: str, folder, *arguments, **environment) -> subprocess.CompletedProcess:
    (folder / "script.py").write_text(script)
    patient = ["--monitor-interval", "2"]  # or torchrun ends the other workers before they have said what they saw
    many = ["--nproc-per-node", str(workers)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *patient, *many]
    return subprocess.run(
        [*command, str(folder / "script.py"), *map(str, arguments)], capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), **environment},
    )  # fmt: skip


def train_by(workers: int, out, *settings: str, resume=False, **environment) -> subprocess.CompletedProcess:
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    arguments = ["train", "digits", *words, "--out", out, *(["--resume"] if resume else [])]
    return torchrun(workers, WATCHED, out.parent, *arguments, **environment)


@pytest.fixture
def one_thread():
    """As many as torchrun gives each worker, for the arithmetic to be the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe(*settings: str) -> Recipe:
    return recipes.load("digits", [*SETTINGS, *settings])


def messages(run: subprocess.CompletedProcess) -> list[str]:
    return [line for line in run.stderr.splitlines() if line.startswith("gxnor:")]


def test_a_killed_worker_ends_the_run_and_one_process_goes_on_in_the_same_weights(one_thread, tmp_path):
    run = train_by(2, tmp_path / "run", "train.micro_batches=2", EVENT="1:40:9", GXNOR_CHECKPOINT_SECONDS="0")
    assert run.returncode == 1
    assert len(messages(run)) == 1 and "worker 0 lost touch with the others" in messages(run)[0], run.stderr
    stopped = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")["progress"]
    assert (stopped["epoch"], stopped["step"]) >= (1, 0)
    result = train(recipe("train.micro_batches=2"), tmp_path / "run", resume=True)
    assert train(recipe("train.micro_batches=2"), tmp_path / "whole")["test_accuracy"] == result["test_accuracy"]
    assert final_tensors(tmp_path / "run") == final_tensors(tmp_path / "whole")


def test_four_workers_equal_one_process_that_cuts_the_batch_in_four(one_thread, tmp_path):
    settings = ["augment.rotate=5", "train.arithmetic=integer"]
    run = train_by(4, tmp_path / "run", *settings)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("test accuracy") == 1
    train(recipe("train.micro_batches=4", *settings), tmp_path / "whole")
    assert final_tensors(tmp_path / "run") == final_tensors(tmp_path / "whole")


def test_a_signal_to_one_worker_stops_all_and_another_number_of_workers_goes_on(one_thread, tmp_path):
    run = train_by(2, tmp_path / "run", "precision.latent=true", EVENT="1:30:15")
    assert run.returncode == 1
    assert messages(run) == ["gxnor: stopped in epoch 2; go on with --resume"], run.stderr
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")["progress"]["step"] == 5
    result = train(recipe("precision.latent=true"), tmp_path / "run", resume=True)
    assert result["epochs"] == 2


def test_the_tools_of_three_workers(tmp_path):
    run = torchrun(3, TOOLS, tmp_path)
    counts = [run.stdout.count(words) for words in ("all well", "refused once", "nobody comes here")]
    assert counts == [3, 1, 0], run.stdout + run.stderr
    assert run.returncode == 1


def test_one_process_is_a_worker_alone():
    t = torch.tensor([1.5])
    with distributed.workers(torch.device("cpu")):
        distributed.add(t)
        distributed.check_equal([t])
        assert (distributed.rank(), distributed.size(), t.item()) == (0, 1, 1.5)
        assert distributed.on_first(lambda: 3) == distributed.in_turn(lambda: 3) == 3
        module = torch.nn.Linear(1, 1)
        assert distributed.replicate(module) is module


@pytest.mark.parametrize("parts, workers, count", [(1, 1, 1), (1, 4, 4), (2, 1, 2), (4, 2, 4), (6, 3, 6)])
def test_parts_of_a_batch(parts, workers, count):
    assert count_parts(recipe(f"train.micro_batches={parts}"), workers) == count


@pytest.mark.parametrize(
    "batch, parts, workers, words",
    [
        (48, 3, 2, "train.micro_batches is 3, expected 1 or a multiple of the number of workers, which is 2"),
        (48, 5, 1, "train.batch is 48, expected a multiple of 5"),
        (50, 1, 4, "train.batch is 50, expected a multiple of 4"),
        (4, 4, 1, "and more than it"),
    ],
)
def test_parts_that_cannot_be_equal_are_refused_before_anything_is_written(batch, parts, workers, words, tmp_path):
    settings = recipe(f"train.batch={batch}", f"train.micro_batches={parts}")
    with pytest.raises(GxnorError, match=words):
        count_parts(settings, workers)
    if workers == 1:
        with pytest.raises(GxnorError, match=words):
            train(settings, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_parts_of_the_whole_batch_are_the_plain_step_but_for_batch_norm(tiny, tmp_path):
    """Two parts that hold the same images have the statistics and the gradient of either."""
    from gxnor.training.trainer import Trainer

    nets = []
    for parts in (1, 2):
        trainer = Trainer(tiny("train.batch=100", f"train.micro_batches={parts}", "train.arithmetic=float"))
        half = trainer.prepare(trainer.images[:50]), trainer.labels[:50]
        trainer.model.train()
        for _ in range(3):
            images, labels = half if parts == 1 else (torch.cat([half[0]] * 2), torch.cat([half[1]] * 2))
            trainer._step(images, labels)
        nets.append([t.tolist() for t in trainer.tensors()])
    assert nets[0] == nets[1]
