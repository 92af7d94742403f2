"""What torch does with modules beside training them: it works on discrete networks, or is refused in a line."""

import inspect
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from gxnor.errors import GxnorError
from gxnor.nn import Activation, Conv1d, Conv2d, DiscreteParameter, Linear, Pixels
from gxnor.optim import DST


def network(window: str = "rectangular") -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Conv2d(1, 4, 3), nn.BatchNorm2d(4), Activation(window=window), nn.Flatten(), Linear(64, 3, True, N=2)
    )


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(1))


# --- putting something else in the weight's place ---


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


REPARAMETRISED = {
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "prune at random": lambda layer: prune.random_unstructured(layer, "weight", 2),
    "prune channels": lambda layer: prune.ln_structured(layer, "weight", 0.5, 2, 0),
    "prune globally": lambda layer: prune.global_unstructured([(layer, "weight")], prune.L1Unstructured, amount=0.5),
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "parametrizations.weight_norm": parametrizations.weight_norm,
    "parametrizations.spectral_norm": parametrizations.spectral_norm,
    "parametrizations.orthogonal": parametrizations.orthogonal,
    "register_parametrization": lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
    "layer.weight =": lambda layer: setattr(layer, "weight", nn.Parameter(torch.ones(layer.weight.shape))),
    "del layer.weight": lambda layer: delattr(layer, "weight"),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("way", REPARAMETRISED)
@pytest.mark.parametrize("make", [lambda: Linear(12, 4), lambda: Conv1d(3, 4, 3), lambda: Conv2d(3, 4, 3)])
def test_what_would_replace_a_discrete_weight_is_refused_at_once(way, make):  # Torch-Pruning#11
    layer = make()
    with pytest.raises(TypeError, match=r"to stay a DiscreteParameter of .*cannot be pruned, reparametrised"):
        REPARAMETRISED[way](layer)
    if way not in ("weight_norm", "parametrizations.orthogonal"):  # where torch changes the weight before it asks
        assert isinstance(layer.weight, DiscreteParameter) and not parametrize.is_parametrized(layer)
        assert layer._forward_pre_hooks == {}


def test_latent_weights_are_real_and_may_be_pruned():
    layer = Linear(12, 4, latent=True)
    prune.l1_unstructured(layer, "weight", 0.5)
    assert layer(torch.randn(2, 12)).shape == (2, 4)
    layer.weight_orig = nn.Parameter(torch.ones(4, 12))


SHARDED = """
import sys, torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from gxnor.nn import Linear
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
layer = Linear(12, 4)
try:
    fully_shard(layer, mesh=init_device_mesh("cpu", (1,)))
except TypeError as error:
    print(error)
dist.destroy_process_group()
"""


def test_sharding_a_discrete_weight_is_refused_at_once(tmp_path):  # Torch-Pruning#11
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SHARDED, str(tmp_path / "store")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert "got weight = DTensor" in run.stdout and "fully_shard" in run.stdout, run.stdout + run.stderr


# --- transforms ---


def test_a_network_takes_float_weights_for_a_call():
    net = network()
    floats = {k: torch.randn(p.shape) for k, p in net.named_parameters()}
    twin = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), Activation(), nn.Flatten(), nn.Linear(64, 3)
    )
    torch.testing.assert_close(functional_call(net, floats, images()), functional_call(twin, floats, images()))
    states = dict(net.named_parameters())
    assert torch.equal(functional_call(net, states, images()), net(images()))


@pytest.mark.parametrize("window", ["rectangular", "triangular"])
def test_transforms_of_functions_see_what_autograd_sees(window):
    net, x = network(window).eval(), images()
    parameters = dict(net.named_parameters())

    def loss(parameters, x):
        return functional_call(net, parameters, x).square().sum()

    loss(parameters, x).backward()
    expected = {k: p.grad for k, p in parameters.items()}
    torch.testing.assert_close(grad(loss)(parameters, x), expected)
    each = vmap(grad(loss), in_dims=(None, 0))(parameters, x[:, None])
    torch.testing.assert_close({k: g.sum(0) for k, g in each.items()}, expected)
    torch.testing.assert_close(vmap(net)(x[:, None])[:, 0], net(x))
    jacobian = jacrev(net)(x[:1])
    given = x[:1].clone().requires_grad_()
    torch.testing.assert_close(jacobian[0, 1], torch.autograd.grad(net(given)[0, 1], given)[0])


def test_a_traced_network_is_a_graph_of_its_layers():
    net = nn.Sequential(Pixels(), *network()).eval()
    traced = torch.fx.symbolic_trace(net)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == [str(i) for i in range(6)]
    x = torch.randint(256, (2, 1, 6, 6), dtype=torch.uint8)
    assert torch.equal(traced(x), net(x))
    assert type(traced.get_submodule("5")) is Linear


@pytest.mark.parametrize(
    "make", [network, Pixels, Activation, lambda: Conv1d(1, 2, 3), lambda: nn.ModuleList([Linear(2, 2)])]
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
def test_scripting_is_refused_and_says_what_to_use(make):
    with pytest.raises(GxnorError, match=r"torch\.jit\.script cannot compile .*torch\.compile, or gxnor\.export"):
        torch.jit.script(make())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "make", [network, lambda: nn.Sequential(Conv2d(1, 4, 3)), lambda: nn.Sequential(nn.Flatten(), Linear(36, 3))]
)
def test_layers_of_another_type_than_the_pixels_are_refused_in_a_line(dtype, make):
    x = torch.randint(256, (2, 1, 6, 6), dtype=torch.uint8)
    net = nn.Sequential(Pixels(), *make())
    assert net(x).dtype == torch.float32
    with pytest.raises(
        TypeError, match=rf"expected x of {dtype}, as the layer is, got torch.float32; .*torch\.autocast"
    ):
        net.to(dtype)(x)


# --- the optimizer ---


@pytest.mark.parametrize("inside", [False, True])
def test_a_compiled_step_moves_as_the_step_does(inside):
    runs = []
    for compiled in (False, True):
        net = network()
        optimizer = DST(net, 0.1, generator=torch.Generator().manual_seed(2))
        if inside:
            optimizer.update_in_backward()
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for _ in range(3):
            optimizer.zero_grad()
            net(images()).square().sum().backward()
            step()
        runs.append([getattr(p, "packed", p).tolist() for p in net.parameters()])
    assert runs[0] == runs[1]
    assert "closure" in inspect.signature(DST.step).parameters


def test_data_parallel_calls_the_network():
    net = network()
    assert torch.equal(nn.DataParallel(net)(images()), net(images()))
