"""Matches predictions to references whose cases have other names, and refuses folders whose names do not match.

The challenge takes a prediction as one file whose name ends in NNNNN-TTT, the numbers of the patient and the time
point: `00123-000.nii.gz` and `team_00123-000.nii.gz` are of the reference `BraTS-MET-00123-000-seg.nii.gz`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mets3d.data import DataError
from mets3d.wording import agreed, counted

_ENDING = re.compile(r"(?:^|.*\D)(\d{5}-\d{3})")


@dataclass(frozen=True)
class MatchedNames:
    """Name of a prediction -> name of its reference, where they differ but for the ending.

    problems: a line for each ending that more than one file could mean; unclear: predictions and references of these.
    """

    by_ending: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()
    unclear: Collection[str] = ()


def matched_by_ending(predicted: Collection[str], expected: Collection[str]) -> MatchedNames:
    """Matches the predictions and references that have no partner of the same name by the ending NNNNN-TTT."""
    predictions = _by_ending(set(predicted) - set(expected))
    references = _by_ending(set(expected))
    found, problems, unclear = {}, [], []
    for ending, names in sorted(predictions.items()):
        meant = references.get(ending, [])
        free = [name for name in meant if name not in predicted]
        if len(names) == len(meant) == len(free) == 1:
            found[names[0]] = meant[0]
        elif meant:
            partners = [name for name in meant if name in predicted]
            problems.append(
                f"{', '.join(names)}: not scored, for {ending} is the ending of {counted(len(meant), 'reference')} "
                f"({', '.join(meant)}) and of {counted(len(names) + len(partners), 'prediction')}; name each "
                "prediction as its reference"
            )
            unclear += [*names, *free]
    return MatchedNames(found, problems, unclear)


def _by_ending(names: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if ending := _ENDING.fullmatch(name):
            found.setdefault(ending[1], []).append(name)
    return found


# ---------------------------------------------------------------- names that do not match


def refuse_other_names(
    folders: tuple[Path, Path],
    names: tuple[Collection[str], Collection[str]],
    alone: tuple[Sequence[Path], Sequence[Path]],
) -> None:
    """Refuses predictions of which most have no reference, because the two are named otherwise.

    Each pair is of predictions and references: the folders, the cases, and the files of those without a partner. A
    folder of a few cases beside all references, or of more cases than there are references, is no sign of other names.
    Raises DataError.
    """
    if not all(alone) or 2 * len(alone[0]) <= len(names[0]):
        return
    (predictions, references), (first, second) = folders, (own[0].name for own in alone)
    raise DataError(
        f"{predictions}: nothing is scored, for {len(alone[0])} of {counted(len(names[0]), 'prediction')} "
        f"{agreed(len(alone[0]), 'has', 'have')} no "
        f"reference in {references} and {len(alone[1])} of {counted(len(names[1]), 'reference')} no prediction: "
        f"predictions are named {_pattern(first)} ({first}), references {_pattern(second)} ({second}); rename the "
        "predictions as the cases, or so that they end in NNNNN-TTT as these, or name the folder that belongs to them"
    )


def _pattern(name: str) -> str:
    """Returns a name with N for each of its digits."""
    stem, point, ending = name.partition(".")
    return re.sub(r"\d", "N", stem) + point + ending
