"""The machine that numbers are measured on."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path


def cpu() -> str:
    """The processor's name, as Linux or Python gives it."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        if names := [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]:
            return names[0]
    return platform.processor() or platform.machine()


def describe() -> dict:
    """What a measurement is stated with: processor, cores, system and Python."""
    return {"cpu": cpu(), "cores": cores(), "system": platform.platform(), "python": platform.python_version()}


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
