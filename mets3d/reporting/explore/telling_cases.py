"""Chooses the cases that the page pictures: those at the ends of the data set, and one from its middle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mets3d.data.describe_case import MM3_IN_ML, CaseNumbers
from mets3d.data.describe_lesions import DescribedLesion
from mets3d.data.describe_summary import spread
from mets3d.regions import RC, TC, WT
from mets3d.reporting.explore.montage import Focus
from mets3d.reporting.explore.words import short
from mets3d.wording import counted

Rank = Callable[[CaseNumbers], float]  # the lowest is taken
Say = Callable[[CaseNumbers], str]


@dataclass(frozen=True)
class TellingCase:
    """A case to picture, why, and what its slices go through."""

    numbers: CaseNumbers
    why: str
    focus: Focus = "region"


def telling_cases(cases: Iterable[CaseNumbers]) -> list[TellingCase]:
    """Returns the largest tumour, most lesions, the median, the smallest lesion, the largest cavity, an empty one.

    Each case once: where it is taken already, the next one stands in. Cases without a scan have no picture.
    """
    shown = [case for case in cases if case.sequences and case.label_mm3 is not None]
    tumours = [case for case in shown if core_lesions(case)]
    middle = spread(map(_tumour_ml, tumours))
    median_ml = middle.median if middle else 0.0
    cavities = [case for case in shown if case.volume_mm3(RC.labels)]
    wanted: tuple[tuple[list[CaseNumbers], Rank, Say, Focus], ...] = (
        (tumours, lambda case: -_tumour_ml(case), _largest, "region"),
        (tumours, lambda case: -len(core_lesions(case)), _most, "region"),
        (tumours, lambda case: abs(_tumour_ml(case) - median_ml), _median, "region"),
        (tumours, _smallest_mm3, _smallest, "smallest"),
        (cavities, lambda case: -case.volume_mm3(RC.labels), _cavity, "cavity"),
        ([case for case in shown if not case.labels], lambda _: 0.0, lambda _: "empty reference", "region"),
    )
    chosen: dict[str, TellingCase] = {}
    for candidates, rank, say, focus in wanted:
        left = sorted((case for case in candidates if case.name not in chosen), key=lambda case: case.name)
        if left:
            case = min(left, key=rank)
            chosen[case.name] = TellingCase(case, say(case), focus)
    return list(chosen.values())


def core_lesions(case: CaseNumbers) -> list[DescribedLesion]:
    """Returns the lesions of the core, or of the whole tumour in a case without core."""
    return case.lesions.get(TC.name) or case.lesions.get(WT.name) or []


def _largest(case: CaseNumbers) -> str:
    return f"largest tumour, {short(_tumour_ml(case))} ml"


def _most(case: CaseNumbers) -> str:
    return f"most lesions, {len(core_lesions(case)):,}"


def _median(case: CaseNumbers) -> str:
    return f"median tumour, {short(_tumour_ml(case))} ml in {counted(len(core_lesions(case)), 'lesion')}"


def _smallest(case: CaseNumbers) -> str:
    return f"smallest lesion, {short(_smallest_mm3(case))} mm³"


def _cavity(case: CaseNumbers) -> str:
    return f"largest cavity, {short(case.volume_mm3(RC.labels) / MM3_IN_ML)} ml"


def _tumour_ml(case: CaseNumbers) -> float:
    return case.volume_mm3(WT.labels) / MM3_IN_ML


def _smallest_mm3(case: CaseNumbers) -> float:
    return min(lesion.volume_mm3 for lesion in core_lesions(case))
