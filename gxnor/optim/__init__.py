"""Optimizers for discrete weights: DST, its transition rule and its increments."""

from gxnor.optim.dst import DST
from gxnor.optim.transition import TransitionRule, transition

__all__ = ["DST", "TransitionRule", "transition"]
