"""Files that are whole or not there: written beside their place, and renamed when complete."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from gxnor.errors import GxnorError, WorkError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """The name of a file to write in the block. It takes the place of `path` (of what it links to) where the block ends
    well, with the permissions that any new file gets, and is removed where it does not.

    Raises GxnorError where a folder or a device is in that place, WorkError, naming `path`, where nothing can be written."""
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise GxnorError(f"expected the name of a file to write, got {path}, which is a folder or a device")
    part = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.touch()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)
        os.replace(part, target)
    except OSError as error:
        raise WorkError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """UTF-8, as `replacing` does it."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
