"""Several workers: one process a CPU or GPU, on one machine or more, started by torchrun. Without it, nothing here acts.

All workers hold the same weights. Each computes the gradients of its share of every batch; the sums of the gradients are
the same numbers on every worker, and so are the random draws of the moves. Worker 0 alone writes, prints and evaluates.

DistributedDataParallel adds up the gradients of the real parameters. Those of the discrete ones never meet in a bucket,
which would be as large as the model: `add` sums each in the backward pass, and the weights move at once.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gxnor.errors import GxnorError, WorkError
from gxnor.nn.parameter import DiscreteParameter
from gxnor.optim import replicas

PATIENCE = datetime.timedelta(minutes=30)  # while worker 0 evaluates, the others wait


def launched() -> bool:
    return dist.is_available() and dist.is_torchelastic_launched()


def rank() -> int:
    """This worker's number, from 0."""
    return int(os.environ["RANK"]) if launched() else 0


size = replicas.count


@contextlib.contextmanager
def workers(device: torch.device):
    """In this context the workers that torchrun started are in touch: over gloo, and NCCL for CUDA tensors. Raises
    GxnorError where a worker has no GPU of its own, and WorkError where the others cannot be reached."""
    if not launched():
        yield
        return
    if device.type == "cuda":
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise GxnorError(
                f"worker {rank()} has no GPU of its own: this machine has {there}; "
                f"use --nproc-per-node {there}, or --set train.device=cpu"
            )
        torch.cuda.set_device(local)
    # Imported later, as DistributedDataParallel does, it holds on to the group: gloo's threads outlive the group's end,
    # and one that needs the interpreter while that closes ends the process by SIGABRT (PyTorch 2.13).
    importlib.import_module("torch._dynamo")
    with _in_touch():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    except FloatingPointError:  # the sum of the gradients is the same everywhere, so everyone is here
        if rank() > 0:
            _leave(1)
        raise
    dist.destroy_process_group()


def on_first(work: Callable[[], Any]) -> Any:
    """`work()` on worker 0 alone; all get what it returns, which can be pickled. Where it raises, worker 0 raises, and the
    others leave, silently, with the same exit code."""
    if size() == 1:
        return work()
    result: Any = None
    failure: Exception | None = None
    if rank() == 0:
        try:
            result = work()
        except Exception as error:
            failure = error
    message: list[Any] = [(result, None if failure is None else getattr(failure, "exit_code", 1))]
    with _in_touch():
        dist.broadcast_object_list(message)
    if failure is not None:
        raise failure
    result, code = message[0]
    if code is not None:
        _leave(code)
    return result


def _leave(code: int) -> None:
    """Ends this worker after worker 0: torchrun ends all when one ends, and would cut worker 0 off before its message."""
    with contextlib.suppress(RuntimeError):
        dist.recv(torch.empty(1), src=0)  # nobody sends: it fails when worker 0 is gone
    sys.exit(code)


def in_turn(work: Callable[[], Any]) -> Any:
    """`work()` on worker 0 and then on the others, each with a result of its own: what the first one downloads is there
    for the others, and what the first one refuses is said once."""
    done = []
    on_first(lambda: done.append(work()))
    return done[0] if done else work()


def add(t: torch.Tensor) -> None:
    """The sum over the workers, in place: ((t_0 + t_1) + t_2) + ... in the order of their numbers, for every element. Each
    worker adds up one slice and hands it to all; so the bits depend neither on the backend's way to sum nor on the worker.

    Bytes sent a worker: 2 (W - 1) / W of the tensor, as for all_reduce. Extra memory: twice the tensor."""
    n = size()
    if n == 1:
        return
    with _in_touch():
        if n == 2:
            dist.all_reduce(t)  # two numbers have one sum
            return
        padded = F.pad(t.reshape(-1), (0, -t.numel() % n))
        slices = torch.empty_like(padded)
        dist.all_to_all_single(slices, padded)
        total, *others = slices.view(n, -1)
        for other in others:
            total += other
        dist.all_gather(list(padded.view(n, -1)), total)
        t.copy_(padded[: t.numel()].view(t.shape))


def any_of(wish: bool) -> bool:
    """Whether any worker wishes it."""
    if size() == 1:
        return wish
    wishes = torch.tensor([float(wish)])
    add(wishes)
    return bool(wishes)


def broadcast(tensors: Iterable[torch.Tensor]) -> None:
    """Makes the tensors equal to worker 0's, in place."""
    if size() == 1:
        return
    with _in_touch():
        for t in tensors:
            dist.broadcast(t, 0)


def check_equal(tensors: Iterable[torch.Tensor]) -> None:
    """Raises WorkError where the workers do not hold the same tensors, bit for bit."""
    if size() == 1:
        return
    digest = hashlib.sha256()
    for t in tensors:
        digest.update(t.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    digests: list = [None] * size()
    with _in_touch():
        dist.all_gather_object(digests, digest.digest())
    for other, theirs in enumerate(digests):
        if theirs != digests[0]:
            raise WorkError(
                f"workers 0 and {other} hold different weights; expected the same versions, recipe and data on all machines"
            )


def replicate(module: nn.Module) -> nn.Module:
    """The module to call in training: its real gradients are summed over the workers at the end of a backward pass."""
    if size() == 1:
        return module
    cast(Any, module)._ddp_params_and_buffers_to_ignore = [
        *(name for name, p in module.named_parameters() if isinstance(p, DiscreteParameter)),
        *(name for name, _ in module.named_buffers()),
    ]
    replica = DistributedDataParallel(module)
    replica.register_comm_hook(None, _sum_bucket)
    return replica


def unsummed(module: nn.Module):
    """In this context backward passes of what `replicate` returned leave the gradients this worker's own."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else contextlib.nullcontext()


def _sum_bucket(_, bucket):  # torch checks the annotations of such a hook, and takes none that are strings
    total = bucket.buffer()
    add(total)
    done = torch.futures.Future(devices=[total.device] if total.is_cuda else [])
    done.set_result(total)
    return done


@contextlib.contextmanager
def _in_touch():
    try:
        yield
    except RuntimeError as error:  # what torch.distributed raises, whatever the reason
        raise WorkError(
            f"worker {rank()} lost touch with the others: one has ended, or a machine cannot be reached. "
            "Go on from the last checkpoint with --resume"
        ) from error
