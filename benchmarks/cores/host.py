"""A whole test set through exported C on this machine, every logit compared with the engine's.

python -m benchmarks.cores.host FILE.gxnor --data mnist
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.cores import WARNINGS, call, command
from gxnor.program import Program
from gxnor.runtime.engine import Engine
from gxnor.targets.c import write


def logits(program: Program, x: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """float32 (n, classes) of uint8 (n, *shape), by exported C. Raises WorkError where there is no C compiler."""
    out = np.empty((len(x), len(program.classes)), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        write(program, Path(folder), name="net", samples=samples)
        call(["gcc", *WARNINGS, "-O2", "-shared", "-fPIC", "net.c", "-o", "net.so"], Path(folder))
        network = ctypes.CDLL(str(Path(folder) / "net.so"))
        for image, row in zip(np.ascontiguousarray(x), out, strict=True):
            network.net_logits(image.ctypes.data_as(ctypes.c_void_p), row.ctypes.data_as(ctypes.c_void_p))
    return out


def main() -> int:
    program, images, labels, typical = command.read(command.parser(__doc__).parse_args())
    ours = logits(program, images, typical)
    theirs = np.concatenate([Engine(program).run(part) for part in np.array_split(images, 20)])
    same = (ours.view(np.uint32) == theirs.view(np.uint32)).all(axis=1).sum()
    right = (ours.argmax(axis=1) == labels).mean()
    print(f"{same:,} of {len(ours):,} images with the engine's logits on every bit; {100 * right:.2f} % right")
    return int(same != len(ours))


if __name__ == "__main__":
    sys.exit(main())
