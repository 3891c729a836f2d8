"""Keeps the running ratio of base loss and boundary term, by which the balanced schedule weighs the term.

Karimi and Salcudean (IEEE TMI 2020) weigh their two terms by the ratio of their means, so that both count the same.
Here it follows the training: both values are averaged exponentially, over all processes, and stay on the device.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mets3d.losses.value import LossValue

DECAY = 0.99  # a horizon of 100 steps
# A term that falls to nothing must not take over, nor one that explodes vanish.
LOWEST, HIGHEST = 1e-3, 1e6


class Balance:
    """Exponential averages of |base loss| and |boundary term|; the checkpoint holds them.

    They are equal on every process if `update` gets values that are averaged over processes.
    """

    def __init__(self, device: torch.device):
        self.averages = torch.zeros(2, device=device)

    def ratio(self) -> Tensor:
        """Returns average |base| / average |boundary|, clipped; 0 before the first boundary term."""
        base, boundary = self.averages
        tiny = torch.finfo(self.averages.dtype).tiny
        ratio = (base / boundary.clamp_min(tiny)).clamp(LOWEST, HIGHEST)
        return torch.where(boundary > 0, ratio, 0.0)

    def update(self, value: LossValue) -> None:
        """Adds a step's loss to the averages. Without a boundary term, or with a non-finite loss, nothing changes."""
        if value.boundary is None:
            return
        base = torch.stack(list(value.base.values())).sum()
        new = torch.stack([base, value.boundary]).abs()
        averaged = DECAY * self.averages + (1 - DECAY) * new
        self.averages = torch.where(torch.isfinite(new).all(), averaged, self.averages)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the averages, for the checkpoint."""
        return {"averages": self.averages}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores the averages of a checkpoint."""
        self.averages = state["averages"].to(self.averages.device)
