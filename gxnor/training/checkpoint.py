"""Checkpoints: one safetensors file, whole or not at all, that holds everything a run needs to go on exactly.

Tensors keep their own dtypes; a discrete weight is its packed states. Everything that is not a tensor (counters, settings)
is JSON in the file's metadata. Never a pickle.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import nn

from gxnor.errors import GxnorError, WorkError
from gxnor.nn.codes import check_codes, has_two_zeros
from gxnor.nn.parameter import DiscreteParameter
from gxnor.writing import replacing

VERSION = 1


def model_state(model: nn.Module) -> dict[str, Any]:
    """`model.state_dict()` as plain tensors; a discrete weight becomes {"packed", "N", "H", "shape"}, and "two_zeros" where
    it has codes for both (`gxnor.optim.counter`)."""
    state = {}
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, DiscreteParameter):
            space = tensor.space
            two_zeros = {"two_zeros": True} if has_two_zeros(tensor.packed, space) else {}
            tensor = {
                "packed": tensor.packed,
                "N": space.N,
                "H": float(space.H),
                "shape": list(tensor.shape),
                **two_zeros,
            }
        state[name] = tensor
    return state


def load_model_state(model: nn.Module, state: dict[str, Any]) -> None:
    """The inverse of `model_state`, in place. Raises GxnorError where the state is of another network, WorkError where it is
    damaged."""
    own = model.state_dict()
    if own.keys() != state.keys():
        raise GxnorError(f"the checkpoint is of another network: it differs in {sorted(own.keys() ^ state.keys())[:5]}")
    for name, tensor in own.items():
        given = state[name]
        if isinstance(tensor, DiscreteParameter):
            wanted = {"N": tensor.space.N, "H": float(tensor.space.H), "shape": list(tensor.shape)}
            got = {key: given.get(key) for key in wanted} if isinstance(given, dict) else "real numbers"
            if got != wanted or given["packed"].shape != tensor.packed.shape:
                raise GxnorError(f"the checkpoint is of another network: {name} is {got}, expected {wanted}")
            try:
                check_codes(given["packed"], tensor.space, tensor.numel(), given.get("two_zeros") is True)
            except ValueError as error:
                raise WorkError(f"the checkpoint is damaged: {name}: {error}") from None
            tensor.packed.copy_(given["packed"])
        elif not isinstance(given, torch.Tensor) or given.shape != tensor.shape or given.dtype != tensor.dtype:
            raise GxnorError(f"the checkpoint is of another network: {name} differs in shape or type")
        else:
            tensor.copy_(given)


def save(path: Path, tree: dict[str, Any]) -> None:
    """Writes a tree of dicts, lists, numbers, strings and tensors. The file appears complete or not at all."""
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _split(tree, "", tensors)
    metadata = {"gxnor": json.dumps({"version": VERSION, "tree": skeleton})}
    with replacing(path) as part:
        try:
            save_file(tensors, part, metadata=metadata)
        except SafetensorError as error:  # a full disk
            raise WorkError(f"{path} cannot be written: {error}") from None
        with open(part, "rb+") as file:
            os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote, on the CPU. Raises GxnorError for a file that cannot be opened, WorkError for one that is damaged
    or is not a checkpoint."""
    try:
        data = path.read_bytes()  # not by safetensors, which opens no file whose name is not UTF-8
    except OSError as error:
        raise GxnorError(f"cannot read the checkpoint {path}: {error.strerror}") from None
    try:
        tensors = load_tensors(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        header = json.loads(metadata["gxnor"])
        if header["version"] != VERSION:
            raise WorkError(f"{path} is a checkpoint of version {header['version']}, expected {VERSION}")
        return _join(header["tree"], tensors)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WorkError(f"the checkpoint {path} is damaged, or is none: {error or type(error).__name__}") from None


def _split(node: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """The tree with every tensor moved to `tensors` and replaced by {"tensor": its name}."""
    if isinstance(node, torch.Tensor):
        tensors[path] = node.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(node, dict):
        items = [[key, _split(value, f"{path}/{key}" if path else str(key), tensors)] for key, value in node.items()]
        return {"items": items}  # pairs, for the optimizer's keys are integers
    if isinstance(node, (list, tuple)):
        return [_split(value, f"{path}/{i}", tensors) for i, value in enumerate(node)]
    return node


def _join(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, dict):
        if "tensor" in node:
            return tensors[node["tensor"]]
        return {key: _join(value, tensors) for key, value in node["items"]}
    if isinstance(node, list):
        return [_join(value, tensors) for value in node]
    return node
