"""What tests read off finished runs."""

from pathlib import Path

import torch

from gxnor.training import checkpoint


def final_tensors(path: Path) -> dict:
    """Every tensor and number of the final checkpoint and the best network, but the time taken."""

    def flat(node, name=""):
        if isinstance(node, dict):
            for key, value in node.items():
                yield from flat(value, f"{name}/{key}")
        else:
            yield name, node.tolist() if isinstance(node, torch.Tensor) else node

    trees = {name: checkpoint.load(path / f"{name}.safetensors") for name in ("checkpoint", "best")}
    return {name: value for name, value in flat(trees) if not name.endswith("/seconds")}
