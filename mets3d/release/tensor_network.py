"""Wraps the network as a plain function of tensors, for ONNX and MONAI, which do not know `SegOutput`."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mets3d.data.normalise import CONSTANT
from mets3d.inference.members import load_members
from mets3d.shapes import QueryClasses


class TensorNetwork(nn.Module):
    """Images [B, C, X, Y, Z] to probabilities [B, R, X, Y, Z], fp32: what prediction uses of a network's output."""

    def __init__(self, network: nn.Module, query_classes: QueryClasses):
        super().__init__()
        self.network, self.query_classes = network, query_classes

    def forward(self, image: Float[Tensor, "B C X Y Z"]) -> Float[Tensor, "B R X Y Z"]:
        probabilities: Tensor = self.network(image).region_probabilities(self.query_classes)
        return probabilities


def tensor_network(folder: str | Path) -> TensorNetwork:
    """Loads the network of an exported folder or a run directory with its weights, on the CPU, without gradients."""
    member = load_members([Path(folder)])[0]
    network = TensorNetwork(member.network, member.config.predict.query_classes)
    return network.eval().requires_grad_(False)


def z_score(image: Float[Tensor, "C X Y Z"]) -> Float[Tensor, "C X Y Z"]:
    """Returns (value - mean) / std over the brain per channel; 0 outside, where all channels are 0.

    Values are rounded to fp16 on the way, as they are in a store. Raises ValueError if there is no brain, or a channel
    is constant in it.
    """
    brain = (image != 0).any(0)
    if not brain.any():
        raise ValueError("expected a brain, found zeros in all sequences")
    inside = image[:, brain].double()
    std, mean = torch.std_mean(inside, dim=1, correction=0, keepdim=True)
    if not (std > CONSTANT * inside.abs().amax(1, keepdim=True)).all():
        raise ValueError("expected intensities that vary in the brain, found a sequence that is constant there, or NaN")
    normal = torch.zeros_like(image, dtype=torch.float32)
    normal[:, brain] = ((inside - mean) / std).half().to(normal.dtype)
    return normal
