"""The browser: a program as one HTML file that draws, classifies and shows which events fire, without a server or a library.

network.js runs the program, ink.js makes pixels of what is drawn or dropped, show.js shows what the network did, draw.js
listens; page.html and page.css are what is seen. The page carries the `.gxnor` file itself; network.js reads it.
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

from gxnor.errors import GxnorError
from gxnor.program import Program, file
from gxnor.version import VERSION
from gxnor.writing import write_text

FOLDER = Path(__file__).parent


def write(program: Program, path: str | os.PathLike) -> str:
    """Writes the page to `path` and returns one line on it.

    Raises GxnorError for a program that takes no images, and where nothing can be written."""
    text = page(program)
    write_text(path, text)
    return f"{path}: a page of {len(text.encode()):,} bytes, to be opened in a browser"


def page(program: Program) -> str:
    """The whole page. Raises GxnorError for a program whose input is not gray or colour pixels."""
    shape = program.input.shape
    if program.output_names or len(program.outputs[0].shape) > 1:
        raise GxnorError("a page shows one class: expected a program with one output, and one score per class")
    if program.input.space is not None or len(shape) != 3 or shape[0] not in (1, 3):
        got = f"{'pixels' if program.input.space is None else 'states'} of shape {shape}"
        raise GxnorError(f"a page shows images: expected an input of pixels (1 or 3, height, width), got {got}")
    parts = {
        "version": VERSION,
        "style": _text("page.css"),
        **{name: _text(f"{name}.js") for name in ("network", "show", "ink", "draw")},
        "program": base64.b64encode(file.encode(program)).decode(),
        "values": json.dumps([[value.shape, value.bound] for value in program.values], separators=(",", ":")),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _text("page.html"))


def _text(name: str) -> str:
    """A file of this folder without indentation and lines that are a comment alone."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return re.sub(r"^ *//.*\n|^ +", "", text, flags=re.MULTILINE)
