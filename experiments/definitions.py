"""The studies as plain data: which runs each one makes.

A study has a quick form (scikit-learn's digits and a small network; minutes) and a full one (the paper's network on
MNIST, or on another data set where the study knows one; hours). A form is a list of points; a point is recipe settings
on top of the form's. Whatever a study is about is written out in its settings, so that a new default of a recipe does not
change what an old study means.

Points of one row are candidates for it: the one with the best validation accuracy stands for the row.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from gxnor.errors import GxnorError

Settings = dict[str, Any]  # recipe key, "section.key", to value


@dataclass(frozen=True)
class Point:
    row: str
    settings: Settings
    at: dict[str, Any] = field(default_factory=dict)  # its place on the axes of the study's picture
    seeds: int | None = None  # where it takes fewer than its form


@dataclass(frozen=True)
class Form:
    recipe: str
    settings: Settings
    points: tuple[Point, ...]
    seeds: int
    about: str = ""  # stands after the study's title, where it has other forms of this kind


@dataclass(frozen=True)
class Study:
    """`operations`: whether the operations per image are counted, which takes seconds per run. `others`: the full form on
    other data sets than its own, by recipe."""

    name: str
    title: str
    text: str
    quick: Form
    full: Form
    operations: bool = False
    others: dict[str, Form] = field(default_factory=dict)

    def form(self, quick: bool, data: str | None = None) -> Form:
        """The quick or the full form. Raises GxnorError for data that the form is not defined on."""
        forms = [self.quick] if quick else [self.full, *self.others.values()]
        known = {form.recipe: form for form in forms}
        if data not in (None, *known):
            raise GxnorError(
                f"the {'quick' if quick else 'full'} form of {self.name} runs on {', '.join(known)}, not {data!r}"
            )
        return known[data] if data else forms[0]


def _adam(lr: float, lr_end: float, beta1_end: float) -> Settings:
    return {
        "optimizer.increment": "adam", "optimizer.counter": 0, "optimizer.lr": lr, "optimizer.lr_end": lr_end,
        "optimizer.beta1": 0.9, "optimizer.beta1_end": beta1_end, "optimizer.m": 3.0, "optimizer.probability": "tanh",
        "train.batch_growth": 1,
    }  # fmt: skip


def _counter(bits: int, lr: float, lr_end: float, growth: int) -> Settings:
    """The low-memory increment: a factored second moment, no momentum, a counter of so many bits; the batch grows."""
    return {
        "optimizer.increment": "factored", "optimizer.counter": bits, "optimizer.lr": lr, "optimizer.lr_end": lr_end,
        "optimizer.beta1": 0.9, "optimizer.beta1_end": 0.9, "optimizer.m": 1.0, "optimizer.probability": "linear",
        "train.batch_growth": growth,
    }  # fmt: skip


def _spaces(weights: int | str, activations: int | str, latent: bool = False) -> Settings:
    return {"precision.weights": weights, "precision.activations": activations, "precision.latent": latent}


GXNOR = {
    **_spaces(1, 1), "precision.r": 0.5, "precision.a": 0.5, "precision.window": "rectangular", "train.arithmetic": "float",
}  # fmt: skip
SMALL = {"network.layers": "16C3-32C3-MP2-64FC-10", "network.padding": "valid", "train.batch": 50, "train.epochs": 15}
PART = {"data.train": 20000, "train.batch": 250, "train.epochs": 8}  # of MNIST; two minutes on a core


@dataclass(frozen=True)
class _Rates:
    """The optimizer of each kind of network, for one length of run."""

    dst: Settings
    fixed: Settings  # the same with a fixed window of momentum
    latent: Settings
    real: Settings
    low: Settings  # DST in under a byte per weight


QUICK = _Rates(
    dst=_adam(0.1, 1e-3, 0.99), fixed=_adam(0.1, 1e-3, 0.9), latent=_adam(0.1, 1e-3, 0.9), real=_adam(3e-3, 3e-5, 0.9),
    low=_counter(4, 0.2, 0.02, 4),
)  # fmt: skip
FULL = _Rates(
    dst=_adam(0.1, 3e-4, 0.9995), fixed=_adam(0.1, 3e-4, 0.9), latent=_adam(0.1, 1e-3, 0.9), real=_adam(3e-3, 3e-5, 0.9),
    low=_counter(4, 0.1, 0.03, 6),
)  # fmt: skip
WHOLE = replace(FULL, low=_counter(4, 0.1, 0.03, 32))  # for all of the training set


def _table(rates: _Rates) -> tuple[Point, ...]:
    return (
        Point("full precision", {**_spaces("real", "real"), **rates.real}),
        Point("BWN, DST", {**_spaces(0, "real"), **rates.dst}),
        Point("TWN, DST", {**_spaces(1, "real"), **rates.dst}),
        Point("BNN, DST", {**_spaces(0, 0), **rates.dst}),
        Point("GXNOR, latent weights", {**_spaces(1, 1, True), **rates.latent}),
        Point("GXNOR, DST with Adam", {**_spaces(1, 1), **rates.dst}),
        Point("GXNOR, DST low-memory", {**_spaces(1, 1), **rates.low}),
    )


def _night(recipe: str) -> Form:
    """The special cases on a data set of colour images, in a night of two cores: a quarter of the width, 40 epochs, one
    seed, integer arithmetic where weights and activations are discrete. The twins come first."""
    real, latent = WHOLE.real, WHOLE.latent
    held = {"optimizer.hysteresis": 0.125}
    # Rates end low, for the places are fine: those of two states by a bit more of counter, which makes them as large as
    # three states are, those of three with zero split, those of five by themselves.
    binary = {**_counter(5, 0.08, 0.005, 32), **held}
    fine = {**_counter(4, 0.08, 0.005, 32), **held, "optimizer.split_zero": True}
    five = {**_counter(4, 0.05, 0.004, 32), **held}
    settings = {
        **GXNOR, "precision.a": 1.0, "optimizer.norm_decay": 0.03, "network.width": 0.25, "train.epochs": 40,
        "train.batch": 100, "train.arithmetic": "auto", "augment.cutout": 0,
    }  # fmt: skip
    points = (
        Point("full precision", {**_spaces("real", "real"), **real}),
        Point("GXNOR, DST", {**_spaces(1, 1), **fine}),
        Point("GXNOR, latent weights", {**_spaces(1, 1, True), **latent}),
        Point("BNN, DST", {**_spaces(0, 0), **binary}),
        Point("TWN, DST", {**_spaces(1, "real"), **fine}),
        Point("BWN, DST", {**_spaces(0, "real"), **binary}),
        Point("weights of 5 states, activations of 9, DST", {**_spaces(2, 3), **five}),
    )
    return Form(recipe, settings, points, 1, ", at a quarter of the width")


def _nonlinearity(rates: _Rates, ms: tuple[float, ...], lrs: tuple[float, ...]) -> tuple[Point, ...]:
    """The final rate is the same share of the first one everywhere."""
    share = rates.dst["optimizer.lr_end"] / rates.dst["optimizer.lr"]
    return tuple(
        Point(f"m = {m:g}, learning rate {lr:g}",
              {**rates.dst, "optimizer.m": m, "optimizer.lr": lr, "optimizer.lr_end": float(f"{lr * share:.3g}")},
              {"m": m, "lr": lr})
        for m, lr in product(ms, lrs)
    )  # fmt: skip


def _window(rates: _Rates, widths: tuple[float, ...]) -> tuple[Point, ...]:
    return tuple(
        Point(f"{window}, a = {a:g}", {**rates.dst, "precision.window": window, "precision.a": a},
              {"a": a, "window": window})
        for window, a in product(("rectangular", "triangular"), widths)
    )  # fmt: skip


def _sparsity(rates: _Rates, rs: tuple[float, ...]) -> tuple[Point, ...]:
    return tuple(Point(f"r = {r:g}", {**rates.dst, "precision.r": r}, {"r": r}) for r in rs)


def _levels(rates: _Rates) -> tuple[Point, ...]:
    """Binary, ternary and five states, where a step of the grid makes a difference, take all seeds; the rest takes one."""
    return tuple(
        Point(f"N1 = {n1}, N2 = {n2}", {**_spaces(n1, n2), **rates.dst}, {"N1": n1, "N2": n2},
              None if n1 <= 2 and n2 <= 2 else 1)
        for n1, n2 in product(range(7), range(7))
    )  # fmt: skip


def _curves(rates: _Rates) -> tuple[Point, ...]:
    return (
        Point("full precision", {**_spaces("real", "real"), **rates.real}),
        Point("latent weights", {**_spaces(1, 1, True), **rates.latent}),
        Point("DST with Adam", rates.dst),
        Point("DST with Adam, fixed window", rates.fixed),
        Point("DST low-memory", rates.low),
    )


def _memory(rates: _Rates) -> tuple[Point, ...]:
    """Every row has a few rates to choose from, for what suits one increment says nothing about another."""

    def row(name: str, settings: Settings, lrs: tuple[float, ...]) -> list[Point]:
        share = settings["optimizer.lr_end"] / settings["optimizer.lr"]
        return [
            Point(name, {**settings, "optimizer.lr": lr, "optimizer.lr_end": float(f"{lr * share:.3g}")}) for lr in lrs
        ]

    dst, latent, low = rates.dst, rates.latent, rates.low
    sgd = {**dst, "optimizer.increment": "sgd"}
    rates_low = (0.05, 0.2, 0.5)
    counters = ((0, "stateless DST"), (2, "counter of 2 bits"), (4, "counter of 4 bits"), (6, "counter of 6 bits"))
    return (
        *(point for bits, name in counters for point in row(name, {**low, "optimizer.counter": bits}, rates_low)),
        *row("SGD with momentum, DST", sgd, (10.0, 30.0, 100.0)),
        *row("Adam, DST", dst, (0.1, 0.3, 1.0)),
        *row("Adam, latent weights", {**_spaces(1, 1, True), **latent}, (0.1, 0.3, 1.0)),
    )


def _ingredients(rates: _Rates, shift: int) -> tuple[Point, ...]:
    """The low-memory recipe, and that without one thing at a time. Rates are not tuned again."""
    recipe = {
        **rates.low, "augment.shift": shift, "train.recalibration_batches": 20, "train.loss": "squared-hinge",
    }  # fmt: skip
    without = {
        "without shifted images": {"augment.shift": 0},
        "batches that do not grow": {"train.batch_growth": 1},
        "a rate that does not fall": {"optimizer.lr_end": rates.low["optimizer.lr"]},
        "running batch-norm statistics": {"train.recalibration_batches": 0},
        "cross-entropy for squared hinge": {"train.loss": "cross-entropy"},
        "without the counter": {"optimizer.counter": 0},
    }
    return (Point("the recipe", recipe), *(Point(name, {**recipe, **change}) for name, change in without.items()))


def _study(name: str, title: str, text: str, points, quick_seeds: int, seeds: int, *,
           quick: tuple = (), full: tuple = (), settings: Settings = PART, rates: _Rates = FULL,
           **options) -> Study:  # fmt: skip
    return Study(
        name, title, text,
        Form("digits", {**GXNOR, **SMALL}, points(QUICK, *quick), quick_seeds),
        Form("mnist", {**GXNOR, **settings}, points(rates, *full), seeds),
        **options,
    )  # fmt: skip


STUDIES = {
    study.name: study
    for study in (
        _study("table", "The special cases, side by side",
               "One network at every precision, on one budget and one rule of selection.",
               _table, 3, 3, settings={}, rates=WHOLE, operations=True,
               others={"cifar10": _night("cifar10"), "svhn": _night("svhn")}),
        _study("nonlinearity", "m and the learning rate",
               "A small increment moves a weight with probability tanh(m |dW| / dz), about m |dW| / dz: so m and the "
               "learning rate should matter through their product alone.",
               _nonlinearity, 2, 2, quick=((0.3, 1, 3, 10), (0.03, 0.1, 0.3, 1)),
               full=((0.3, 1, 3, 10, 30), (0.01, 0.03, 0.1, 0.3, 1))),
        _study("window", "The window that stands in for the derivative",
               "Its half-width a, and its form, at the same area.",
               _window, 2, 2, quick=((0.1, 0.25, 0.5, 1, 2),), full=((0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2),)),
        _study("sparsity", "The zero window r",
               "A wider zero state means more zero activations and fewer operations that fire.",
               _sparsity, 3, 3, quick=((0.0, 0.25, 0.5, 0.75, 1.0),),
               full=((0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 1.0),), operations=True),
        _study("levels", "Levels of weights and activations",
               "The paper's multi-level figure: weights in Z_N1, activations in Z_N2, 2^N + 1 states each.",
               _levels, 1, 3),
        _study("curves", "Training curves of DST and its twins",
               "The full-precision network, float latent weights, and DST with the growing and with a fixed window of "
               "momentum.",
               _curves, 3, 3, settings={"train.epochs": 12, "train.batch": 250}, rates=WHOLE),
        _study("memory", "Accuracy against memory",
               "What is kept between two steps for every weight: its states and the optimizer's. The learning rate of "
               "each row was chosen on the validation images.",
               _memory, 2, 3),
        _study("ingredients", "What each ingredient is worth",
               "The low-memory recipe, and the same without one of the things it is made of, all else unchanged.",
               _ingredients, 3, 3, quick=(1,), full=(2,)),
    )
}  # fmt: skip


def find(name: str) -> Study:
    """Raises GxnorError for a name that no study has."""
    if name not in STUDIES:
        raise GxnorError(f"no study is called {name!r}; there are {', '.join(STUDIES)}")
    return STUDIES[name]
