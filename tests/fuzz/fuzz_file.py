"""Feeds the file reader whatever atheris comes up with; anything but a Program or a GxnorError is a finding.

    pip install atheris
    python tests/fuzz/fuzz_file.py /tmp/corpus -max_total_time=3600 -max_len=4096 -rss_limit_mb=1024

The corpus folder (made if missing) is seeded with small valid files and keeps what was found to be new.
"""

import io
import math
import sys
from pathlib import Path

import atheris
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["gxnor"]):
    from gxnor import file, reference
    from gxnor.errors import GxnorError

from tests.programs import one_d, random_program


def one_input(data: bytes) -> None:
    try:
        program = file.read_stream(io.BytesIO(data), len(data))
    except GxnorError:
        return
    file.encode(program)
    if max(math.prod(value.shape) for value in program.values) < 2**12:
        reference.run(program, np.zeros((1, *program.input.shape), dtype=np.uint8))


def main() -> None:
    corpus = next((Path(a) for a in sys.argv[1:] if not a.startswith("-")), None)
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        for seed in range(40):
            data = file.encode(random_program(seed))
            if len(data) <= 4096:
                (corpus / f"seed-{seed}").write_bytes(data)
        (corpus / "one_d").write_bytes(file.encode(one_d()))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
