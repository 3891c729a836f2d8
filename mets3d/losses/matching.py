"""Matches queries to target masks: costs on the device, the assignment on the host, with work queued in between.

The host must wait for the device once, for the costs. A loss therefore starts the matching, queues what does not depend
on it, and asks for the result afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from mets3d.ops.mask_sums import mask_sums
from mets3d.ops.uncompiled import uncompiled
from mets3d.shapes import PixelEmbedding, QueryOutput, raised

Pairing = Literal["reference", "correct"]
TargetMasks = Bool[Tensor, "B R X Y Z"] | Float[Tensor, "B R X Y Z"]


@dataclass(frozen=True)
class Matching:
    """A matching whose costs are on their way from the device to the host.

    costs: [P, B, Q, R], then the flags [B, R] of present channels, flat on the host; valid after `copied`.
    """

    costs: Float[Tensor, " n"]
    shape: tuple[int, int, int, int]
    pairing: Pairing
    device: torch.device
    copied: torch.cuda.Event | None

    @uncompiled
    def assigned(self) -> list[Integer[Tensor, "B R"]]:
        """Waits for the costs; returns for each prediction the query of each target channel, -1 for an empty one."""
        if self.copied is not None:
            self.copied.synchronize()
        together = self.costs.numpy()
        count = int(np.prod(self.shape))
        _, batch, _, channels = self.shape
        present = together[count:].reshape(batch, channels) > 0
        on_host = torch.from_numpy(_assign(together[:count].reshape(self.shape), present, self.pairing))
        if self.copied is not None:
            on_host = on_host.pin_memory()
        return list(on_host.to(self.device, non_blocking=True))


@torch.no_grad()
def start_matching(
    predictions: tuple[QueryOutput, ...],
    pixels: PixelEmbedding,
    target: TargetMasks,
    *,
    weights: tuple[float, float, float] = (2.0, 5.0, 5.0),
    pairing: Pairing = "correct",
) -> Matching:
    """Computes the costs of all predictions and starts their copy to the host.

    weights: of class, BCE and Dice in the cost; pairing: see `query_parts`. Every voxel counts, in fp32 (fp64 stays).
    """
    with torch.autocast(target.device.type, enabled=False):
        present = (target > 0).flatten(2).any(-1)
        costs = _costs(predictions, pixels, target, weights)
        together = torch.cat([costs.flatten(), present.flatten().to(costs.dtype)])
    shape = (costs.shape[0], costs.shape[1], costs.shape[2], costs.shape[3])
    return _sent(together, shape, pairing)


@uncompiled
def _sent(together: Float[Tensor, " n"], shape: tuple[int, int, int, int], pairing: Pairing) -> Matching:
    """Starts the copy of costs and flags to the host."""
    if together.device.type != "cuda":
        return Matching(together.cpu(), shape, pairing, together.device, None)
    host = torch.empty(together.shape, dtype=together.dtype, pin_memory=True)
    host.copy_(together, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return Matching(host, shape, pairing, together.device, event)


def _costs(
    predictions: tuple[QueryOutput, ...],
    pixels: PixelEmbedding,
    target: TargetMasks,
    weights: tuple[float, float, float],
) -> Float[Tensor, "P B Q R"]:
    """Returns the cost of matching each query to each channel: `weights` times -class probability, BCE and Dice.

    The BCE of logit x and target t is softplus(x) - x t, so that it takes sums over voxels alone, like Dice.
    """
    of_class, of_bce, of_dice = weights
    probability = torch.stack([raised(one.class_logits).softmax(-1)[..., :-1] for one in predictions])
    embedding = torch.cat([raised(one.mask_embedding) for one in predictions], dim=1)
    folded, constant = embedding @ raised(pixels.weight), embedding @ raised(pixels.bias)
    sums = mask_sums(folded, constant, pixels.features.flatten(2), target.flatten(2))
    mask_sizes = target.flatten(2).sum(-1).to(folded.dtype)[:, None]
    bce = (sums.softplus[..., None] - sums.logit_mask) / target[0, 0].numel()
    dice = 1 - (2 * sums.inside_mask + 1) / (sums.inside[..., None] + mask_sizes + 1)
    by_prediction = torch.unflatten(of_dice * dice + of_bce * bce, 1, (len(predictions), -1)).transpose(0, 1)
    return by_prediction - of_class * probability


def _assign(cost: np.ndarray, present: np.ndarray, pairing: Pairing) -> np.ndarray:
    """Assigns queries to the present channels: [P, B, Q, R] costs and [B, R] flags to [P, B, R], -1 for no query."""
    from scipy.optimize import linear_sum_assignment

    # A non-finite loss is for the training loop to skip; the assignment must not be what fails.
    cost = np.nan_to_num(cost, nan=1e9, posinf=1e9, neginf=-1e9)
    assigned = np.full((len(cost), *present.shape), -1, dtype=np.int64)
    for prediction, of_samples in enumerate(cost):
        for sample, (of_queries, is_present) in enumerate(zip(of_samples, present, strict=True)):
            channels = np.flatnonzero(is_present)
            query, column = linear_sum_assignment(of_queries[:, channels])
            if pairing == "reference":
                column.sort()  # `query` ascends already
            assigned[prediction, sample, channels[column]] = query
    return assigned
