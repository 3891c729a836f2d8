"""Voxel-wise agreement of two masks: Dice, sensitivity, specificity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a predicted mask against a reference mask; every score of this module follows from them."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def both_empty(self) -> bool:
        return self.true_positives + self.false_positives + self.false_negatives == 0

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN). Both masks empty: 1; one empty: 0."""
        return 1.0 if self.both_empty else _share(2 * self.true_positives, self.false_positives + self.false_negatives)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN), voxel by voxel. Both masks empty: 1; the reference alone empty: 0."""
        return 1.0 if self.both_empty else _share(self.true_positives, self.false_negatives)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP), voxel by voxel. A reference that fills the image leaves nothing to get wrong: 1."""
        negatives = self.true_negatives + self.false_positives
        return self.true_negatives / negatives if negatives else 1.0


def overlap(
    prediction: Bool[np.ndarray, "*S"], reference: Bool[np.ndarray, "*S"], voxels: int | None = None
) -> Overlap:
    """Counts of two boolean arrays of one shape.

    voxels: size of the image when the arrays are a crop that holds both masks whole; beyond it both are background.
    """
    both = int(np.count_nonzero(prediction & reference))
    predicted, expected = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    total = prediction.size if voxels is None else voxels
    return Overlap(both, predicted - both, expected - both, total - predicted - expected + both)


def dice(prediction: Bool[np.ndarray, "*S"], reference: Bool[np.ndarray, "*S"]) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of two boolean arrays of one shape. Both empty: 1; one empty: 0."""
    return overlap(prediction, reference).dice


def _share(right: int, wrong: int) -> float:
    return right / (right + wrong) if right else 0.0
