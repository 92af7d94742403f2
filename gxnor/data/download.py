"""One download, checked by its checksum, with a progress bar."""

from __future__ import annotations

from pathlib import Path

import pooch
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)


def retrieve(url: str, known_hash: str, name: str, folder: Path) -> None:
    """Saves the file at `url` in the folder under that name. Raises OSError where it cannot be had or
    saved, ValueError where its checksum is another."""
    with Progress(*_COLUMNS, console=Console(stderr=True, markup=False, emoji=False), transient=True) as progress:
        pooch.retrieve(
            url,
            known_hash=known_hash,
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=_Bar(progress, name), chunk_size=2**16),
        )


class _Bar:
    """What pooch expects of a progress bar, drawn by rich."""

    def __init__(self, progress: Progress, label: str):
        self._progress = progress
        self._task = progress.add_task(label, total=None)

    @property
    def total(self) -> float | None:
        return self._progress.tasks[0].total

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size or None)  # 0: the server did not tell

    def update(self, size: int) -> None:
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.refresh()
