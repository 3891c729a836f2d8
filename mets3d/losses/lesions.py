"""Numbers the lesions of a target for losses that look at them one by one."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from mets3d.ops.components import components
from mets3d.ops.uncompiled import uncompiled
from mets3d.shapes import Lesions


@uncompiled
def numbered(truth: Bool[Tensor, "B R X Y Z"]) -> Lesions:
    """Numbers the 26-connected components of each volume from 1, on the host."""
    on_host = truth.cpu().numpy()
    numbers = torch.zeros(truth.shape, dtype=torch.int32)
    for item, channels in enumerate(on_host):
        for channel, mask in enumerate(channels):
            numbers[item, channel] = torch.from_numpy(components(mask).astype("int32"))
    return Lesions(numbers.to(truth.device, non_blocking=True), int(numbers.max()))


def checked_inside(inside: str) -> None:
    """Raises ValueError unless `inside` is a loss of single lesions."""
    if inside not in ("dice", "dice_ce"):
        raise ValueError(f"inside: expected dice or dice_ce, found {inside!r}")
