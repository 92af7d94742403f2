"""Linear, Conv1d and Conv2d whose weights are states of Z_N.

They take torch's own arguments and three more: N and H, the space of the weights, and `latent`. `weight` is a
`DiscreteParameter`. Layers have no bias by default, because a bias is real and the batch norm that follows has one. With
`latent=True` the weight is an ordinary float parameter, kept within [-H, H] and projected to Z_N on every forward pass, with
the gradient passed straight through: the baseline of BinaryConnect (Courbariaux et al., arXiv 1511.00363), which holds the
full-precision weights that DST does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from gxnor.nn import functions, integer_products, saved_formats
from gxnor.nn.parameter import DiscreteParameter
from gxnor.nn.projection import nearest
from gxnor.nn.tracing import as_node, is_symbolic, is_transformed, refuse_recording, refuse_scripting
from gxnor.space import DiscreteSpace

if TYPE_CHECKING:
    _Mixin = nn.Module  # what `super()` of a mixed-in class has
else:
    _Mixin = object


class DiscreteLayer(_Mixin):
    """What the discrete layers share; mixed into torch's layer classes."""

    space: DiscreteSpace
    latent: bool
    weight: torch.Tensor
    bias: Any  # a parameter or None; torch declares its layers' differently
    # Of convolutions alone.
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    _conv_forward: Any
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"]
    __prepare_scriptable__ = refuse_scripting

    def _make_discrete(self, N: int, H: float, latent: bool) -> None:
        self.space, self.latent = DiscreteSpace(N, H), latent
        self.reset_parameters()

    def __setattr__(
        self, name: str, value
    ) -> None:  # fully_shard goes past register_parameter where this is torch's own
        if name == "weight":
            self._check_weight(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name == "weight":
            self._check_weight(name, None)
        super().__delattr__(name)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        self._check_weight(name, param)
        super().register_parameter(name, param)

    def _check_weight(self, name: str, value) -> None:
        """Refuses what puts something else in the place of packed states: pruning, weight and spectral norm, sharding."""
        latent = self.__dict__.get("latent", True)  # True in torch's constructor, where weights are still real
        if latent or not name.startswith("weight") or (name == "weight" and isinstance(value, DiscreteParameter)):
            return
        got = "its removal" if value is None else f"{name} = {type(value).__name__}"
        raise TypeError(
            f"expected the weight of a discrete layer to stay a DiscreteParameter of {self.space}, got {got}: it holds "
            "packed states, which cannot be pruned, reparametrised (weight_norm, spectral_norm, parametrize) or sharded "
            "(fully_shard; DistributedDataParallel works)"
        )

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws new states, each equally likely (latent weights: uniform in [-H, H]), and zeroes the bias."""
        if not hasattr(self, "space"):
            return  # torch's constructor calls this too early
        weight = self.weight
        if self.latent:
            weight.uniform_(-self.space.H, self.space.H)
        else:
            drawn = DiscreteParameter.random(weight.shape, self.space, device=weight.device, dtype=weight.dtype)
            if isinstance(weight, DiscreteParameter):
                weight.copy_(drawn)  # in place: an optimizer may hold it
            else:
                self.weight = drawn
        if self.bias is not None:
            self.bias.zero_()

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        given = state_dict.get(prefix + "weight")
        if local_metadata.get("assign_to_params_buffers") and given is not None:
            space = given.space if isinstance(given, DiscreteParameter) else None
            if space != (None if self.latent else self.space):
                error_msgs.append(
                    f"{prefix}weight: expected {'real numbers' if self.latent else f'states of {self.space}'}, "
                    f"got {'real numbers' if space is None else f'states of {space}'}"
                )
                return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def states(self) -> torch.Tensor:
        """uint8 state indices of the weights the forward pass uses, for a latent weight too."""
        if not self.latent:
            return self.weight.indices()
        return nearest(self.weight.detach(), self.space)

    def effective_weight(self) -> torch.Tensor:
        """What the forward pass convolves with; differentiable."""
        if not self.latent:
            return self.weight
        with torch.no_grad():
            self.weight.clamp_(-self.space.H, self.space.H)
        return functions.Project.apply(self.weight, self.space)

    def _check_call(self, x: torch.Tensor) -> None:
        refuse_recording()
        if x.dtype != self.weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"expected x of {self.weight.dtype}, as the layer is, got {x.dtype}; after gxnor.nn.Pixels, which gives "
                "float32, leave the layers float32 and use torch.autocast"
            )

    def _is_packed(self) -> bool:
        """Whether the weight is packed and nothing looks through the layer's own products: torch.func does, and
        `functional_call` may put a float tensor in the weight's place."""
        return not self.latent and isinstance(self.weight, DiscreteParameter) and not is_transformed()

    def _convolve(self, x: torch.Tensor) -> torch.Tensor:
        """The bias comes after the sums: those of discrete inputs stay exact, in whatever order they are taken."""
        if is_symbolic(x):
            return as_node(self, x)
        self._check_call(x)
        padding = self._plain_padding()
        geometry = self.stride, padding, self.dilation, self.groups
        y = integer_products.multiply(self, x, *geometry)
        if y is None and self._is_sliced(x) and padding is not None:
            y = functions.Convolution.apply(x, self.weight, *saved_formats.small(x), *geometry)
        elif y is None:
            y = self._conv_forward(x, self.effective_weight(), None)
        return y if self.bias is None else y + self.bias.to(y.dtype).view(-1, *(1,) * len(self.kernel_size))

    def _is_sliced(self, x: torch.Tensor) -> bool:
        """Whether `functions.Convolution` applies: to a batch, packed weights, one dtype and no graph of torch.compile."""
        plain = self._is_packed() and x.dim() == self.weight.dim() and x.numel() > 0 and x.dtype == self.weight.dtype
        return plain and not torch.is_autocast_enabled(x.device.type) and not torch.compiler.is_compiling()

    def zeros_around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of a convolution that pads with zeros: how many on both sides of each extent, and how many more at its end, where
        padding="same" and an even window ask for one."""
        none = (0,) * len(self.kernel_size)
        if not isinstance(self.padding, str):
            return self.padding, none
        if self.padding == "valid":
            return none, none
        spans = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return tuple(span // 2 for span in spans), tuple(span % 2 for span in spans)

    def _plain_padding(self) -> tuple[int, ...] | None:
        """The zeros on both sides, or None where the padding is of another kind."""
        sides, more = self.zeros_around()
        return None if self.padding_mode != "zeros" or any(more) else sides

    def zero_fraction(self) -> float:
        """Share of weights in state 0; 0 for binary weights, which have none."""
        if self.space.N == 0:
            return 0.0
        return (self.states() == self.space.denominator).float().mean().item()

    def extra_repr(self) -> str:
        held = "latent float" if self.latent else "packed"
        scale = "" if self.space.H == 1 else f", H={self.space.H:g}"
        return f"{super().extra_repr()}, N={self.space.N}{scale}, {held}, zeros={100 * self.zero_fraction():.1f}%"


class Linear(DiscreteLayer, nn.Linear):
    """`torch.nn.Linear` with weights in Z_N. x: float [..., in_features] -> [..., out_features]."""

    def __init__(self, in_features, out_features, bias=False, device=None, dtype=None, *, N=1, H=1.0, latent=False):
        super().__init__(in_features, out_features, bias, device, dtype)
        self._make_discrete(N, H, latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if is_symbolic(x):
            return as_node(self, x)
        self._check_call(x)
        y = integer_products.multiply(self, x)
        if y is None and not self._is_packed():
            y = F.linear(x, self.effective_weight())
        elif y is None:
            if torch.is_autocast_enabled(x.device.type):
                x = x.to(torch.get_autocast_dtype(x.device.type))
            y = functions.Product.apply(x, self.weight, *saved_formats.small(x))
        return y if self.bias is None else y + self.bias.to(y.dtype)


class Conv1d(DiscreteLayer, nn.Conv1d):
    """`torch.nn.Conv1d` with weights in Z_N. x: float [batch, in_channels, length]."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=False,
                 padding_mode="zeros", device=None, dtype=None, *, N=1, H=1.0, latent=False):  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)  # fmt: skip
        self._make_discrete(N, H, latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._convolve(x)


class Conv2d(DiscreteLayer, nn.Conv2d):
    """`torch.nn.Conv2d` with weights in Z_N. x: float [batch, in_channels, height, width]."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=False,
                 padding_mode="zeros", device=None, dtype=None, *, N=1, H=1.0, latent=False):  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
                         device, dtype)  # fmt: skip
        self._make_discrete(N, H, latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._convolve(x)
