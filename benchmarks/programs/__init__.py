"""Programs with random states for tests: the networks of the paper, small ones of every shape, and any mixture."""

from benchmarks.programs.building import Builder, batch
from benchmarks.programs.mixtures import largest_points, random_program
from benchmarks.programs.networks import (
    cifar,
    keywords,
    mnist,
    mobilenet_v1,
    one_d,
    residual,
    resnet,
    resnet18,
    two_heads,
    u_net,
)

__all__ = [
    "Builder",
    "batch",
    "cifar",
    "keywords",
    "largest_points",
    "mnist",
    "mobilenet_v1",
    "one_d",
    "random_program",
    "residual",
    "resnet",
    "resnet18",
    "two_heads",
    "u_net",
]
