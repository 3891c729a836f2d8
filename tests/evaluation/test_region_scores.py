"""Voxel-wise counts and scores, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mets3d.evaluation.region_scores import Overlap, overlap


def mask(*voxels: int, size: int = 10) -> np.ndarray:
    out = np.zeros(size, bool)
    out[list(voxels)] = True
    return out


def test_counts_and_scores_by_hand() -> None:
    counts = overlap([(mask(2, 3, 4, 5), mask(4, 5, 6))], 10)
    assert counts == Overlap(true_positives=2, false_positives=2, false_negatives=1, true_negatives=5)
    assert counts.dice == pytest.approx(2 * 2 / (4 + 3))
    assert counts.sensitivity == pytest.approx(2 / 3)
    assert counts.specificity == pytest.approx(5 / 7)


@pytest.mark.parametrize(
    ("prediction", "reference", "scores"),
    [
        (mask(), mask(), (1.0, 1.0, 1.0)),
        (mask(1, 2), mask(), (0.0, 0.0, 0.8)),
        (mask(), mask(1, 2), (0.0, 0.0, 1.0)),
        (mask(1), mask(2), (0.0, 0.0, 8 / 9)),
        (mask(*range(10)), mask(*range(10)), (1.0, 1.0, 1.0)),
    ],
    ids=["both empty", "reference empty", "prediction empty", "disjoint", "full"],
)
def test_empty_and_full_masks(
    prediction: np.ndarray, reference: np.ndarray, scores: tuple[float, float, float]
) -> None:
    counts = overlap([(prediction, reference)], 10)
    assert (counts.dice, counts.sensitivity, counts.specificity) == pytest.approx(scores)
    assert overlap([(reference, prediction)], 10).dice == counts.dice


def test_boxes_count_as_the_whole_image() -> None:
    prediction, reference = mask(2, 3, 8), mask(3, 4, 8, 9)
    boxes = [(prediction[2:5], reference[2:5]), (prediction[8:], reference[8:])]
    assert overlap(boxes, 10) == overlap([(prediction, reference)], 10)
