"""Numbers of the cohort's figures: detection by lesion size, FROC, volume of each lesion, agreement of volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from mets3d.data.cases import patient_of
from mets3d.evaluation.lesions import SIZE_EDGES_MM3
from mets3d.reporting.run_record import LesionRow, RunRecord
from mets3d.statistics.agreement import LIMIT
from mets3d.statistics.intervals import Interval, proportion_interval

FEWEST_WITH_INTERVAL = 2  # patients; a picture may show an interval where the cohort's table says nothing yet
OPERATING_THRESHOLD = 0.5


@dataclass(frozen=True)
class SizeClass:
    """Reference lesions with a volume from `low` to below `high`, in mm3: how many there are, and were found."""

    low_mm3: float
    high_mm3: float
    found: int
    lesions: int
    interval: Interval | None  # 95 %, of the recall; patients, not lesions, are what is independent

    @property
    def recall(self) -> float | None:
        return self.found / self.lesions if self.lesions else None

    @property
    def name(self) -> str:
        """As in `27–100`; open at one end, `< 2` and `≥ 275`."""
        if self.low_mm3 <= 0:
            return f"< {self.high_mm3:g}"
        return f"{self.low_mm3:g}–{self.high_mm3:g}" if math.isfinite(self.high_mm3) else f"≥ {self.low_mm3:g}"


@dataclass(frozen=True)
class FrocPoint:
    """Detection over all cases when the probability map is cut at `threshold`."""

    threshold: float
    sensitivity: float
    false_per_patient: float
    f1: float  # 2 TP / (2 TP + FN + FP)


@dataclass(frozen=True)
class Agreement:
    """Volumes of the cases in which either has the region, in mm3; limits are None for a single case."""

    mean_mm3: Float64[np.ndarray, " n"]
    difference_mm3: Float64[np.ndarray, " n"]
    bias_mm3: float
    limits_mm3: tuple[float, float] | None


def counted_lesions(record: RunRecord, region: str, cases: Sequence[str]) -> list[LesionRow]:
    """Reference lesions of a region that count: found and missed ones with a volume."""
    wanted = set(cases)
    return [
        row
        for row in record.lesions
        if row.region == region
        and row.case in wanted
        and row.kind in ("found", "missed")
        and "reference_volume_mm3" in row.values
    ]


def size_edges_mm3(records: Sequence[RunRecord]) -> tuple[float, ...]:
    """Edges that the tables' class names spell out (`below_2`, `2_to_27`, `from_275`); the default ones otherwise."""
    names = {row.size_class for record in records for row in record.lesions}
    found = {float(part) for name in names for part in name.split("_") if _is_number(part)}
    return tuple(sorted(found | set(SIZE_EDGES_MM3) if found <= set(SIZE_EDGES_MM3) else found))


def recall_by_size(
    record: RunRecord, region: str, cases: Sequence[str], edges_mm3: Sequence[float] = SIZE_EDGES_MM3
) -> list[SizeClass]:
    """Found and all reference lesions by class of volume, smallest first; every class is there, also an empty one."""
    bounds = [0.0, *edges_mm3, math.inf]
    lesions = counted_lesions(record, region, cases)
    classes = []
    for low, high in pairwise(bounds):
        own = [row for row in lesions if low <= row.values["reference_volume_mm3"] < high]
        owners = sorted({row.case for row in own})
        hits, totals = (
            np.array([sum(row.case == case and row.kind in kinds for row in own) for case in owners], np.float64)
            for kinds in (("found",), ("found", "missed"))
        )
        interval = proportion_interval(hits, totals, owners, fewest=FEWEST_WITH_INTERVAL)
        classes.append(SizeClass(low, high, int(hits.sum()), len(own), interval))
    return classes


def froc(record: RunRecord, region: str, cases: Sequence[str]) -> list[FrocPoint]:
    """Sensitivity against false positives per patient by ascending threshold, over the cases that froc.csv holds.

    A threshold that not all of them have is left out. Empty where there are no reference lesions.
    """
    wanted = set(cases)
    rows = [row for row in record.froc if row.region == region and row.case in wanted]
    held = {row.case for row in rows}
    patients = len({patient_of(case) for case in held})
    points = []
    for threshold in sorted({row.threshold for row in rows}):
        own = [row for row in rows if row.threshold == threshold]
        found, lesions = sum(row.found for row in own), sum(row.found + row.missed for row in own)
        if lesions and len(own) == len(held):
            false = sum(row.false for row in own)
            f1 = 2 * found / (found + lesions + false)
            points.append(FrocPoint(threshold, found / lesions, false / patients, f1))
    return points


def agreement(record: RunRecord, region: str, cases: Sequence[str]) -> Agreement | None:
    """Prediction minus reference against their mean, bias and bias -+ 1.96 SD; None where no case has the region.

    Source: Bland and Altman, Statistical Methods in Medical Research 8:135, 1999. A case in which both volumes are 0
    measures no volume and is left out.
    """
    ours, theirs = (record.values(region, f"{whose}_volume_mm3", cases) for whose in ("prediction", "reference"))
    pairs = np.array([(ours[case], theirs[case]) for case in sorted(ours.keys() & theirs.keys())], float).reshape(-1, 2)
    pairs = pairs[pairs.any(axis=1)]
    if not len(pairs):
        return None
    differences = pairs[:, 0] - pairs[:, 1]
    bias = float(differences.mean())
    reach = LIMIT * float(differences.std(ddof=1)) if len(pairs) > 1 else None
    limits = None if reach is None else (bias - reach, bias + reach)
    return Agreement(pairs.mean(axis=1), differences, bias, limits)


def share_of(values: Sequence[float], wanted: float = 0.0) -> float:
    """Share of the values that equal `wanted`; 0 where there are none."""
    return sum(value == wanted for value in values) / len(values) if values else 0.0


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
