"""Peak memory of a training step, measured in a process of its own.

The process takes {"recipe": ..., "input_shape": [3, 32, 32], "batch": 100}, a line of JSON, prints {"peak": bytes,
"baseline": bytes}, and ends at once where its standard input does, as when the one that started it is killed. On the CPU
the peak is that of the resident memory (VmHWM of Linux) over three steps, minus what was resident right before the
network was built; a step of a tiny network comes first, so that the libraries' own memory counts as baseline. Freed
blocks go back to the system at once (glibc's thresholds, set for this process), so that what is resident is what is held.
On CUDA both numbers are the allocator's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import torch

from gxnor.errors import WorkError
from gxnor.training import schedule
from gxnor.training.build import arithmetic, build, make_optimizer, memory_format, pick_device, saving
from gxnor.training.losses import LOSSES
from gxnor.training.recipe import Recipe, Train

CGROUP = Path("/sys/fs/cgroup")  # of a container
STEPS = 3  # the optimizer's state is there from the second on
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}


class Step:
    """A recipe's network and optimizer, and a training step of them on random images."""

    def __init__(self, recipe: Recipe, input_shape: tuple[int, ...]):
        self.recipe, self.input_shape, self.device = recipe, input_shape, pick_device(recipe.train.device)
        self.format = memory_format(recipe, len(input_shape))
        self.classes = int(recipe.network.layers.rsplit("-", 1)[1])
        self.model = build(recipe, input_shape, tuple(map(str, range(self.classes)))).to(self.device)
        schedule.set_activations(self.model, recipe, 0)  # of the first stage, whose states take the most bits
        self.optimizer = make_optimizer(recipe, self.model)

    def forward(self, batch: int) -> torch.Tensor:
        """The loss of random images."""
        images = torch.randint(0, 256, (batch, *self.input_shape), dtype=torch.uint8)
        labels = torch.randint(0, self.classes, (batch,)).to(self.device)
        settings = self.recipe.train
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=settings.bfloat16)
        with saving(self.recipe), autocast, arithmetic(self.recipe, self.model, key=0):
            scores = self.model(images.to(self.device, memory_format=self.format))
        return LOSSES[settings.loss](scores.float(), labels)

    def run(self, batch: int) -> None:
        """A step of the recipe's optimizer, the batch in its parts; where batches grow, as at the end of the run."""
        self.optimizer.zero_grad()
        parts = parts_at_end(self.recipe.train)
        for left in reversed(range(parts)):
            with self.optimizer.accumulating() if left else contextlib.nullcontext():
                (self.forward(batch // self.recipe.train.micro_batches) / parts).backward()
        self.optimizer.step()


def parts_at_end(settings: Train) -> int:
    """Parts of the last epoch's batches; of a batch that grows twice those of the first, for more hold no more."""
    return settings.micro_batches * min(settings.batch_growth, 2)


def measure(recipe: Recipe, input_shape: tuple[int, ...]) -> dict[str, int] | None:
    """Starts the process and returns what it measured; None where nothing can be: on a CPU under another system than Linux.
    Raises WorkError where the process fails, as for want of memory."""
    if pick_device(recipe.train.device).type == "cpu" and not Path("/proc/self/status").exists():
        return None
    task = json.dumps({"recipe": recipe.model_dump(), "input_shape": input_shape, "batch": recipe.train.batch})
    reading, writing = os.pipe()
    try:
        os.write(writing, f"{task}\n".encode())  # stays open: its end tells the process that this one has ended
        done = subprocess.run(
            [sys.executable, "-m", "gxnor.training.memory.measure"], stdin=reading, capture_output=True, text=True,
            env={**os.environ, **ALLOCATOR},
        )  # fmt: skip
    finally:
        os.close(reading)
        os.close(writing)
    if done.returncode:
        reason = done.stderr.strip().rsplit("\n", 1)[-1] or f"it was ended by signal {-done.returncode}"
        raise WorkError(f"the measured training step did not end well: {reason}")
    return json.loads(done.stdout)


def available(device: torch.device) -> int | None:
    """Bytes that a step may still take: of the GPU, or of this machine or container; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    with contextlib.suppress(OSError, ValueError):
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    return free


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing comes but the end
    os._exit(1)


def _measure_here(recipe: Recipe, input_shape: tuple[int, ...], batch: int) -> dict[str, int]:
    device = pick_device(recipe.train.device)
    tiny = recipe.model_copy(update={"network": recipe.network.model_copy(update={"width": 0.02})})
    step = Step(tiny, input_shape)
    step.run(2 * recipe.train.micro_batches)
    del step
    baseline = _reset(device)
    step = Step(recipe, input_shape)
    for _ in range(STEPS):
        step.run(batch)
    return {"peak": _peak(device) - baseline, "baseline": baseline}


def _reset(device: torch.device) -> int:
    """Forgets the peak so far and returns the bytes held now."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else _resident("VmHWM")


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


if __name__ == "__main__":
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    recipe = Recipe.model_validate(task["recipe"])
    print(json.dumps(_measure_here(recipe, tuple(task["input_shape"]), task["batch"])))
