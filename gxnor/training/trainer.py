"""A training run in memory: data, network, optimizer, and where it stands.

Everything random is a function of the recipe's seed and of where the run stands (epoch, step), or is saved with it; so
a run that is killed at any moment and resumed ends in the same weights, bit for bit, as one that was never stopped (on
the CPU, with the same number of threads).

A step takes its batch in parts, each with its own forward and backward pass and its own batch norm:

    gradient = 1/parts * sum of the parts' gradients       running statistics = mean of what each part makes of them

A batch that grows grows by parts, so that a step takes no more memory for activations at the end than at the start.
Workers (`gxnor.training.distributed`) share the parts out. The gradient of a discrete layer lives from its backward pass
to its move, right after; with several parts per worker, those of all layers live from the first part to the last.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim.swa_utils import update_bn

from gxnor.errors import GxnorError
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.stream import subkey
from gxnor.training import checkpoint, distributed, norms, schedule
from gxnor.training.augment import augment, check_suits, send
from gxnor.training.build import (
    INIT,
    arithmetic,
    build,
    count_parts,
    load_data,
    load_network,
    make_optimizer,
    memory_format,
    pick_device,
    read_network,
    save_network,
    saving,
    split,
)
from gxnor.training.evaluate import Evaluation, counting_zeros, evaluate, layer_statistics
from gxnor.training.losses import LOSSES
from gxnor.training.recipe import Recipe
from gxnor.training.restart import move_towards_random

# Purposes of the streams derived from a recipe's seed, beside INIT.
ORDER, AUGMENT, NORMS, RESTART, MOVES, ROUNDING = range(INIT + 1, INIT + 7)


@dataclass
class Progress:
    """Where a run stands, between two steps."""

    epoch: int = 0  # complete epochs
    step: int = 0  # complete steps of the epoch under way
    seconds: float = 0.0
    loss_sum: float = 0.0  # over the steps of the epoch under way
    correct: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    waited: int = 0  # epochs since the best one, or since the last restart


class Trainer:
    """A run in memory: data, network, optimizer and where it stands.

    Args:
        recipe: the resolved recipe.
        data_dir: where to look for the data first.
    """

    def __init__(self, recipe: Recipe, data_dir: Path | None = None):
        self.recipe, settings = recipe, recipe.train
        self.device = pick_device(settings.device)
        self.dataset = load_data(recipe, data_dir)
        check_suits(recipe.augment, self.dataset)
        (self.images, self.labels), (self.val_images, self.val_labels) = split(self.dataset, recipe, self.device)
        if settings.batch * settings.batch_growth > len(self.images):
            grown = f", and train.batch_growth {settings.batch_growth}" if settings.batch_growth > 1 else ""
            raise GxnorError(
                f"train.batch is {settings.batch}{grown}, but only {len(self.images)} images are there to train on"
            )
        self.first_parts = count_parts(recipe, distributed.size())
        self.model = build(recipe, self.dataset.train_images.shape[1:], self.dataset.classes).to(self.device)
        self.optimizer = make_optimizer(recipe, self.model, torch.Generator().manual_seed(self.key(MOVES)))
        self.loss = LOSSES[settings.loss]
        self.forward = torch.compile(self.model) if settings.compile else self.model
        self.progress = Progress()
        self.arithmetic: list[tuple[str, str]] = []  # of each layer in the last step, where integers were asked for
        self._totals: torch.Tensor | None = None  # float64 [2]: loss_sum and correct of the epoch under way

    def key(self, *path: int) -> int:
        """A seed of its own for every purpose and place in the run."""
        key = self.recipe.train.seed
        for number in path:
            key = subkey(key, number)
        return key >> 1  # torch's generators take 63 bits of it

    @property
    def parts(self) -> int:
        """Parts of a batch of the epoch under way."""
        return self.first_parts * schedule.growth(self.recipe.train, self.progress.epoch)

    @property
    def batch(self) -> int:
        """Images in a batch of the epoch under way."""
        return self.recipe.train.batch * schedule.growth(self.recipe.train, self.progress.epoch)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the epoch under way; images that do not fill a batch wait for another epoch's order."""
        return len(self.images) // self.batch

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        return images.to(self.device, memory_format=memory_format(self.recipe, images.dim() - 1))

    def steps(self) -> Iterator[None]:
        """Runs the steps of the epoch that are left, one at a time; yields after each, where a run may be left."""
        settings, now = self.recipe.train, self.progress
        batch, steps = self.batch, self.steps_per_epoch
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.key(ORDER, now.epoch)))
        order = send(order, self.device)
        self._read_totals()
        self._totals = torch.tensor([now.loss_sum, now.correct], dtype=torch.float64, device=self.device)
        self.model.train()
        schedule.set_activations(self.model, self.recipe, now.epoch)
        while now.step < steps:
            start = time.perf_counter()
            fraction = (now.epoch + now.step / steps) / settings.epochs
            schedule.apply(self.optimizer, self.recipe.optimizer, fraction, now.epoch)
            chosen = order[now.step * batch : (now.step + 1) * batch]
            draws = torch.Generator().manual_seed(self.key(AUGMENT, now.epoch, now.step))
            images = augment(self.images[chosen], self.recipe.augment, draws)
            self._totals += self._step(images, self.labels[chosen])
            now.step += 1
            now.seconds += time.perf_counter() - start
            yield

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step on a batch, of which this worker computes its share of parts. Returns float64 [2], on the device: the
        mean loss and how many were right."""
        count, share = self.parts, self.parts // distributed.size()
        parts = list(zip(images.chunk(count), labels.chunk(count), strict=True))
        mine = parts[distributed.rank() * share :][:share]
        buffers = list(self.model.buffers()) if count > 1 else []
        before = [buffer.clone() for buffer in buffers]
        sums = torch.zeros(2 + sum(map(torch.numel, buffers)), dtype=torch.float64, device=self.device)
        self.optimizer.zero_grad()
        for number, (images, labels) in enumerate(mine, start=1):
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
            with contextlib.nullcontext() if number == share else self._accumulating():
                key = self.key(ROUNDING, self.progress.epoch, self.progress.step, distributed.rank() * share + number)
                autocast = torch.autocast(self.device.type, torch.bfloat16, self.recipe.train.bfloat16)
                with saving(self.recipe), autocast, arithmetic(self.recipe, self.model, key) as products:
                    scores = self.forward(self.prepare(images))
                self.arithmetic = products.layers if products else []
                loss = self.loss(scores.float(), labels)
                (loss / count).backward()
            right = (scores.argmax(1) == labels).sum()
            sums += torch.cat([t.detach().double().view(-1) for t in (loss, right, *buffers)])
        self.optimizer.step()
        if decay := self.recipe.optimizer.norm_decay:
            norms.pull(self.model, min(decay * self.optimizer.param_groups[0]["lr"], 1.0))
        distributed.add(sums)
        loss, _, *means = (sums / count).split([1, 1, *map(torch.numel, buffers)])
        for buffer, mean in zip(buffers, means, strict=True):
            buffer.copy_(mean.view(buffer.shape))
        return torch.cat([loss, sums[1:2]])

    @contextlib.contextmanager
    def _accumulating(self):
        with self.optimizer.accumulating(), distributed.unsummed(self.forward):
            yield

    def _read_totals(self) -> None:
        """Brings loss_sum and correct up to date. Not after each step: a GPU would wait."""
        if self._totals is not None:
            self.progress.loss_sum, correct = self._totals.tolist()
            self.progress.correct = int(correct)

    def finish_epoch(self, best: Path) -> dict:
        """Evaluates on the validation split, keeps the best network of the last stage in the file `best`, and returns the
        epoch's line of history. Worker 0 does it, and all go on from where it then stands."""
        distributed.check_equal(self.tensors())
        flip_rates = self.optimizer.flip_rates()
        line, progress = distributed.on_first(lambda: (self._finish_epoch(best, flip_rates), vars(self.progress)))
        vars(self.progress).update(progress)
        self._totals = None
        distributed.broadcast(self.tensors())
        return line

    def _finish_epoch(self, best: Path, flip_rates: dict) -> dict:
        start = time.perf_counter()
        settings, now = self.recipe.train, self.progress
        self._read_totals()
        with arithmetic(self.recipe, self.model, 0):  # no gradients, so that nothing is drawn with the key
            if settings.recalibration_batches:
                update_bn(self._recalibration_batches(), self.model)
            with counting_zeros(self.model) as zeros:
                val = evaluate(self.model, self.val_images, self.val_labels, self.loss, self.prepare)
        layers = layer_statistics(self.model, zeros, flip_rates)
        group = self.optimizer.param_groups[0]
        line = {
            "epoch": now.epoch + 1, "seconds": 0.0, "lr": group["lr"], "beta1": group["betas"][0],
            "train_loss": now.loss_sum / now.step, "train_accuracy": now.correct / (now.step * self.batch),
            "val_loss": val.loss, "val_accuracy": val.accuracy, "layers": layers,
        }  # fmt: skip
        final = schedule.activations(self.recipe, now.epoch) == schedule.activations(self.recipe, settings.epochs - 1)
        now.epoch, now.step, now.loss_sum, now.correct = now.epoch + 1, 0, 0.0, 0
        if final and (val.accuracy, -val.loss) > (now.best_accuracy, -now.best_loss):
            now.best_epoch, now.best_accuracy, now.best_loss, now.waited = now.epoch, val.accuracy, val.loss, 0
            save_network(best, self.model, self.dataset)
        elif final:
            now.waited += 1
            if now.waited == settings.restart_patience:
                self._restart(best)
        now.seconds += time.perf_counter() - start
        return {**line, "seconds": now.seconds}

    def test(self, best: Path) -> Evaluation:
        """Reads the test set with the network of the file `best`. Raises GxnorError where its classes are others."""
        model, _, classes = load_network(best, self.recipe)
        if classes != self.dataset.classes:
            known, given = (", ".join(names) for names in (classes, self.dataset.classes))
            raise GxnorError(f"{best} knows other classes than the data: expected {known:.100}, got {given:.100}")
        model.to(self.device)
        images, labels = torch.from_numpy(self.dataset.test_images), torch.from_numpy(self.dataset.test_labels)
        with arithmetic(self.recipe, model, 0):
            return evaluate(model, images, labels, self.loss, self.prepare)

    def _recalibration_batches(self):
        draws = torch.Generator().manual_seed(self.key(NORMS, self.progress.epoch))
        size = self.recipe.train.batch
        for _ in range(self.recipe.train.recalibration_batches):
            chosen = send(torch.randint(len(self.images), (size,), generator=draws), self.device)
            yield self.prepare(augment(self.images[chosen], self.recipe.augment, draws))

    def _restart(self, best: Path) -> None:
        checkpoint.load_model_state(self.model, read_network(best)["model"])
        move_towards_random(self.model, self.recipe.train.restart_share, self.key(RESTART, self.progress.epoch))
        self.progress.waited = 0

    def tensors(self) -> list[torch.Tensor]:
        """The weights and running statistics themselves; of a discrete weight, the packed states."""
        return [t.packed if isinstance(t, DiscreteParameter) else t for t in self.model.state_dict().values()]

    def state(self) -> dict:
        self._read_totals()
        model = checkpoint.model_state(self.model)
        return {"model": model, "optimizer": self.optimizer.state_dict(), "progress": vars(self.progress)}

    def load_state(self, state: dict) -> None:
        checkpoint.load_model_state(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress, self._totals = Progress(**state["progress"]), None
