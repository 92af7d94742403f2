"""Networks that come with the package, by name: `gxnor.load("mnist")`, `gxnor run mnist image.png`.

Each is a `.gxnor` file beside this one, with a card in Markdown of the same name: data, accuracy, and the commands that
make it again.
"""

from __future__ import annotations

import os
from pathlib import Path

from gxnor.errors import GxnorError

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The networks that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.gxnor"))


def find(path: str | os.PathLike) -> Path:
    """The path itself, or that of the pretrained network of this name, where no file or folder has it.

    Raises GxnorError for what looks like a name (it has neither a suffix nor a folder) and is not one."""
    given = Path(path)
    if given.exists() or given.suffix or len(given.parts) != 1:
        return given
    if given.name in names():
        return FOLDER / f"{given.name}.gxnor"
    raise GxnorError(
        f"there is no file {str(path)!r}, nor a network of that name: expected a path, or one of {', '.join(names())}"
    )


def card(name: str) -> str:
    """The Markdown text that describes a pretrained network."""
    return find(name).with_suffix(".md").read_text(encoding="utf-8")
