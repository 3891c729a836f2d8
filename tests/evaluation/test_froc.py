"""Operating points by hand, and what channels mean."""

from __future__ import annotations

import numpy as np
import pytest

from mets3d.evaluation.froc import THRESHOLDS, froc_rows
from mets3d.evaluation.lesions import lesion_scores
from mets3d.regions import Target

UNIT = (1.0, 1.0, 1.0)


def situation() -> tuple[np.ndarray, np.ndarray]:
    """Two lesions of ET that are seen at 0.9 and 0.4, and a false one at 0.6."""
    reference = np.zeros((30, 20, 20), np.uint8)
    reference[2:6, 2:6, 2:6] = reference[20:24, 2:6, 2:6] = 3
    probability = np.zeros(reference.shape, np.float32)
    probability[2:6, 2:6, 2:6] = 0.9
    probability[20:24, 2:6, 2:6] = 0.4
    probability[10:14, 14:18, 14:18] = 0.6
    return np.stack([probability] * 3), reference


def test_counts_at_each_threshold_by_hand() -> None:
    probabilities, reference = situation()
    rows = froc_rows(probabilities, ("WT", "TC", "ET"), reference, UNIT)
    assert [row["threshold"] for row in rows if row["region"] == "ET"] == list(THRESHOLDS)
    for row in rows:
        t = row["threshold"]
        assert row["lesions_found"] == (t < 0.9) + (t < 0.4)
        assert row["lesions_missed"] == 2 - row["lesions_found"]
        assert row["lesions_false"] == (t < 0.6)


@pytest.mark.parametrize("rules", ["brats2023", "brats2024", "brats2026"])
def test_a_point_is_the_score_of_the_map_decoded_there(rules: str) -> None:
    rng = np.random.default_rng(0)
    reference = (rng.random((24, 20, 16)) > 0.9).astype(np.uint8) * 3
    soft = np.sort(rng.random((3, 24, 20, 16)).astype(np.float32) ** 4, axis=0)[::-1].copy()
    rows = froc_rows(soft, ("WT", "TC", "ET"), reference, UNIT, rules=rules, thresholds=[0.3])
    labels = np.asarray(Target().decode(soft, 0.3)).astype(np.uint8)
    expected = lesion_scores(labels, reference, UNIT, rules=rules, regions=["WT", "TC", "ET"])
    counts = ("lesions_found", "lesions_missed", "lesions_false")
    assert [[row[name] for name in counts] for row in rows] == [[row[name] for name in counts] for row in expected]


def test_labels_add_up_to_regions() -> None:
    probabilities, reference = situation()
    parts = np.stack([1 - probabilities[0], 0.25 * probabilities[0], 0.25 * probabilities[0], 0.5 * probabilities[0]])
    rows = froc_rows(parts, ("background", "NETC", "SNFH", "ET"), reference, UNIT, thresholds=[0.42])
    assert {row["region"]: row["lesions_found"] for row in rows} == {"WT": 1, "TC": 1, "ET": 1}
    assert {row["region"]: row["lesions_false"] for row in rows} == {"WT": 1, "TC": 1, "ET": 0}


def test_the_cavity_has_points_only_where_it_was_predicted() -> None:
    probabilities, reference = situation()
    rows = froc_rows(probabilities, ("WT", "TC", "ET"), reference, UNIT, rules="brats2026", thresholds=[0.5])
    assert [row["region"] for row in rows] == ["WT", "TC", "ET"]
    four = np.concatenate([probabilities, 0 * probabilities[:1]])
    rows = froc_rows(four, ("WT", "TC", "ET", "RC"), reference, UNIT, rules="brats2026", thresholds=[0.5])
    assert [row["region"] for row in rows] == ["WT", "TC", "ET", "RC"]


def test_other_channels_are_refused() -> None:
    probabilities, reference = situation()
    with pytest.raises(ValueError, match=r"channels WT, TC, ET or background.*found a, b, c"):
        froc_rows(probabilities, ("a", "b", "c"), reference, UNIT)
