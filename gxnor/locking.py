"""One process at a time in a folder that a run or a study writes.

The lock is an advisory lock of the operating system on a file in the folder. The system takes it back when its holder
ends, however that happens (kill -9, power cut), so nothing is ever in the way that nobody holds any more. The file is
removed at the end; one that a killed process left says nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from gxnor.errors import GxnorError

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextlib.contextmanager
def alone_in(folder: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Makes the folder if it is not there, and holds its lock in the block. At the end, folders that were made here and
    are still empty are removed again. A process that is about to end is waited for, up to `patience` seconds.

    Raises GxnorError where another process holds the lock, or `folder` is a file. `what`: "run" or "study", for the
    messages. Where the system or the file system knows no locks, a RuntimeWarning says so."""
    made: list[Path] = []
    until = time.monotonic() + patience
    try:
        while (lock := _take(folder, what, made)) is None:
            if time.monotonic() > until:
                raise GxnorError(
                    f"a {what} is going on in {folder}{_holder(folder)}: wait for its end, stop it, or give another "
                    "folder with --out"
                )
            time.sleep(0.1)
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)  # while it is held: who opened it meanwhile will notice
            os.close(lock)
    finally:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


def is_empty(folder: Path) -> bool:
    """Whether nothing but a lock is in a folder, or no folder is there."""
    return not folder.exists() or all(entry.name == LOCK for entry in folder.iterdir())


def _take(folder: Path, what: str, made: list[Path]) -> int | None:
    """The open file of the lock, or None where another process holds it. Folders that had to be made are put on `made`."""
    path = folder / LOCK
    while True:
        made += [place for place in (folder, *folder.parents) if not place.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except (FileExistsError, NotADirectoryError):
            raise GxnorError(f"{folder} is a file; give a folder for the {what} with --out") from None
        except FileNotFoundError:  # its holder removed the folder in between
            continue
        try:
            if fcntl is None:
                raise OSError(0, "this platform has none")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        except OSError as error:
            warnings.warn(
                f"no lock in {folder} ({error.strerror}): nothing keeps a second {what} out of it",
                RuntimeWarning,
                stacklevel=4,
            )
            return file
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                os.truncate(file, 0)
                os.write(file, str(os.getpid()).encode())
                return file
        os.close(file)  # its holder removed it in between: it locks nothing any more


def _holder(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int((folder / LOCK).read_text())})"
    return ""
