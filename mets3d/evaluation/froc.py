"""Counts lesions found and false ones as the threshold on the probabilities moves: the data of an FROC curve.

Free-response operating characteristic (Bunch et al., Proc. SPIE 127, 1977): at each threshold the share of all lesions
found and the number of false ones a patient. Here a point is an operating point that a user can choose: every region
thresholded there, painted as a label map, and detected by the rule set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import DEFAULT_RULES
from mets3d.evaluation.tables import Row
from mets3d.regions import LABEL_NAMES, Region, scored_regions

if TYPE_CHECKING:
    from mets3d.ops.voxels import Spacing

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
FROC_COLUMNS = ("case", "region", "rules", "threshold", "lesions_found", "lesions_missed", "lesions_false")


def froc_rows(
    probabilities: Float32[np.ndarray, "R X Y Z"],
    names: Sequence[str],
    reference: Shaped[np.ndarray, "X Y Z"],
    spacing_mm: Spacing,
    *,
    rules: str = DEFAULT_RULES,
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[Row]:
    """Returns the counts per region and threshold of one case.

    `names` are those of the channels: regions, or labels and background. Of labels, a region's probability is the
    sum of its labels'. Raises ValueError for channels that are neither.
    """
    regions = scored_regions(cavity="RC" in names)
    rows = []
    for threshold in thresholds:
        labels = _painted(probabilities, names, regions, threshold)
        scores = lesion_scores(labels, reference, spacing_mm, rules=rules, distances=False)
        predicted = {region.name for region in regions}
        rows += [
            {"threshold": threshold} | {column: row[column] for column in FROC_COLUMNS if column in row}
            for row in scores
            if row["region"] in predicted
        ]
    return rows


def _painted(
    probabilities: Float32[np.ndarray, "R X Y Z"], names: Sequence[str], regions: Sequence[Region], threshold: float
) -> UInt8[np.ndarray, "X Y Z"]:
    """Paints the label map at a threshold, outermost region first, as predictions are decoded."""
    painted = np.zeros(probabilities.shape[1:], np.uint8)
    for region in regions:
        painted[_probability(probabilities, names, region) > threshold] = region.decoded_as
    return painted


def _probability(
    probabilities: Float32[np.ndarray, "R X Y Z"], names: Sequence[str], region: Region
) -> Float32[np.ndarray, "X Y Z"]:
    if region.name in names and names[0] == "WT":
        return np.asarray(probabilities[list(names).index(region.name)])
    own = [LABEL_NAMES[label] for label in region.labels]
    absent = [name for name in own if name not in names]
    if absent:
        raise ValueError(
            f"expected channels WT, TC, ET or background, NETC, SNFH, ET (RC besides), found {', '.join(names)}"
        )
    total: Float32[np.ndarray, "X Y Z"] = sum(probabilities[list(names).index(name)] for name in own)
    return total
