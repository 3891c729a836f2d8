"""Keeps the running ratios of base loss and boundary terms, by which two schedules weigh the terms.

`balanced` takes the ratio of values, as Karimi and Salcudean do (IEEE TMI 2020), `gradient` that of the sums of |dL/dz|
at the logits. Both follow the training: they are averaged exponentially, over all processes, and stay on the device.

There is no limit to a ratio, which depends on units. Three rules keep a weight from running away:
- A step at which a term is exactly 0, or anything is not finite, says nothing of the term's size. It is left out.
- An average falls by at most 1 % a step, so that of a term that collapses the weight grows by no more.
- A term counts as at least `FLOOR` of its highest average. One that has fallen further is solved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mets3d.config import Loss
from mets3d.losses.value import BASE, LossValue

Size = Literal["values", "gradients"]

DECAY = 0.99  # a horizon of 100 steps
FLOOR = 1e-4


def balance_of(settings: Loss, device: torch.device) -> Balance:
    """Returns the running ratios of the terms and the schedule that the settings describe, before the first step."""
    of: Size = "gradients" if settings.boundary_schedule == "gradient" else "values"
    return Balance(device, of, len(settings.boundary_terms))


class Balance:
    """Exponential averages of the size of base loss and boundary terms; the checkpoint holds them.

    averages: of the base loss at the steps at which a term counts, of the term, and the highest of the term so far;
    a column a term. They are equal on every process if `update` gets values that are averaged over processes.
    """

    def __init__(self, device: torch.device, of: Size = "values", terms: int = 1):
        self.of = of
        self.averages = torch.zeros(3, terms, device=device)

    def ratio(self) -> Tensor:
        """Returns average base / average term of each term; 0 before the first step at which it counts."""
        base, term, highest = self.averages.unbind()
        tiny = torch.finfo(self.averages.dtype).tiny
        return torch.where(highest > 0, base / torch.maximum(term, FLOOR * highest).clamp_min(tiny), 0.0)

    def update(self, value: LossValue) -> None:
        """Adds a step's loss to the averages. Without a boundary term nothing changes."""
        if not value.terms:
            return
        base, terms = self._sizes(value)
        new = torch.stack([base.expand_as(terms), terms])
        averaged = DECAY * self.averages[:2] + (1 - DECAY) * new
        averaged = torch.cat([averaged, torch.maximum(self.averages[2:], averaged[1:])])
        counts = torch.isfinite(new).all(0) & (terms > 0)
        self.averages = torch.where(counts, averaged, self.averages)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the averages, for the checkpoint."""
        return {"averages": self.averages}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores the averages of a checkpoint. Raises ValueError if they are of another number of terms."""
        averages = state["averages"]
        if averages.numel() != self.averages.numel():
            raise ValueError(
                f"expected {self.averages.numel()} running averages of the loss, 3 for each boundary term, found "
                f"{averages.numel()}"
            )
        self.averages = averages.view_as(self.averages).to(self.averages.device)

    def _sizes(self, value: LossValue) -> tuple[Tensor, Tensor]:
        """Returns the size of the base loss, and of each term."""
        if self.of == "gradients":
            return value.sizes[BASE], torch.stack([value.sizes[name] for name in value.terms])
        return value.base_value.abs(), torch.stack([term.value for term in value.terms.values()]).abs()
