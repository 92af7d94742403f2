"""What a recipe is: everything that decides a training run, in sections with strict keys.

What a recipe leaves out has the default below. `gxnor.training.recipes` reads and writes them.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gxnor.data import NAMES
from gxnor.nn.networks import parse
from gxnor.nn.precision import Precision
from gxnor.space import MAX_N

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
    arithmetic: Literal["auto", "float", "integer"] = "auto"  # of all products; `recipes.load` decides what auto is
    gradient_bits: Annotated[int, Field(ge=2, le=8)] = 6  # integer arithmetic: to which gradients are rounded
    tensorboard: bool = False

    @model_validator(mode="after")
    def _arithmetic_possible(self):
        for key in ("compile", "bfloat16"):
            if self.arithmetic == "integer" and getattr(self, key):
                raise ValueError(f'arithmetic = "integer" does not go with {key} = true; set one of them otherwise')
        return self


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
