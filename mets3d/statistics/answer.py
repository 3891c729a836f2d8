"""Draws one conclusion from the tests of a method against the reference, and chooses the number that stands for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mets3d.statistics.family import TOO_FEW, Difference, family_tests
from mets3d.statistics.intervals import FEWEST_PATIENTS

LEVEL = 0.05  # of p after Holm's correction
# Declared before any number is seen: what is quoted where no test decides. Boundaries are what is asked for first, and
# ET is what is contoured for treatment.
QUOTED_SCORE, QUOTED_REGION = "lesion_wise_hd95", "ET"
# A mean lesion-wise Dice below which a network hardly segments anything.
LEVEL_SCORE, HARDLY_ANYTHING = "lesion_wise_dice", 0.1

Conclusion = Literal[
    "nothing to compare", "too few patients", "better", "worse", "mixed", "no difference shown", "not tested"
]


@dataclass(frozen=True)
class Answer:
    """What the tests of one method allow to say of it.

    better, worse: its tests below LEVEL, the smallest p first. quoted: the difference that stands for all, of a
    conclusion the test that most shows it; None where nothing is compared. family: the tests that the correction is
    over, those of other methods too. own: the method's tests among them.
    """

    method: str
    conclusion: Conclusion
    better: tuple[Difference, ...]
    worse: tuple[Difference, ...]
    quoted: Difference | None
    own: tuple[Difference, ...]
    family: int


def answer(method: str, differences: Sequence[Difference]) -> Answer:
    """Concludes from the differences of every method from the reference, of which those of `method` count.

    Where nothing is a test and fewer than FEWEST_PATIENTS patients have a value, nothing is concluded, however many
    cases there are. Better is a method with a test below LEVEL in its favour and none against it; worse the other way
    round; mixed where there are both. A test whose mean and whose ranks go different ways speaks for both sides.
    Without any there is no difference shown, which is no proof of equality. Not tested are differences of which none is
    declared, such as those of tables without a primary score.
    """
    of_method = [difference for difference in differences if difference.method == method]
    own = sorted(family_tests(of_method), key=_corrected)  # stable: of equal p the first of the family
    low = [test for test in own if _corrected(test) < LEVEL]
    better = tuple(test for test in low if _gains(test))
    worse = tuple(test for test in low if _losses(test))
    too_few = [difference for difference in of_method if _for_want_of_patients(difference)]
    conclusion = _conclusion(of_method, better, worse)
    most_telling = too_few if too_few and conclusion == "too few patients" else of_method
    quoted = (better or worse or (_quoted(most_telling),))[0]
    family = len(family_tests(differences))
    return Answer(method, conclusion, better, worse, quoted, tuple(own), family)


def quoted_region(regions: Sequence[str]) -> str:
    """Returns the region whose numbers stand for all: QUOTED_REGION where it is there, else the first."""
    return QUOTED_REGION if QUOTED_REGION in regions else regions[0]


def with_hardly_anything(method: str, differences: Sequence[Difference]) -> list[str]:
    """Returns the regions in which both sides have a mean LEVEL_SCORE below HARDLY_ANYTHING."""
    return [
        own.region
        for own in differences
        if (own.method, own.score.column) == (method, LEVEL_SCORE)
        and max(own.found.reference_mean, own.found.method_mean) < HARDLY_ANYTHING
    ]


def contradicted(tests: Sequence[Difference]) -> list[Difference]:
    """Returns the tests that show no difference though the interval, which is not corrected, leaves 0 out."""
    return [
        test
        for test in tests
        if _corrected(test) >= LEVEL
        and test.found.interval
        and not test.found.interval[0] <= 0 <= test.found.interval[1]
    ]


def _conclusion(
    differences: Sequence[Difference], better: Sequence[Difference], worse: Sequence[Difference]
) -> Conclusion:
    if not differences:
        return "nothing to compare"
    if _of_too_few(differences):
        return "too few patients"
    if better and worse:
        return "mixed"
    if better or worse:
        return "better" if better else "worse"
    declared = [difference for difference in differences if difference.family != "exploratory"]
    return "no difference shown" if declared else "not tested"


def _of_too_few(differences: Sequence[Difference]) -> bool:
    """Returns whether there is no test, for want of patients with a value."""
    if any(difference.family != "exploratory" for difference in differences):
        return not family_tests(differences) and any(map(_for_want_of_patients, differences))
    return all(difference.found.patients < FEWEST_PATIENTS for difference in differences)


def _for_want_of_patients(difference: Difference) -> bool:
    return difference.not_tested is not None and difference.not_tested.why == TOO_FEW


def _quoted(differences: Sequence[Difference]) -> Difference | None:
    """Returns the declared difference of the quoted score and region, or what comes nearest; tests go first."""

    def distance(difference: Difference) -> tuple[bool, bool, bool, bool]:
        return (
            difference.family == "exploratory",
            difference.p_holm is None,
            difference.score.column != QUOTED_SCORE,
            difference.region != QUOTED_REGION,
        )

    return min(differences, key=distance, default=None)


def _gains(test: Difference) -> bool:
    return test.found.effect > 0 or _gain(test) > 0


def _losses(test: Difference) -> bool:
    return test.found.effect < 0 or _gain(test) < 0


def _gain(test: Difference) -> float:
    return test.found.difference if test.score.better == "higher" else -test.found.difference


def _corrected(test: Difference) -> float:
    return 1.0 if test.p_holm is None else test.p_holm
