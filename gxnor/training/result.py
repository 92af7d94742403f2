"""What a run has reached: `result.json` and the worst-classified test images."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from gxnor.data import Dataset
from gxnor.machine import describe
from gxnor.training.evaluate import Evaluation
from gxnor.version import VERSION
from gxnor.writing import replacing

WORST = 32


def machine(device: str = "cpu") -> dict:
    """`gxnor.machine.describe`, with PyTorch's threads and device."""
    gpu = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {**describe(), "threads": torch.get_num_threads(), "device": device, **gpu}


def versions() -> dict:
    return {"gxnor": VERSION, "torch": torch.__version__, "numpy": np.__version__,
            "python": platform.python_version()}  # fmt: skip


def make_result(trainer, test: Evaluation, summary: dict, command: str) -> dict:
    """The dict that becomes `result.json`; see docs/runs.md for its keys."""
    recipe, now = trainer.recipe, trainer.progress
    return {
        "recipe": recipe.name, "seed": recipe.train.seed, "epochs": now.epoch, "best_epoch": now.best_epoch,
        "seconds": round(now.seconds, 3), "val_accuracy": now.best_accuracy, "test_accuracy": test.accuracy,
        "test_loss": test.loss, **summary, "classes": list(trainer.dataset.classes),
        "confusion": test.confusion().tolist(), "machine": machine(trainer.device.type), "versions": versions(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "command": command,
    }  # fmt: skip


def save_worst(path: Path, dataset: Dataset, test: Evaluation) -> None:
    """The images with the smallest margins, worst first: images, labels, predicted, margin."""
    margins = test.margins()
    worst = margins.argsort()[:WORST]
    tensors = {
        "images": np.ascontiguousarray(dataset.test_images[worst.numpy()]),
        "labels": test.labels[worst].numpy(),
        "predicted": test.predicted[worst].numpy(),
        "margin": margins[worst].numpy(),
    }
    with replacing(path) as part:
        part.write_bytes(save(tensors))
