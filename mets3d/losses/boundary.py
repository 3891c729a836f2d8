"""Makes a boundary term of a boundary loss, in a unit that keeps it of order one, and its weight over a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mets3d.losses.units import Unit, unity
from mets3d.losses.volumes import per_item
from mets3d.ops.distance import SpacingLike
from mets3d.ops.voxels import Spacing
from mets3d.shapes import Lesions, Masks, SegOutput

# Probabilities and target [B, R, X, Y, Z], spacing in mm, of all items or of each, and the predicted masks where they
# are not probability > 0.5, and the lesions of the target where they are known, to the loss of each item and channel.
BoundaryLoss = Callable[[Tensor, Tensor, SpacingLike, Tensor | None, Lesions | None], Tensor]


@dataclass(frozen=True)
class BoundaryTerm:
    """A boundary loss on the full-resolution probabilities of all regions or labels, combined into one number.

    names: of the channels. unit: of the loss, by which each item is divided. reduction: sum or mean over channels,
    weighted by label_weights where given (the mean by their sum). In label mode the background is left out and the
    predicted mask is the argmax.
    """

    loss: BoundaryLoss
    names: Sequence[str]
    reduction: Literal["mean", "sum"] = "mean"
    label_weights: Sequence[float] | None = None
    unit: Unit = unity

    def __call__(
        self,
        output: SegOutput,
        target: Masks,
        spacing_mm: Sequence[Spacing] | None,
        lesions: Lesions | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Returns the term without its weight, and the detached value of each channel by name.

        lesions: of the target's channels, the background left out. spacing_mm: of each sample. Its numbers stay on the
        host, so nothing waits for the device. Raises ValueError where it is None.
        """
        exclusive = output.activation == "softmax"
        first = 1 if exclusive else 0
        predicted = _argmax(output.probabilities.detach())[:, first:] if exclusive else None
        size_mm = _spacing(spacing_mm)
        per_label_and_item = self.loss(output.probabilities[:, first:], target[:, first:], size_mm, predicted, lesions)
        units = self.unit(target.shape[2:], np.atleast_2d(np.asarray(size_mm, dtype=np.float64)))
        per_label = (per_label_and_item / per_item(units, per_label_and_item)).mean(0)
        weights = torch.tensor([1.0] * len(per_label) if self.label_weights is None else list(self.label_weights))
        if self.reduction == "mean":
            weights = weights / weights.sum()
        term = (per_label * weights.to(per_label.device, non_blocking=True)).sum()
        return term, dict(zip(self.names[first:], per_label.detach(), strict=True))


@dataclass(frozen=True)
class BoundaryWeight:
    """The weight of all boundary terms together over a run of `steps` steps.

    peak: the weight, before a balanced one is multiplied by the running ratio. ramp: shares of the run at which it
    leaves 0 and reaches `peak`; None: `peak` from step 0. shares: of each term, which together have all of the weight;
    None: all alike.
    """

    peak: float
    steps: int
    ramp: tuple[float, float] | None = None
    balanced: bool = False
    shares: Sequence[float] | None = None

    def share(self, step: int) -> float:
        """Returns the share of `peak` at a step: 0 up to start x steps, linear to 1 at end x steps.

        The term cannot come first: at the start nearly all of its gradient says "background everywhere".
        """
        if self.ramp is None:
            return 1.0
        start, end = self.ramp
        position = step / self.steps
        if position <= start:
            return 0.0
        return min(1.0, (position - start) / (end - start)) if end > start else 1.0

    def of_terms(self, step: int, terms: int) -> list[float]:
        """Returns the weight of each of so many terms at a step, before a balanced one is multiplied by its ratio."""
        shares = [1.0] * terms if self.shares is None else list(self.shares)
        return [self.peak * self.share(step) * share / sum(shares) for share in shares]


def _spacing(spacing_mm: Sequence[Spacing] | None) -> SpacingLike:
    """Returns three numbers where the samples are alike, else a row for each sample."""
    if spacing_mm is None:
        raise ValueError("spacing_mm: expected the voxel size of each sample, which a boundary term needs, found None")
    first, *others = spacing_mm
    return first if all(other == first for other in others) else tuple(spacing_mm)


def _argmax(probabilities: Float[Tensor, "B R X Y Z"]) -> Masks:
    channels = torch.arange(probabilities.shape[1], device=probabilities.device)
    return probabilities.argmax(1, keepdim=True) == channels[:, None, None, None]
