"""Chooses validation slices that a run shows from its first validation to its last, and cuts them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from mets3d.config import Config
from mets3d.data.store import Store
from mets3d.data.stored_case import StoredCase
from mets3d.evaluation.lesions import CaseScores
from mets3d.log_names import DICE, LESION_F1, LESION_WISE_DICE
from mets3d.regions import ET, WT

WINDOW_PERCENTILES = (0.5, 99.5)  # shown black and white
COLUMNS = {LESION_WISE_DICE: "lesion_wise_dice", LESION_F1: "f1", DICE: "dice"}  # of scores.csv, by name in the log

Picture = UInt8[np.ndarray, "rows columns"]
Labels = UInt8[np.ndarray, "X Y Z"]


@dataclass(frozen=True)
class Slice:
    """An axial slice of a stored case, chosen for a lesion; `volume_mm3` is the lesion's, 0 where there was none."""

    case: str
    index: int
    volume_mm3: float

    @property
    def caption(self) -> str:
        """Returns what is shown, for a reader."""
        lesion = f"lesion of {self.volume_mm3:.0f} mm3" if self.volume_mm3 else "no lesion"
        return f"{self.case}, slice {self.index}, {lesion}"


@dataclass(frozen=True)
class View:
    """A slice as it is drawn: grey levels, predicted and reference labels, in radiological orientation."""

    caption: str
    image: Picture
    prediction: Picture
    reference: Picture


@dataclass(frozen=True)
class Details:
    """What a validation has beside its means.

    views: slices by their number among the chosen ones. cases: a row a case and region. lesions: a row a lesion of the
    reference and a false component.
    """

    views: Mapping[int, View] = field(default_factory=dict)
    cases: Sequence[dict[str, Any]] = ()
    lesions: Sequence[dict[str, Any]] = ()


def joined(parts: Sequence[Details]) -> Details:
    """Returns what several cases have."""
    return Details(
        views={number: view for part in parts for number, view in part.views.items()},
        cases=[row for part in parts for row in part.cases],
        lesions=[row for part in parts for row in part.lesions],
    )


def chosen_slices(store: Store, cases: Sequence[str], amount: int) -> list[Slice]:
    """Returns slices through lesions of the whole tumour: the largest, the smallest, the second largest and so on.

    The same for the same store and cases. Where there are fewer lesions, the middles of cases follow.
    """
    if not amount:
        return []
    lesions = [one for case in sorted(cases) for one in _through_lesions(store.read(case))]
    lesions.sort(key=lambda one: (-one.volume_mm3, one.case, one.index))
    middles = [Slice(case, store.read(case).shape[2] // 2, 0.0) for case in sorted(cases)]
    found: dict[tuple[str, int], Slice] = {}
    for one in (*_from_both_ends(lesions), *middles):
        found.setdefault((one.case, one.index), one)
    return list(found.values())[:amount]


def _through_lesions(case: StoredCase) -> list[Slice]:
    """Returns for each lesion the slice with most of its voxels."""
    voxels, starts = case.foreground(WT.name), case.lesions(WT.name)
    voxel_mm3 = math.prod(case.entry.stored_spacing_mm)
    return [
        Slice(case.name, int(np.bincount(voxels[start:stop, 2]).argmax()), float(stop - start) * voxel_mm3)
        for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]


def _from_both_ends(lesions: list[Slice]) -> list[Slice]:
    half = (len(lesions) + 1) // 2
    pairs = zip(lesions[:half], reversed(lesions[len(lesions) - half :]), strict=True)
    return [one for pair in pairs for one in pair]


def views_of(case: StoredCase, slices: Mapping[int, Slice], predicted: Labels, config: Config) -> dict[int, View]:
    """Returns the views of a case among the chosen slices, on the sequence on which enhancement is seen best."""
    own = {number: one for number, one in slices.items() if one.case == case.name}
    if not own:
        return {}
    sequences = config.data.sequences
    channel = sequences.index(ET.background(sequences))
    image, reference = case.image()[channel].float().numpy(), case.labels().numpy()
    return {
        number: View(
            one.caption,
            _grey(radiological(image[:, :, one.index])),
            *(np.ascontiguousarray(radiological(labels[:, :, one.index])) for labels in (predicted, reference)),
        )
        for number, one in own.items()
    }


def radiological(plane: Shaped[np.ndarray, "X Y"]) -> Shaped[np.ndarray, "rows columns"]:
    """Turns an axial plane [X, Y] of a RAS volume into rows (anterior first) and columns (patient's right first)."""
    return plane[::-1, ::-1].T


def _grey(plane: Shaped[np.ndarray, "rows columns"]) -> Picture:
    inside = plane[np.isfinite(plane) & (plane != 0)]
    low, high = np.percentile(inside, WINDOW_PERCENTILES) if inside.size else (0.0, 1.0)
    scaled = (np.nan_to_num(plane) - low) / max(high - low, 1e-6) * 255
    grey: Picture = np.where(plane == 0, 0, scaled.clip(0, 255)).astype(np.uint8)
    return grey


def details_of(case: str, scores: CaseScores, views: Mapping[int, View]) -> Details:
    """Returns the rows of a case in both tables, with its views; a score that the rules give no value is None."""
    cases = [
        {"case": case, "region": row["region"], **{name: _finite(row.get(own)) for name, own in COLUMNS.items()}}
        for row in scores
    ]
    lesions = [
        {
            "case": case,
            "region": row["region"],
            "lesion": row["lesion"],
            "kind": row["kind"],
            "volume_mm3": row["prediction_volume_mm3" if row["kind"] == "false" else "reference_volume_mm3"],
            "found": row["kind"] == "found",
            "dice": _finite(row.get("dice")),
        }
        for row in scores.lesions
    ]
    return Details(views, cases, lesions)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
