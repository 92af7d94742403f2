"""Recipes: everything that decides a training run, as TOML with strict keys.

A recipe is known by name (`gxnor/recipes/NAME.toml`) or is a TOML file. What it leaves out has the default below, and the
resolved recipe, every default written out and train.arithmetic decided, is stored in the run folder. `--set
section.key=value` overrides one key.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gxnor import native
from gxnor.data import NAMES
from gxnor.errors import GxnorError
from gxnor.nn.networks import parse
from gxnor.nn.precision import Precision
from gxnor.space import MAX_N

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Space = Annotated[int, Field(ge=0, le=MAX_N)] | Literal["real"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(Section):
    name: Literal[NAMES]  # type: ignore[valid-type]  # pydantic reads it, when the program runs
    validation: AtLeastOne  # images taken from the training set for selection
    train: Count = 0  # images to train on, of those that are left; 0 all
    extra: bool = False  # svhn: train on the extra set too
    path: str = ""  # folder: where train/ and test/ are
    size: list[AtLeastOne] = []  # folder: [height, width] to resize to


class Network(Section):
    layers: str  # the notation of gxnor.nn.networks
    padding: Literal["valid", "same"] = "valid"
    width: Positive = 1.0  # factor on every number of channels

    @model_validator(mode="after")
    def _readable(self):
        parse(self.layers)
        return self


class Spaces(Section):
    """The special cases: full precision real/real, BWN 0/real, TWN 1/real, BNN 0/0, GXNOR 1/1."""

    weights: Space = 1  # N1
    activations: Space = 1  # N2
    activation_stages: list[Annotated[int, Field(ge=1, le=MAX_N)]] = []  # N2 of earlier, equal parts of the run: [3, 2]
    shortcuts: Annotated[int, Field(ge=0, le=MAX_N)] = 0  # N of the sums of residual blocks; 0: they are activations
    latent: bool = False  # float latent weights with straight-through gradients, instead of DST
    r: NotNegative = 0.5
    a: Positive = 0.5
    H: Positive = 1.0
    window: Literal["rectangular", "triangular"] = "rectangular"

    @model_validator(mode="after")
    def _possible(self):
        self.build()
        final = -1 if self.activations == "real" else self.activations
        falls = final >= 0 and all(a > b for a, b in itertools.pairwise([*self.activation_stages, final]))
        if self.activation_stages and not falls:
            raise ValueError(
                "activation_stages must fall and stay above activations, which must be discrete, "
                f"got {self.activation_stages} and activations = {self.activations!r}"
            )
        return self

    def build(self) -> Precision:
        real = {key: None for key in ("weights", "activations") if getattr(self, key) == "real"}
        return Precision(**{**self.model_dump(exclude={"activation_stages"}), **real})


class Optimizer(Section):
    increment: Literal["factored", "adam", "sgd"] = "adam"
    counter: Annotated[int, Field(ge=0, le=7)] = 0  # bits per weight that remember what was too little to move it
    split_zero: bool = False  # of ternary weights, for a counter twice as fine in the same memory
    hysteresis: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # steps that a weight is carried on which has moved
    lr: Positive = 0.1
    lr_end: Positive = 3e-4
    schedule: Literal["constant", "exponential", "cosine"] = "exponential"
    milestones: list[AtLeastOne] = []  # epochs after which the rate is multiplied by gamma, on top of the schedule
    gamma: Positive = 0.1
    beta1: Beta = 0.9
    beta1_end: Beta = 0.9  # 1 - beta1 falls exponentially from the one to the other: the window of momentum grows
    beta2: Beta = 0.999
    eps: Positive = 1e-8
    norm_decay: Annotated[float, Field(ge=0, le=1)] = 0.0  # of hidden batch norm towards scale 1, shift 0; times lr
    m: Positive = 3.0
    probability: Literal["tanh", "linear"] = "tanh"


class Augment(Section):
    """Drawn anew for every image of every batch."""

    shift: Annotated[int, Field(ge=0, le=1024)] = 0  # pixels, up to, each direction
    flip: bool = False  # left to right, half of the images
    rotate: NotNegative = 0.0  # degrees, up to
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of the size, up to
    shear: NotNegative = 0.0  # degrees, up to
    elastic: NotNegative = 0.0  # pixels, standard deviation of smooth displacements
    cutout: Annotated[int, Field(ge=0, le=1024)] = 0  # pixels, side of a square that is made black


class Train(Section):
    epochs: AtLeastOne
    batch: AtLeastOne
    batch_growth: AtLeastOne = 1  # times as many images per batch in the last epoch, in as many more micro-batches
    micro_batches: AtLeastOne = 1  # of a batch, each with its own batch norm; gradients are averaged (docs/runs.md)
    seed: Count = 1
    start: str = ""  # a run's folder, .gxnor file or pretrained network that this run goes on from
    loss: Literal["squared-hinge", "cross-entropy"] = "squared-hinge"
    recalibration_batches: Count = 0  # from which batch norm's statistics are re-estimated before each evaluation
    restart_patience: Count = 0  # epochs without a better one until a search starts from the best weights; 0 never
    restart_share: Annotated[float, Field(gt=0, le=1)] = 0.05  # how far towards a random state the search moves them
    device: Literal["auto", "cpu", "cuda"] = "auto"
    bfloat16: bool = False
    channels_last: bool = True
    compile: bool = False
    pack_saved_activations: bool = False  # save what backward needs in its true size: the same gradients, slower steps
    arithmetic: Literal["auto", "float", "integer"] = "auto"  # of all products; `load` decides what auto is
    gradient_bits: Annotated[int, Field(ge=2, le=8)] = 6  # integer arithmetic: to which gradients are rounded
    tensorboard: bool = False

    @model_validator(mode="after")
    def _arithmetic_possible(self):
        for key in ("compile", "bfloat16"):
            if self.arithmetic == "integer" and getattr(self, key):
                raise ValueError(f'arithmetic = "integer" does not go with {key} = true; set one of them otherwise')
        return self


RENAMED = {
    "train.growth": "train.batch_growth",
    "train.parts": "train.micro_batches",
    "train.norm_batches": "train.recalibration_batches",
    "train.small_activations": "train.pack_saved_activations",
}


class Recipe(Section):
    name: str
    data: Data
    network: Network
    precision: Spaces = Spaces()
    optimizer: Optimizer = Optimizer()
    augment: Augment = Augment()
    train: Train

    @model_validator(mode="after")
    def _epoch_for_every_stage(self):
        stages = len(self.precision.activation_stages) + 1
        if stages > self.train.epochs:
            raise ValueError(
                f"precision.activation_stages makes {stages} stages, but train.epochs is {self.train.epochs}"
            )
        return self


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(p.name[:-5] for p in resources.files("gxnor.recipes").iterdir() if p.name.endswith(".toml"))


def load(recipe: str, settings: Sequence[str] = ()) -> Recipe:
    """Reads a recipe by name or path and applies `section.key=value` settings, in order.

    Raises GxnorError for a recipe that is not there, TOML that cannot be read, an unknown key or an impossible value."""
    path = Path(recipe)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8-sig")  # editors of some systems begin a file with a mark
        except OSError as error:
            raise GxnorError(f"cannot read the recipe {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise GxnorError(f"the recipe {path} is not UTF-8 text ({error.reason}): save it as UTF-8") from None
        name = os.fsencode(path.stem).decode("utf-8", "replace")
    elif recipe in names():
        text = resources.files("gxnor.recipes").joinpath(f"{recipe}.toml").read_text(encoding="utf-8")
        name = recipe
    else:
        raise GxnorError(f"no recipe is called {recipe!r}; there are {', '.join(names())}, or give a .toml file")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GxnorError(f"the recipe {path} is not valid TOML: {error}") from None
    tree = {"name": name, **tree}
    for setting in settings:
        _set(tree, setting)
    resolved = _with_arithmetic(_validate(tree))
    try:
        dump(resolved).encode()
    except UnicodeEncodeError as error:
        raise GxnorError(
            f"a recipe is UTF-8 text, got {error.object[max(0, error.start - 40) : error.end]!r}: rename the file or folder"
        ) from None
    return resolved


def _with_arithmetic(recipe: Recipe) -> Recipe:
    """ "auto" decided, so that a run folder says what its run did and --resume does the same or is refused: integers where
    that is faster, which is on a CPU with the kernels, for a network whose weights and activations are discrete."""
    settings, spaces = recipe.train, recipe.precision
    if settings.arithmetic != "auto":
        return recipe
    on_cpu = settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available())
    possible = "real" not in (spaces.weights, spaces.activations) and not (settings.compile or settings.bfloat16)
    decided = "integer" if on_cpu and possible and native.library() else "float"
    return recipe.model_copy(update={"train": settings.model_copy(update={"arithmetic": decided})})


def dump(recipe: Recipe) -> str:
    """The resolved recipe as TOML, every default written out."""
    return tomli_w.dumps(recipe.model_dump())


def _set(tree: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    section, dot, leaf = key.strip().partition(".")
    if not equals or not dot:
        raise GxnorError(f"expected a setting like optimizer.lr=0.05, got {setting!r}")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word is a string
    branch = tree.setdefault(section, {})
    if not isinstance(branch, dict):
        raise GxnorError(f"{section!r} is not a section of a recipe; a setting looks like optimizer.lr=0.05")
    branch[leaf] = parsed


def _validate(tree: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        kinds = {kind: [".".join(map(str, e["loc"])) for e in error.errors() if e["type"] == kind] for kind in _KINDS}
        if missing := [key for name in kinds["missing"] for key in _required(name)]:
            unknown = "".join(f"; it has an unknown key {name!r}" for name in kinds["extra_forbidden"])
            raise GxnorError(f"the recipe lacks {', '.join(missing)}, which have no default{unknown}") from None
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("int", "constrained-int"))
        if first["type"] == "extra_forbidden":
            if where in RENAMED:
                raise GxnorError(f"the recipe has the key {where!r}, which is called {RENAMED[where]!r} now") from None
            reason = f"the recipe has an unknown key {where!r}"
            model = Recipe.model_fields.get(str(first["loc"][0])) if len(first["loc"]) > 1 else None
            section = model.annotation if model else None
            known = (section if isinstance(section, type) and issubclass(section, Section) else Recipe).model_fields
            raise GxnorError(f"{reason}; known are {', '.join(known)}") from None
        message = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
        raise GxnorError(": ".join(filter(None, ("recipe", where, message))) + got) from None


_KINDS = ("missing", "extra_forbidden")  # of pydantic's errors


def _required(name: str) -> list[str]:
    """The keys to give for a missing one: of a section, those that have no default."""
    kind = Recipe.model_fields[name].annotation if name in Recipe.model_fields else str
    if not (isinstance(kind, type) and issubclass(kind, Section)):
        return [name]
    return [f"{name}.{key}" for key, field in kind.model_fields.items() if field.is_required()]
