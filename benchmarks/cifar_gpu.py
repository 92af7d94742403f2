"""CIFAR-10 on a GPU, in pieces: one of four networks for at most so many minutes, resumed exactly by the next call.

python benchmarks/cifar_gpu.py gxnor|gxnor-adam|full|latent [--minutes 9] [--seed 1] [--out DIR] [--data-dir DIR]
                               [--set KEY=VALUE ...]

Exit codes: 0 the run is finished, 75 there is more to do (call again), 1 and 2 as `gxnor train`. The settings for speed
are those below; data, augmentation and the sums over an epoch stay on the GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

GO_ON = 75
SPEED = ("train.bfloat16=true", "train.compile=true", "train.channels_last=true", "train.recalibration_batches=20")
# Increments and rates stand here, not in the recipe, so that a new default does not change what a started run means.
ADAM = (
    "optimizer.increment=adam", "optimizer.counter=0", "optimizer.m=3", "optimizer.probability=tanh", "optimizer.beta1=0.9",
    "optimizer.split_zero=false", "optimizer.hysteresis=0", "optimizer.norm_decay=0.03", "train.batch=250",
    "train.batch_growth=1",
)  # fmt: skip
NETWORKS = {
    "gxnor": (
        "optimizer.increment=factored", "optimizer.counter=4", "optimizer.m=1", "optimizer.probability=linear",
        "optimizer.split_zero=true", "optimizer.hysteresis=0.125", "optimizer.lr=0.05", "optimizer.lr_end=0.005",
        "optimizer.norm_decay=0.03", "train.batch=100", "train.batch_growth=32",
    ),
    "gxnor-adam": (*ADAM, "optimizer.lr=0.1", "optimizer.lr_end=3e-4", "optimizer.beta1_end=0.9995"),
    "full": (*ADAM, "optimizer.lr=0.003", "optimizer.lr_end=3e-5", "precision.weights=real", "precision.activations=real"),
    "latent": (*ADAM, "optimizer.lr=0.1", "optimizer.lr_end=1e-3", "precision.latent=true"),
}  # fmt: skip


def command(network: str, seed: int, out: Path, data_dir: Path | None, settings: list[str]) -> list[str]:
    """The `gxnor train` that a piece is a part of."""
    words = [word for setting in (*SPEED, *NETWORKS[network], *settings) for word in ("--set", setting)]
    where = ["--data-dir", str(data_dir)] if data_dir else []
    return ["train", "cifar10", "--seed", str(seed), "--resume", "--out", str(out), *where, *words]


def piece(arguments: list[str], minutes: float) -> int:
    """Trains until the run is finished or the time is over; returns the exit code."""
    process = subprocess.Popen([sys.executable, "-m", "gxnor", *arguments])
    try:
        return process.wait(60 * minutes)
    except subprocess.TimeoutExpired:
        process.terminate()  # the run writes its checkpoint; killed before its first step, it has lost nothing
        process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    out = Path(arguments[arguments.index("--out") + 1])
    return 0 if (out / "result.json").exists() else GO_ON


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    out = given.out or Path("runs") / f"cifar10-{given.network}-seed{given.seed}"
    return piece(command(given.network, given.seed, out, given.data_dir, given.set), given.minutes)


if __name__ == "__main__":
    sys.exit(main())
