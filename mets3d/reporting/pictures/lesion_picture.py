"""Chooses the content of a picture of one case's lesions: region, slices, frames, lesions. Arrays in, arrays out.

Numbers, kinds (found, missed, false, ignored), volumes and Dice are those of the evaluation, so that a number in a
picture is the number in lesions.csv. Pictures are in radiological orientation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mets3d.regions import ET, TC, WT, Region
from mets3d.reporting.pictures.case_volumes import CaseVolumes, Labels
from mets3d.reporting.pictures.lesion_planes import Lesion, Plane, Scene


@dataclass(frozen=True)
class LesionPicture:
    """One case and one prediction: overviews (slice with most of the region, projections) and a tile per lesion."""

    region: Region
    sequence: str
    rules: str
    overviews: tuple[Plane, ...]
    lesions: tuple[Lesion, ...]  # all of them, by number
    tiles: tuple[tuple[Lesion, Plane], ...]  # by number
    left_out: tuple[Lesion, ...]  # lesions without a tile that count


@dataclass(frozen=True)
class LesionTile:
    """One lesion as one run's prediction shows it."""

    run: str
    lesion: Lesion
    plane: Plane


def lesion_picture(volumes: CaseVolumes, run: str, *, rules: str, most: int = 18) -> LesionPicture | None:
    """Returns the picture of a prediction's lesions, with at most `most` tiles.

    The lesions are those of the ET, or of the TC or WT where the reference has no ET.

    Where the reference has no tumour at all, the innermost region of the prediction. None without a reference, and
    where neither has any tumour. Lesions too small to count are on the maps alone. Raises ValueError for rules that
    the evaluation does not know.
    """
    reference, prediction = volumes.reference, volumes.predictions[run]
    region = None if reference is None else _pictured(reference, prediction)
    if reference is None or region is None:
        return None
    scene, sequence = _scene(volumes, run, region, rules)
    lesions = tuple(scene.lesions)
    chosen = important([lesion for lesion in lesions if lesion.kind != "ignored"], most)
    return LesionPicture(
        region,
        sequence,
        rules,
        (scene.fullest_slice(region, sequence), *scene.projections(sequence)),
        lesions,
        tuple((lesion, scene.tile(lesion)) for lesion in chosen),
        tuple(lesion for lesion in lesions if lesion.kind != "ignored" and lesion not in chosen),
    )


def lesion_tile(volumes: CaseVolumes, run: str, region: Region, number: int, *, rules: str) -> LesionTile | None:
    """Returns the tile of a lesion of the reference, by its number in lesions.csv; None without such a lesion.

    Raises ValueError for rules that the evaluation does not know.
    """
    if volumes.reference is None:
        return None
    scene, _ = _scene(volumes, run, region, rules)
    of_reference = (lesion for lesion in scene.lesions if lesion.kind != "false")
    lesion = next((lesion for lesion in of_reference if lesion.number == number), None)
    return None if lesion is None else LesionTile(run, lesion, scene.tile(lesion))


def _scene(volumes: CaseVolumes, run: str, region: Region, rules: str) -> tuple[Scene, str]:
    """Returns the image on which a region is seen best, with its numbered lesions, and the image's sequence."""
    from mets3d.evaluation.lesion_maps import lesion_maps
    from mets3d.evaluation.lesions import lesion_scores

    reference, prediction = volumes.reference, volumes.predictions[run]
    assert reference is not None  # of both callers
    names = [region.shown_on, *volumes.images]
    sequence = next(name for name in names if name in volumes.images)
    scored = lesion_scores(
        prediction, reference, volumes.spacing_mm, rules=rules, regions=(region.name,), distances=False
    )
    numbered = lesion_maps(prediction, reference, volumes.spacing_mm, rules=rules)[region.name]
    lesions = tuple(_lesion(row, volumes.spacing_mm) for row in scored.lesions)
    return Scene(volumes.images[sequence], volumes.spacing_mm, numbered, lesions), sequence


def important(lesions: Sequence[Lesion], most: int) -> list[Lesion]:
    """Returns at most `most` of the lesions, by number: missed and false ones first, then the largest."""
    return sorted(sorted(lesions, key=unimportance)[:most], key=lambda lesion: lesion.number)


def unimportance(lesion: Lesion) -> tuple[bool, bool, float, int]:
    """Returns a sort key: missed and false lesions, then found, then too small ones; the largest of each first."""
    return lesion.kind == "ignored", lesion.kind == "found", -lesion.volume_mm3, lesion.number


def _pictured(reference: Labels, prediction: Labels) -> Region | None:
    for labels in (reference, prediction):
        for region in (ET, TC, WT):
            if region.mask(labels).any():
                return region
    return None


def _lesion(row: dict[str, float | int | str], spacing_mm: Sequence[float]) -> Lesion:
    kind = str(row["kind"])
    volume_mm3 = float(row["prediction_volume_mm3" if kind == "false" else "reference_volume_mm3"])
    x, y, z = (float(row[f"{axis}_mm"]) / side for axis, side in zip("xyz", spacing_mm, strict=True))
    dice = float(row["dice"])
    return Lesion(int(row["lesion"]), kind, volume_mm3, dice if np.isfinite(dice) else None, (x, y, z))
