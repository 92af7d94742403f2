"""Replicas stay the same, bit for bit, or the step says that they did not: two processes over gloo."""

import os
import subprocess
import sys

import pytest
import torch

from gxnor.optim.replicas import digest

# Every case on both workers, each with a seed, an optimizer and data of its own; what they ended in is compared.
SCRIPT = """
import contextlib, functools, math
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from gxnor.nn import Activation, Conv2d, Linear
from gxnor import optim
from gxnor.training import distributed

# The paper's rule, unless a test says otherwise.
DST = functools.partial(optim.DST, increment="adam", counter=0, m=3.0, probability="tanh")

rank = distributed.rank()

def all_reduce(grad):
    dist.all_reduce(grad)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = Conv2d(1, 4, 3), nn.BatchNorm2d(4), Activation()
        self.used, self.unused, self.out = Linear(64, 8), Linear(64, 8), Linear(8, 3, True)

    def forward(self, x, other=False):
        x = self.act(self.norm(self.conv(x))).flatten(1)
        return self.out((self.unused if other else self.used)(x))

def run(case, wrap="ddp", reduce=None, steps=3, find_unused=False, other=False, sync=True, parts=1, wrong=None,
        spoil=False, **settings):
    torch.manual_seed(rank)
    net = Net()
    net.unused.requires_grad_(find_unused)
    if wrap == "replicate":
        distributed.broadcast([getattr(p, "packed", p.data) for p in net.parameters()])
    model = distributed.replicate(net) if wrap == "replicate" else DDP(net, find_unused_parameters=find_unused)
    if spoil and rank == 1:
        net.out.weight.set_indices(2 - net.out.weight.indices())
    optimizer = DST(net, **{"lr": 0.1, **settings})
    said = "nothing"
    try:
        if reduce != "plain":
            optimizer.update_in_backward(reduce)
        for step in range(steps):
            optimizer.zero_grad()
            for part in range(parts):
                x = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(100 * step + 10 * part + rank))
                if wrong == (rank, step):
                    x.fill_(math.nan)
                local = not sync or part + 1 < parts
                with contextlib.ExitStack() as stack:
                    if local:
                        stack.enter_context(model.no_sync())
                    if local and reduce != "plain":
                        stack.enter_context(optimizer.accumulating())
                    model(x, other and rank == 1).square().mean().backward()
            optimizer.step()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    states = [None, None]
    mine = (said, [getattr(p, "packed", p).tolist() for p in net.parameters()])
    dist.all_gather_object(states, mine)
    if rank == 0:
        (first, a), (second, b) = states
        print(case, "|", "equal" if a == b else "drifted", "|", first, "|", second, flush=True)

with distributed.workers(torch.device("cpu")):
    run("step", reduce="plain")
    for rule in ("adam", "sgd", "factored"):
        run("step " + rule, reduce="plain", increment=rule, counter=3)
    run("generators", reduce="plain", generator=torch.Generator().manual_seed(rank))
    run("accumulated", reduce="plain", parts=3)
    run("unused by one", reduce="plain", find_unused=True, other=True)
    run("without sync", reduce="plain", sync=False)
    run("without sync, nan", reduce="plain", sync=False, wrong=(1, 0))
    run("nan", reduce="plain", wrong=(1, 1))
    run("other rates", reduce="plain", lr=0.1 * (rank + 1))
    run("other weights", wrap="replicate", reduce=distributed.add, spoil=True)
    run("inside", wrap="replicate", reduce=distributed.add)
    run("inside, accumulated", wrap="replicate", reduce=distributed.add, parts=3)
    run("inside, nan", wrap="replicate", reduce=distributed.add, wrong=(0, 1))
    run("inside, no sum", wrap="replicate", reduce=lambda grad: None)
    run("inside, nothing", reduce=None)
    run("inside and all of it in DDP", reduce=all_reduce)
"""


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, list[str]]:
    path = tmp_path_factory.mktemp("replicas") / "script.py"
    path.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return {case: rest for case, *rest in (line.split(" | ") for line in run.stdout.splitlines() if " | " in line)}


SAME = ["step", "step adam", "step sgd", "step factored", "generators", "accumulated", "unused by one", "inside",
        "inside, accumulated"]  # fmt: skip
DIFFERENT = "RuntimeError: workers 0 and 1 hold different values of parameter {} after this step"
REFUSED = {
    "without sync": DIFFERENT.format("conv.weight"),
    "other rates": DIFFERENT.format("conv.weight"),
    "other weights": DIFFERENT.format("out.weight"),
    "inside, no sum": DIFFERENT.format("conv.weight"),
    "inside, nothing": "ValueError: expected reduce, which sums a gradient over the 2 workers",
    "inside and all of it in DDP": "RuntimeError: parameter conv.weight has moved in this step already",
}
NOT_FINITE = {
    "nan": 2 * ["FloatingPointError: the gradient of parameter conv.weight is not finite; no weight was moved"],
    "without sync, nan": ["FloatingPointError: another worker's gradient is not finite or too large; no weight was moved",
                          "FloatingPointError: the gradient of parameter conv.weight is not finite; no weight was moved"],
    "inside, nan": 2 * ["FloatingPointError: the gradient of parameter"],
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_replicas_stay_the_same_whatever_seed_each_has(cases, case):  # OneTrainer#804, pytorch/pytorch#87397
    assert cases[case] == ["equal", "nothing", "nothing"]


@pytest.mark.parametrize("case", REFUSED)
def test_replicas_that_drift_are_told_so_by_the_step(cases, case):  # OneTrainer#804, pytorch/pytorch#87397
    _, *said = cases[case]
    assert [words.startswith(REFUSED[case]) for words in said] == [True, True], said


@pytest.mark.parametrize("case", NOT_FINITE)
def test_a_gradient_that_is_not_finite_stops_all_replicas_alike(cases, case):  # OneTrainer#804, pytorch/pytorch#87397
    states, *said = cases[case]
    assert states == "equal"
    assert [words.startswith(start) for words, start in zip(said, NOT_FINITE[case], strict=True)] == [True, True], said


def test_the_digest_tells_tensors_apart():
    seen = {int(digest(torch.zeros(n, dtype=torch.uint8))) for n in (0, 1, 9)}
    assert seen == {0}  # lengths are the same on all workers
    for t in (torch.arange(13, dtype=torch.uint8), torch.randn(5, 3), torch.randn(2, 3, dtype=torch.bfloat16)):
        assert digest(t) == digest(t.clone())
        for i in range(t.numel()):
            other = t.clone()
            other.view(-1)[i] += 1
            assert digest(other) != digest(t)
        assert digest(t.flip(0)) != digest(t)
