"""Chooses the cases that the page pictures: those at the ends of the data set, and one from its middle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mets3d.data.describe_case import MM3_IN_ML, CaseNumbers
from mets3d.data.describe_lesions import DescribedLesion
from mets3d.data.describe_summary import spread
from mets3d.regions import RC, TC, WT
from mets3d.reporting.explore.words import short
from mets3d.reporting.sentences import count


@dataclass(frozen=True)
class TellingCase:
    """A case to picture, why, and whether its slices are those of its smallest lesion."""

    numbers: CaseNumbers
    why: str
    smallest: bool = False


def telling_cases(cases: Iterable[CaseNumbers]) -> list[TellingCase]:
    """Returns the largest tumour, most lesions, the median, the smallest lesion, the largest cavity, an empty one.

    Each case once: where it is taken already, the next one stands in. Cases without a scan have no picture.
    """
    shown = [case for case in cases if case.sequences and case.label_mm3 is not None]
    with_tumour = [case for case in shown if core_lesions(case)]
    chosen: list[TellingCase] = []

    def take(candidates: Sequence[CaseNumbers], rank: Callable[[CaseNumbers], float], say: Callable[[CaseNumbers], str], *, smallest: bool = False) -> None:  # fmt: skip
        taken = {case.numbers.name for case in chosen}
        left = [case for case in candidates if case.name not in taken]
        if left:
            case = min(left, key=lambda case: (rank(case), case.name))
            chosen.append(TellingCase(case, say(case), smallest))

    middle = spread(map(_tumour_ml, with_tumour))
    take(with_tumour, lambda case: -_tumour_ml(case), lambda case: f"largest tumour, {short(_tumour_ml(case))} ml")
    take(with_tumour, lambda case: -len(core_lesions(case)), lambda case: f"most lesions, {len(core_lesions(case)):,}")
    take(with_tumour, lambda case: abs(_tumour_ml(case) - (middle.median if middle else 0)), _median)
    take(
        with_tumour,
        lambda case: _smallest(case),
        lambda case: f"smallest lesion, {short(_smallest(case))} mm³",
        smallest=True,
    )
    take([case for case in shown if case.volume_mm3(RC.labels)], lambda case: -case.volume_mm3(RC.labels), _cavity)
    take([case for case in shown if not case.labels], lambda case: 0.0, lambda case: "empty reference")
    return chosen


def core_lesions(case: CaseNumbers) -> list[DescribedLesion]:
    """Returns the lesions of the core, or of the whole tumour in a case without core."""
    return case.lesions.get(TC.name) or case.lesions.get(WT.name) or []


def _median(case: CaseNumbers) -> str:
    return f"median tumour, {short(_tumour_ml(case))} ml in {count(len(core_lesions(case)), 'lesion')}"


def _cavity(case: CaseNumbers) -> str:
    return f"largest cavity, {short(case.volume_mm3(RC.labels) / MM3_IN_ML)} ml"


def _tumour_ml(case: CaseNumbers) -> float:
    return case.volume_mm3(WT.labels) / MM3_IN_ML


def _smallest(case: CaseNumbers) -> float:
    return min(lesion.volume_mm3 for lesion in core_lesions(case))
