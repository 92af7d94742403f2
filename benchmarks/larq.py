"""Time an image against Larq Compute Engine: to benchmarks/results/larq.json.

GXNOR_LARQ_PYTHON=larq/bin/python python benchmarks/larq.py    (benchmarks/competitors/larq.py says what that Python needs)

Larq's networks are binary; ours of the same shapes are run both with ternary and with binary states, random ones: time
does not depend on them. Every comparison is made RUNS times, networks in turn, and all are stored.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import programs  # noqa: E402
from gxnor.cli import bench  # noqa: E402
from gxnor.program import file  # noqa: E402

RUNS = 2
NETWORKS = {"MNIST": (programs.mnist, [1], 1), "CIFAR": (programs.cifar, [1, 64], 2)}
STATES = {"binary": 0, "ternary": 1}


def measure() -> dict:
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(RUNS):
            for name, (network, batches, threads) in NETWORKS.items():
                for states, N in STATES.items():
                    path = Path(folder) / f"{name.lower()}-{states}.gxnor"
                    file.save(network(N, N), path)
                    runs.append(bench.bench(path, batches, threads, ["larq"]) | {"file": path.name})
                    print(bench.table(runs[-1]), flush=True)
    return {"command": "python benchmarks/larq.py", "date": time.strftime("%Y-%m-%d", time.gmtime()), "runs": runs}


if __name__ == "__main__":
    result = measure()
    (ROOT / "benchmarks" / "results" / "larq.json").write_text(json.dumps(result, indent=1) + "\n")
