"""What a run shows while it works: a bar with rate and time left on a terminal, a line per epoch elsewhere; TensorBoard."""

from __future__ import annotations

import signal

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gxnor.errors import GxnorError
from gxnor.training import distributed


class Console:
    """Shows progress and catches the wish to stop: on the first Ctrl-C or SIGTERM `stopping` becomes true.
    Of several workers, all catch the wish and the first one shows."""

    def __init__(self, recipe, trainer, folder):
        self.recipe, self.trainer, self.folder = recipe, trainer, folder
        shows = distributed.rank() == 0
        self.terminal = Terminal(stderr=True, quiet=not shows, highlight=False, markup=False, emoji=False)
        self.stopping = False
        now = trainer.progress
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"), TextColumn("left"), TimeRemainingColumn(compact=True),
            console=self.terminal, disable=not (shows and self.terminal.is_terminal), transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("epoch 1", total=recipe.train.epochs, completed=now.epoch, rate="")
        self.started, self.images = now.seconds, 0
        self.board = self._board() if recipe.train.tensorboard and shows else None

    def __enter__(self):
        self.previous = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.previous[number] = signal.signal(number, self._stop)
            except ValueError:
                break  # not in the main thread: whoever is there handles signals
        self.bar.start()
        return self

    def __exit__(self, *_):
        self.bar.stop()
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        if self.board:
            self.board.close()

    def _stop(self, number, frame):
        self.stopping = True

    def stepped(self) -> None:
        now = self.trainer.progress
        if not self.images:
            for name, what in self.trainer.arithmetic:
                if not what.startswith("integer"):
                    self.terminal.print(f"layer {name} trains in {what}", highlight=False)
        self.images += self.trainer.batch
        rate = self.images / max(now.seconds - self.started, 1e-9)
        self.bar.update(
            self.task, completed=now.epoch + now.step / self.trainer.steps_per_epoch, rate=f"{rate:,.0f} images/s",
            description=f"epoch {now.epoch + 1}/{self.recipe.train.epochs}",
        )  # fmt: skip

    def epoch(self, line: dict) -> None:
        best = " *" if line["epoch"] == self.trainer.progress.best_epoch else ""
        self.terminal.print(
            f"epoch {line['epoch']:>3}/{self.recipe.train.epochs}  train loss {line['train_loss']:.4f}  "
            f"validation {100 * line['val_accuracy']:.2f} %{best}  {line['seconds']:.0f} s"
        )
        if self.board:
            for name in ("lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy"):
                self.board.add_scalar(name, line[name], line["epoch"])
            for layer in line["layers"]:
                for name in ("flip_rate", "zero_activations"):
                    if layer[name] is not None:
                        self.board.add_scalar(f"{name}/{layer['name']}", layer[name], line["epoch"])
                for state, share in enumerate(layer["states"] or []):
                    self.board.add_scalar(f"states/{layer['name']}/{state}", share, line["epoch"])

    def _board(self):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise GxnorError("train.tensorboard needs the package tensorboard: pip install tensorboard") from None
        return SummaryWriter(self.folder.path / "tensorboard")
