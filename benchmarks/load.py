"""How long a network takes from its file to ready, and how much memory it then holds: to benchmarks/results/load.json.

python benchmarks/load.py [FILE.gxnor]     without a file: the CIFAR network with random ternary weights

`first` is the first load of the process, modules imported; `warm` are those that follow. On a machine busy with other
things, `chrt -f 1` before the command keeps these out of the wall-clock time; the result says so.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import gxnor  # noqa: E402
from benchmarks.programs import cifar  # noqa: E402
from gxnor.machine import describe  # noqa: E402
from gxnor.program import file  # noqa: E402
from gxnor.runtime import network  # noqa: E402
from gxnor.runtime.engine import Engine  # noqa: E402

TURNS, HELD = 20, 10
REALTIME = os.sched_getscheduler(0) == os.SCHED_FIFO


def measure(path: Path) -> dict:
    """Times in milliseconds, memory in bytes."""
    first = timed(path)
    warm = [timed(path) for _ in range(TURNS)]
    size, program = path.stat().st_size, file.read(path)
    before = resident()
    held = [network.load(path) for _ in range(HELD)]
    grown = (resident() - before) / HELD
    tracemalloc.start()
    held.append(network.load(path))
    python = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return {
        "first_ms": first[0],
        "first_cpu_ms": first[1],
        "warm_ms": statistics.median(wall for wall, _ in warm),
        "warm_cpu_ms": statistics.median(cpu for _, cpu in warm),
        "warm_ms_largest": max(wall for wall, _ in warm),
        "turns": TURNS,
        "file_bytes": size,
        "plan_bytes": Engine(program).nbytes,
        "python_bytes": python,
        "resident_bytes": round(grown),
        "resident_over_file": round(grown / size, 3),
    }


def timed(path: Path) -> tuple[float, float]:
    """Milliseconds of one load, wall clock and CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    network.load(path)
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def resident() -> int:
    """Bytes of memory that the process has (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "cifar.gxnor"
        if len(sys.argv) == 1:
            file.save(cifar(), path)
        result = {
            "command": " ".join(["chrt -f 1 python" if REALTIME else "python", "benchmarks/load.py", *sys.argv[1:]]),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "gxnor": gxnor.__version__,
            "machine": describe(),
            "load": measure(path),
        }
    to = ROOT / "benchmarks" / "results" / "load.json"
    to.parent.mkdir(exist_ok=True)
    to.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
