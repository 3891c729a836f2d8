"""Declares which differences are tested, and over which tests Holm's correction is: the one place that says so.

`mets3d compare`, comparison.csv and the page take p from here alone. The primary family is declared before any number
is seen: `PRIMARY` in every region that is scored, every method against the reference, which is the first. All other
differences are exploratory: they have an interval and no p. Scores that are declared in place of `PRIMARY`, as by
`mets3d compare --scores` or for a study, make the family instead.

Of the declared ones these are no tests, for they cannot tell anything: those without a difference in any patient (a
region that is empty everywhere, equal scores), and those that repeat the numbers of an earlier one (ET where it is TC
in every case). The first can never reach a small p and the second is the same test once more, so leaving them out of
the correction keeps its promise (Tarone, Biometrics 46:515, 1990). Nor is a test what fewer than FEWEST_PATIENTS
patients have a value for: its p cannot get small either. Such a difference has no interval as well, be it declared or
not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mets3d.evaluation.scores import Score, score_of
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.statistics.paired import Paired, as_shown
from mets3d.statistics.paired_tests import DECIMALS, holm
from mets3d.statistics.score_table import CaseValues
from mets3d.wording import counted

# What the field reports first and the project asks for: overlap and boundary lesion by lesion, and lesions found. The
# same under all rule sets; what else a rule set ranks by is in the ranking, which has a test of its own.
PRIMARY = ("lesion_wise_dice", "lesion_wise_hd95", "lesions_found")

TOO_FEW: Literal["too few patients"] = "too few patients"

Why = Literal["too few patients", "no difference", "repeats"]
Family = Literal["primary", "declared", "exploratory"]
Verdict = Literal["too few cases", "better", "worse", "no difference shown"]


@dataclass(frozen=True)
class NoTest:
    """Why a declared difference is no test. repeated: of one that repeats another's numbers, which that is."""

    why: Why
    repeated: str = ""

    def __str__(self) -> str:
        """Returns it as it stands in tables, such as `repeats Lesions found in TC`."""
        return f"{self.why} {self.repeated}".rstrip()


@dataclass(frozen=True)
class Difference:
    """`method` minus `reference` in one region by one score, and whether that is a test.

    p, p_holm: of a test, alone and corrected over the tests of its family; else None. not_tested: why a difference of
    the family is no test. by_seed: of arms with several runs, the mean difference in each seed that both have.
    """

    reference: str
    method: str
    region: str
    score: Score
    found: Paired
    family: Family = "exploratory"
    p_holm: float | None = None
    not_tested: NoTest | None = None
    by_seed: Mapping[int, float] = field(default_factory=dict)

    @property
    def p(self) -> float | None:
        """p of Wilcoxon's test over patients; None where the difference is no test."""
        return None if self.p_holm is None else self.found.p

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation (n - 1) of the seeds' differences; None below two seeds."""
        return spread_of(self.by_seed)

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say: nothing below FEWEST_PATIENTS, and nothing where it holds 0."""
        interval = self.found.interval
        if interval is None:
            return "too few cases"
        if interval[0] <= 0 <= interval[1]:
            return "no difference shown"
        return "better" if (interval[0] > 0) == (self.score.better == "higher") else "worse"

    @property
    def sums(self) -> tuple[float, float]:
        """Sums of reference and method over the cases that both have a value for, as wanted for counts."""
        return self.found.reference_mean * self.found.n, self.found.method_mean * self.found.n


@dataclass(frozen=True)
class Candidate:
    """A difference before it is known whether it is a test, and the values of both sides by case."""

    difference: Difference
    values: tuple[CaseValues, CaseValues]


def spread_of(by_seed: Mapping[int, float]) -> float | None:
    """Returns the standard deviation (n - 1) over seeds; None below two."""
    return float(np.std(list(by_seed.values()), ddof=1)) if len(by_seed) > 1 else None


def with_tests(candidates: Sequence[Candidate], declared: Collection[str] | None = None) -> list[Difference]:
    """Says of each difference whether it is a test and has an interval, and corrects all tests as one family.

    declared: columns of the scores that are tested, in place of `PRIMARY`. Of repeats the first is the test.
    """
    family: Family = "primary" if declared is None else "declared"
    columns = PRIMARY if declared is None else declared
    earlier: dict[tuple[str, str, bytes], Difference] = {}
    judged: list[Difference] = []
    for candidate in candidates:
        own = replace(candidate.difference, found=as_shown(candidate.difference.found))
        if own.score.column in columns:
            known = earlier.setdefault((own.reference, own.method, _numbers(candidate)), own)
            own = replace(own, family=family, not_tested=_why_not(own, known))
        judged.append(own)
    tested = [at for at, own in enumerate(judged) if own.family == family and not own.not_tested]
    for at, p in zip(tested, holm([judged[at].found.p for at in tested]), strict=True):
        judged[at] = replace(judged[at], p_holm=p)
    return judged


def _why_not(own: Difference, known: Difference) -> NoTest | None:
    if own.found.patients < FEWEST_PATIENTS:
        return NoTest(TOO_FEW)
    if not own.found.differing:
        return NoTest("no difference")
    return None if known is own else NoTest("repeats", f"{known.score.name} in {known.region}")


def _numbers(candidate: Candidate) -> bytes:
    """Returns what two differences must have in common to be one: both sides' values by case, and which is better."""
    before, after = candidate.values
    shared = sorted(before.keys() & after.keys())
    rounded = np.round([(before[case], after[case]) for case in shared], DECIMALS) + 0.0  # no negative zero
    return repr((shared, candidate.difference.score.better)).encode() + rounded.tobytes()


# ---------------------------------------------------------------- in words


def family_tests(differences: Sequence[Difference]) -> list[Difference]:
    """Returns the tests among differences: those over which the correction is."""
    return [difference for difference in differences if difference.p_holm is not None]


def family_in_words(differences: Sequence[Difference]) -> str:
    """Says which family was declared, how many tests it has, and what of it is no test."""
    own = [difference for difference in differences if difference.family != "exploratory"]
    tests = len(family_tests(own))
    if not own:
        wanted = ", ".join(score.name for column in PRIMARY if (score := score_of(column)))
        return f"Nothing is tested: no score of the primary family ({wanted}) is in all tables."
    names = ", ".join(dict.fromkeys(difference.score.name for difference in own))
    regions = ", ".join(dict.fromkeys(difference.region for difference in own))
    methods = len({difference.method for difference in own})
    against = f"{own[0].reference}" if methods == 1 else f"{own[0].reference}, of {counted(methods, 'method')}"
    said = (
        f"The {own[0].family} family is {names} in {regions} compared with {against}: "
        f"{counted(tests, 'test')}, over which Holm's correction is."
    )
    return f"{said}{_no_tests(own)} All other differences are exploratory: intervals without p."


def _no_tests(declared: Sequence[Difference]) -> str:
    """Says which of the declared differences are no tests; empty where all are."""
    kinds = Counter(difference.not_tested.why for difference in declared if difference.not_tested)
    words: dict[Why, tuple[str, str]] = {
        "no difference": ("without any difference",) * 2,
        "repeats": ("that repeats another's numbers", "that repeat another's numbers"),
        TOO_FEW: (f"of fewer than {FEWEST_PATIENTS} patients",) * 2,
    }
    left = [f"{kinds[why]} {one if kinds[why] == 1 else more}" for why, (one, more) in words.items() if kinds[why]]
    return f" No tests: {' and '.join([', '.join(left[:-1]), left[-1]] if len(left) > 1 else left)}." if left else ""
