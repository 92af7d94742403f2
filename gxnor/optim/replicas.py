"""Replicas: workers of a process group that train one network between them, and are to hold the same weights, bit for bit.

Whatever sums the gradients over the workers, DistributedDataParallel for example, gives all of them the same numbers. The
random draws are the same where the step's key is; and whether the weights stayed the same is looked at after every step.
In a single process nothing here acts.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist


def count() -> int:
    """The number of workers in touch with each other."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def agree(key: int, device: torch.device) -> int:
    """The key of worker 0, an int64, on all workers."""
    if count() == 1:
        return key
    shared = torch.tensor([key], device=device)
    dist.broadcast(shared, 0)
    return int(shared)


def any_of(wish: bool, device: torch.device) -> bool:
    """Whether it is true on any worker."""
    if count() == 1:
        return wish
    wishes = torch.tensor([int(wish)], device=device)
    dist.all_reduce(wishes)
    return bool(wishes)


def check_equal(parameters: Iterable[tuple[str | int, torch.Tensor]]) -> None:
    """Raises RuntimeError on all workers, naming the first parameter whose bits are not the same on all of them."""
    if count() == 1:
        return
    names, parameters = zip(*parameters, strict=True)
    mine = torch.stack([digest(getattr(p, "packed", p)).to(parameters[0].device) for p in parameters])
    all_of_them = [torch.empty_like(mine) for _ in range(count())]
    dist.all_gather(all_of_them, mine)
    for name, *digests in zip(names, *(digests.tolist() for digests in all_of_them), strict=True):
        for worker, other in enumerate(digests):
            if other != digests[0]:
                raise RuntimeError(
                    f"workers 0 and {worker} hold different values of parameter {name} after this step. Expected the same "
                    "weights before it, the same settings, and gradients summed over all workers: by "
                    "DistributedDataParallel, the last backward pass outside of no_sync(), or by the reduce of "
                    "update_in_backward"
                )


def digest(t: torch.Tensor) -> torch.Tensor:
    """int64: the sum, modulo 2^64, of the tensor's words of 64 bits, each times an odd number of its own."""
    flat = t.detach().contiguous().view(-1).view(torch.uint8)
    words = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).view(torch.int64)
    return (words * (2 * torch.arange(words.numel(), device=t.device) + 1)).sum()
