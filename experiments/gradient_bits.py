"""How many bits, and which scales, gradients need: short trainings of a recipe in integer arithmetic.

    python experiments/gradient_bits.py [--recipe mnist] [--images 10000] [--epochs 3] [--json PATH] [--data-dir DIR]

For every format, the mean training loss of each epoch, from the same start on the same batches. dX always has a scale per
sample. "per channel" gives dW one per output channel, from a second rounding, as `gxnor.nn.integer` does; "per tensor"
one for all; "nearest" is per channel, without draws.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from unittest import mock

import torch

from gxnor.nn import integer_kernels
from gxnor.training import recipes
from gxnor.training.trainer import Trainer

quantize = integer_kernels.quantize


def per_tensor(dy, bits, key, per="sample"):
    if per == "sample":
        return quantize(dy, bits, key)
    q, scale = quantize(dy.reshape(1, 1, 1, -1), bits, key)
    return q.view(dy.shape), scale.repeat(dy.shape[-1])


def nearest(dy, bits, key, per="sample"):
    top, dims = 2 ** (bits - 1) - 1, (1, 2, 3) if per == "sample" else (0, 1, 2)
    scale = dy.abs().amax(dims, keepdim=True) / top
    return torch.nan_to_num(dy / scale).round().to(torch.int8), scale.flatten()


BITS = {"float": [0], "per channel": [8, 6, 5, 4, 3], "per tensor": [8, 6, 5, 4], "nearest": [8, 6, 4]}
FORMATS = [(kind, bits) for kind, several in BITS.items() for bits in several]
QUANTIZERS = {"per tensor": per_tensor, "nearest": nearest}


def losses(arguments, kind: str, bits: int) -> list[float]:
    settings = [f"data.train={arguments.images}", f"train.epochs={arguments.epochs}", "train.batch_growth=1",
                f"train.arithmetic={'integer' if bits else 'float'}", f"train.gradient_bits={bits or 8}"]  # fmt: skip
    trainer = Trainer(recipes.load(arguments.recipe, [*settings, *arguments.set]), arguments.data_dir)
    found, now = [], trainer.progress
    with mock.patch.object(integer_kernels, "quantize", QUANTIZERS.get(kind, quantize)):
        while now.epoch < arguments.epochs:
            for _ in trainer.steps():
                pass
            trainer._read_totals()
            found.append(now.loss_sum / now.step)
            now.epoch, now.step, now.loss_sum, now.correct = now.epoch + 1, 0, 0.0, 0
            trainer._totals = None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="mnist")
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parents[1] / "benchmarks/results/gradient_bits.json"
    )
    arguments = parser.parse_args()
    rows = []
    for kind, bits in FORMATS:
        rows.append({"format": kind, "bits": bits, "losses": [round(x, 4) for x in losses(arguments, kind, bits)]})
        print(f"{kind:12} {bits or '':2}  " + "  ".join(f"{x:.4f}" for x in rows[-1]["losses"]), flush=True)
        what = {
            "recipe": arguments.recipe,
            "images": arguments.images,
            "epochs": arguments.epochs,
            "set": arguments.set,
        }
        arguments.json.write_text(json.dumps({**what, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
