"""Batch norm that is held near its start."""

import torch
from torch import nn

from gxnor.training import norms


def test_a_pull_is_a_share_of_the_distance_and_leaves_the_scores_alone():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm1d(1, affine=False), nn.Sequential(nn.BatchNorm1d(2)))
    for norm in (model[0], model[2][0]):
        norm.load_state_dict(
            {**norm.state_dict(), "weight": torch.tensor([3.0, -1.0]), "bias": torch.tensor([4.0, 0.0])}
        )
    norms.pull(model, 0.25)
    assert model[0].weight.tolist() == [2.5, -0.5] and model[0].bias.tolist() == [3.0, 0.0]
    assert model[2][0].weight.tolist() == [3.0, -1.0] and model[2][0].bias.tolist() == [4.0, 0.0]
    norms.pull(model, 1.0)
    assert model[0].weight.tolist() == [1.0, 1.0] and model[0].bias.tolist() == [0.0, 0.0]
