"""Learns the landmarks of Nyul's normalisation over the cases of a data set, in a pass before they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mets3d.config import Data, Preprocess
from mets3d.data import DataError, Progress, quiet
from mets3d.data.cases import Case
from mets3d.data.check import each_case, read_case
from mets3d.data.normalise import Normalisation, landmarks_of, mean_landmarks


def normalisation_of(
    settings: Preprocess, data: Data, cases: Sequence[Case], *, jobs: int = 1, progress: Progress = quiet
) -> Normalisation:
    """Returns how the cases' intensities are to be normalised. For `nyul` reads all of them: each counts once.

    Cases that cannot be read do not count. Raises DataError if none can.
    """
    chosen = Normalisation(settings.normalisation, settings.clip_percentile)
    if chosen.form != "nyul":
        return chosen
    read = partial(_landmarks, data=data, settings=settings)
    found = mean_landmarks([rows for rows in each_case(read, cases, jobs, progress) if rows is not None])
    if not found:
        raise DataError(
            "preprocess.normalisation: nyul learns landmarks from the cases, but none can be read; check the data"
        )
    return Normalisation(chosen.form, chosen.clip_percentile, found)


def _landmarks(case: Case, *, data: Data, settings: Preprocess) -> dict[str, list[float] | None] | None:
    try:
        checked = read_case(case, data, settings.brain)
    except DataError:
        return None
    brain = checked.brain
    if checked.unusable or brain is None or not brain.any():
        return None
    return {name: landmarks_of(image.data[brain], settings.clip_percentile) for name, image in checked.images.items()}
