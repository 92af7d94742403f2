"""Feeds the file reader whatever atheris comes up with; anything but a Program or a GxnorError is a finding.

    pip install atheris
    python tests/fuzz/fuzz_file.py /tmp/corpus -max_total_time=600 -max_len=4096 -rss_limit_mb=4096

Run it as often as you have ten minutes: the corpus folder (made if missing) is seeded with small valid files and keeps
what was found to be new. Memory that grows by some 200 bytes an input is atheris's own. To run one input again, give
its file instead of the folder.

An input is a file as it is, or, so that mutations get past lengths and escapes, its three parts with b"\\0\\0" between:
the program's JSON, the JSON of the tensors' entries, the tensors.
"""

import io
import json
import math
import struct
import sys
from pathlib import Path

import atheris
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["gxnor"]):
    from gxnor.errors import GxnorError
    from gxnor.program import file, reference

from benchmarks.programs import one_d, random_program


def one_input(data: bytes) -> None:
    for content in (data, joined(data)):
        try:
            program = file.read_stream(io.BytesIO(content), len(content))
        except GxnorError:
            continue
        file.encode(program)
        if max(math.prod(value.shape) for value in program.values) < 2**12:
            reference.run(program, np.zeros((1, *program.input.shape), dtype=np.uint8))


def joined(parts: bytes) -> bytes:
    """The file of three parts."""
    text, entries, tensors = [*parts.split(b"\0\0", 2), b"", b""][:3]
    metadata = json.dumps({"gxnor": text.decode("utf-8", "replace")}).encode()
    header = b'{"__metadata__":' + metadata + b"," + entries[1:]
    return struct.pack("<Q", len(header)) + header + tensors


def parted(data: bytes) -> bytes:
    """The three parts of a file."""
    length = struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8 : 8 + length])
    text = entries.pop("__metadata__")["gxnor"]
    return b"\0\0".join((text.encode(), json.dumps(entries).encode(), data[8 + length :]))


def main() -> None:
    corpus = next((Path(a) for a in sys.argv[1:] if not a.startswith("-")), None)
    if corpus is not None and not corpus.is_file():
        corpus.mkdir(parents=True, exist_ok=True)
        for number, program in enumerate([one_d(), *map(random_program, range(40))]):
            data = file.encode(program)
            if len(data) <= 4096:
                (corpus / f"seed-{number}").write_bytes(data)
                (corpus / f"parts-{number}").write_bytes(parted(data))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
