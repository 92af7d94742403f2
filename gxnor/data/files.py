"""Finds the files of a data set on this machine, and downloads what is missing.

They are looked for in the folder that the call names, then in $GXNOR_DATA, then in the user's cache folder: in each of
them first directly, then in its subfolder named after the data set. Downloads go to that subfolder of the cache; a file
gets its name only after its checksum was found right.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gxnor.errors import GxnorError, WorkError


@dataclass(frozen=True)
class File:
    """One file that a data set needs: the names it may have on disk, where it is downloaded from, its MD5 there."""

    names: tuple[str, ...]
    url: str
    md5: str

    @property
    def download_name(self) -> str:
        return self.url.rsplit("/", 1)[1]

    def path_in(self, folder: Path) -> Path | None:
        return next((folder / name for name in self.names if os.path.exists(folder / name)), None)


def folders(name: str, data_dir: str | os.PathLike | None, system: Path | None = None) -> list[Path]:
    """Where the data set `name` is looked for, in this order; the last is its own folder of the cache. `system`: where a
    package of the system puts it, looked at after what the user names.

    Raises GxnorError: data_dir or $GXNOR_DATA is not a folder."""
    import pooch

    cache = Path(pooch.os_cache("gxnor"))
    named = {"data_dir (--data-dir)": data_dir, "$GXNOR_DATA": os.environ.get("GXNOR_DATA")}
    roots = [Path(root).expanduser() for root in named.values() if root]
    for source, root in named.items():
        if root and not Path(root).expanduser().is_dir():
            raise GxnorError(f"{source} is {root}, which is not an existing folder: correct it or leave it out")
    places = [folder for root in roots for folder in (root, root / name)]
    return [*places, *([system] if system else []), cache, cache / name]


def locate(name: str, files: list[File], data_dir: str | os.PathLike | None, system: Path | None = None) -> list[Path]:
    """Paths of all `files` of the data set `name`, taken from one of its `folders`.

    Raises GxnorError: data_dir or $GXNOR_DATA is not a folder, a folder holds only some of the files, or they are
    nowhere and cannot be downloaded.
    """
    places = folders(name, data_dir, system)
    own = places[-1]  # of the cache
    for folder in places:
        paths = [path for file in files if (path := file.path_in(folder))]
        if len(paths) == len(files):
            return paths
        # A part of the set may be the user's own: completing it from elsewhere could mix two data sets.
        if paths and folder != own:
            lacking = next(file for file in files if not file.path_in(folder))
            raise WorkError(
                f"{folder} holds {paths[0].name} of {name} but not {lacking.download_name}: "
                f"add it (from {lacking.url}) or take the others away"
            )
    missing = [file for file in files if not file.path_in(own)]
    for file in missing:
        _download(name, file, own, missing)
    return [path for file in files if (path := file.path_in(own))]


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises GxnorError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise WorkError(f"cannot read {path}: {error.strerror}") from error


def _download(name: str, file: File, folder: Path, missing: list[File]) -> None:
    from gxnor.data import download  # what it takes is needed for downloads alone

    try:
        download.retrieve(file.url, f"md5:{file.md5}", file.download_name, folder)
    except OSError as error:
        if error.errno is not None:  # this machine's disk, not the network
            raise WorkError(f"cannot save {file.download_name} in {folder}: {error.strerror}") from error
        raise WorkError(
            f"{name} is not on this machine and {file.url} cannot be downloaded ({type(error).__name__}).\n"
            f"Put {', '.join(f.download_name for f in missing)} into {folder},"
            " or name the folder that holds them with data_dir (--data-dir) or $GXNOR_DATA."
        ) from error
    except ValueError as error:
        raise WorkError(
            f"{file.url} did not deliver the original file: its checksum is wrong, and nothing was kept.\n"
            f"Try again, or put the original {file.download_name} into {folder}."
        ) from error
