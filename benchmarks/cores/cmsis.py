"""The MNIST recipe's network in int8 by CMSIS-NN, under the same QEMU, for the table of docs/hardware.md.

    git clone https://github.com/ARM-software/CMSIS-NN
    python -m benchmarks.cores.cmsis CMSIS-NN

Compiled with -O3, as its authors do, and with the C library, so that memcpy is the library's or inline.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.cores import CORES, HERE, Result, call, emulate, link

SHAPES = {"weights_1": 32 * 25, "weights_2": 64 * 25 * 32, "weights_3": 512 * 1024, "weights_4": 10 * 512}
IMAGES = 2


def run(source: Path, name: str, optimise: str = "-O3", buffer: int = 3200) -> Result:
    """Raises WorkError where a tool is missing or a function of CMSIS-NN reports an error."""
    core = CORES[name]
    files = [*(source / "Source").glob("ConvolutionFunctions/*s8*.c"), *(source / "Source").glob("*/*max_pool_s8.c")]
    files += [
        *(source / "Source").glob("FullyConnectedFunctions/*s8*.c"),
        *(source / "Source").glob("NNSupport*/*s8*.c"),
    ]
    files += (source / "Source").glob("NNSupport*/*q7*.c")
    files = [file.resolve() for file in files]
    flags = [
        *core.flags.split(),
        optimise,
        "-ffunction-sections",
        "-fdata-sections",
        f"-I{source.resolve() / 'Include'}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        call([core.compiler, *flags, "-w", "-c", *files], folder)
        objects = sorted(path.name for path in folder.glob("*.o"))
        counts, sizes = [], []
        for images in (0, IMAGES):
            _write_noise(folder / "noise.h", images, buffer)
            link(core, flags, folder, HERE / "cmsis.c", *objects, "-lm")
            counts.append(emulate(core, folder)[-1])
            sizes = call([core.compiler.replace("gcc", "size"), "net.elf"], folder).split("\n")[1].split()
        return Result(name, int(sizes[0]) - 784, int(sizes[1]) + int(sizes[2]), 0, (counts[1] - counts[0]) // IMAGES)


def _write_noise(path: Path, images: int, buffer: int) -> None:
    random = np.random.default_rng(0)
    lines = [f"#define IMAGES {images}", f"#define BUFFER {buffer}"]
    for name, size in {"image": 784, **SHAPES}.items():
        lines.append(
            f"static const int8_t {name}[{size}] = {{{','.join(map(str, random.integers(-127, 128, size)))}}};"
        )
    lines.append("static const int32_t biases[512] = {1};")
    lines.append(f"static const int32_t multipliers[64] = {{{'1 << 30, ' * 64}}}, shifts[64] = {{{'-8, ' * 64}}};")
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for name in ("M3", "M4", "M7"):  # the flash of the other boards is smaller than this network
        print(run(Path(sys.argv[1]), name), flush=True)
