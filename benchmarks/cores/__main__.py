"""Runs a network on every core and compares the instructions with those that are written down.

python -m benchmarks.cores FILE.gxnor --data mnist [--images 20] [--core M4 ...]
"""

from __future__ import annotations

import sys

from benchmarks.cores import CORES, command, run


def main() -> int:
    parser = command.parser(__doc__, images=20)
    parser.add_argument("--core", action="append", choices=CORES)
    parser.add_argument("--optimise", default="-Os")
    arguments = parser.parse_args()
    program, images, _, typical = command.read(arguments)
    print(f"{'core':<12}{'flash':>9}{'RAM':>8}{'stack':>8}{'instructions':>14}")
    for name in arguments.core or CORES:
        got = run(program, images, name, arguments.optimise, typical)
        print(f"{name:<12}{got.flash:>9,}{got.ram:>8,}{got.stack:>8,}{got.instructions:>14,}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
