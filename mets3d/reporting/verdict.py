"""Asks what two runs are compared for, and lists the numbers that an answer rests on: plain text, not yet escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mets3d.evaluation.scores import Score
from mets3d.reporting.arms import runs_in_words
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import amount, number
from mets3d.reporting.training_facts import boundary_name
from mets3d.statistics.against_reference import SHARED_LESIONS
from mets3d.statistics.answer import LEVEL
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import Difference, family_tests
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.wording import counted, joined

ALONE = "Intervals, uncorrected"
NOTHING = "The runs have no scores on the same cases by the same rules: there is nothing to compare."
NARROW_BELOW = 20  # cases; by then a percentile interval is about a tenth too narrow (Hesterberg 2015)

Family = Sequence[Difference]  # of every run on the page against the reference


def question(reference: RunRecord, run: RunRecord) -> str:
    """Asks whether a run has better boundaries and finds more lesions than the reference."""
    if _adds_a_term(reference, run):
        term = boundary_name(run.config)
        return f"Does adding the {term} term give better boundaries (HD95) and more lesions found?"
    return f"Does {run.label} give better boundaries (HD95) and more lesions found than {reference.label}?"


def what_changes(reference: RunRecord, run: RunRecord) -> str:
    """Names what a run has and the reference lacks, as in `with the Hausdorff distance term`."""
    return f"with the {boundary_name(run.config)} term" if _adds_a_term(reference, run) else f"with {run.label}"


def _adds_a_term(reference: RunRecord, run: RunRecord) -> bool:
    return reference.config.loss.boundary == "none" and run.config.loss.boundary != "none"


def verdict(run: RunRecord, cases: Sequence[str], family: Family) -> list[tuple[str, str]]:
    """Lists (what, sentence): what the intervals say by themselves, the tests, then the numbers of both runs.

    Boundaries are judged twice: by lesion-wise HD95, which holds a penalty for each missed and false lesion, and by the
    HD95 of the lesions that both runs found, which does not. A verdict is given per region where there are at least six
    patients: `better` or `worse` where the interval leaves 0 out, else `no difference shown`. The result of Wilcoxon's
    test after Holm's correction over the family stands below it.
    """
    lesion_wise, volume = _of(family, run, "lesion_wise_hd95"), _of(family, run, "hd95")
    found, false = _of(family, run, "lesions_found"), _of(family, run, "lesions_false")
    shared = _of(family, run, SHARED_LESIONS.column)
    if not lesion_wise and not found:
        return [(ALONE, NOTHING)]
    judged = {
        "boundaries by lesion-wise HD95": lesion_wise,
        "boundaries of the lesions found by both": shared,
        "lesions found": found,
    }
    details = (
        ("After Holm's correction", _significant(run, family)),
        ("Lesion-wise HD95", _changes(lesion_wise, len(cases))),
        ("HD95, lesions found by both", _changes(shared, len(cases))),
        ("Whole-volume HD95", _changes(volume, len(cases))),
        ("Lesions found", _listed(found, _totals)),
        ("", f"Per case {_changes(found, len(cases))}" if found else ""),
        ("False lesions", _listed(false, _totals)),
    )
    return [
        (ALONE, _conclusion(cases, judged)),
        *((what, text) for what, text in details if text),
    ]


def caveat(reference: RunRecord, run: RunRecord, cases: int) -> str:
    """Says how to read the differences, and their limits."""
    narrow = " With this few cases such intervals are too narrow." if cases < NARROW_BELOW else ""
    return (
        f"Differences are {run.label} minus {reference.label} with 95 % intervals; for HD95 negative is better. "
        "Lesion-wise HD95 holds a penalty for each missed and each false lesion, so it moves with detection as well as "
        f"with boundaries.{narrow} {_chance(reference, run)}"
    )


def _chance(reference: RunRecord, run: RunRecord) -> str:
    """Says what the intervals do not cover."""
    if not (reference.runs or run.runs):
        return (
            "Each run is one training: the intervals cover the choice of cases, not the chance in training, and other "
            "seeds may differ by as much."
        )
    return (
        f"{reference.label} is {runs_in_words(reference)}, {run.label} {runs_in_words(run)}; a case's score is its "
        "mean over the runs. The intervals cover the choice of cases, not the chance in training, which the spread "
        "over seeds shows."
    )


def change(difference: Difference, cases: int) -> str:
    """Writes a difference as in `−1.20 mm (−2.00 to −0.31)`, with n where it is not the number of `cases`."""
    score, found = difference.score, difference.found
    digits, unit = digits_of_difference(score), f" {score.unit}".rstrip()
    details = []
    if found.interval:
        details.append("\u00a0to\u00a0".join(number(bound, digits, sign=True) for bound in found.interval))
    if found.n != cases:
        details.append(f"n = {found.n}")
    return f"{number(found.difference, digits, sign=True)}{unit}" + (f" ({', '.join(details)})" if details else "")


def digits_of_difference(score: Score) -> int:
    """Returns the decimals of a difference of means: at least two, also for counts and millimetres."""
    return max(score.digits, 2)


def _of(family: Family, run: RunRecord, column: str) -> list[Difference]:
    return [difference for difference in family if (difference.method, difference.score.column) == (run.label, column)]


def _conclusion(cases: Sequence[str], judged: dict[str, list[Difference]]) -> str:
    every = [difference for differences in judged.values() for difference in differences]
    if all(difference.found.patients < FEWEST_PATIENTS for difference in every):
        return too_few(max(every, key=lambda own: own.found.patients), len(cases))
    parts = [f"{what}: {_grouped(differences)}" for what, differences in judged.items() if differences]
    return f"On {counted(len(cases), 'held-out case')}, {'; '.join(parts)}."


def too_few(difference: Difference, cases: int) -> str:
    """Refuses to conclude anything from the few patients that a difference is of; cases: that were scored."""
    found = difference.found
    of = "" if found.patients == found.n else f" of {counted(found.patients, 'patient')}"
    on = f"{counted(found.n, 'case')}{of}"
    if found.n < cases:
        on = f"{found.n} of {counted(cases, 'case')}{of}, which alone have a value in both arms"
    return (
        f"Cannot be concluded from {on}. With fewer than {FEWEST_PATIENTS} pairs, even a "
        "difference that goes the same way in every case is compatible with chance (two-sided sign test above 5 %). "
        "The numbers describe these cases only."
    )


def _significant(run: RunRecord, family: Family) -> str:
    """Names the run's tests that stay below 5 %; empty where it has none, as with few patients."""
    own = [(test, test.p_holm) for test in family if test.method == run.label and test.p_holm is not None]
    if not own:
        return ""
    over = f"Wilcoxon's test corrected over {counted(len(family_tests(family)), 'test')}"
    low = [f"{test.score.name} in {test.region} (p {p_text(p)})" for test, p in own if p < LEVEL]
    if not low:
        return f"{over}: no p is below {LEVEL:g}, the smallest is {p_text(min(p for _, p in own))}."
    return f"{over}, p is below {LEVEL:g} for {', '.join(low)}."


def _grouped(differences: Sequence[Difference]) -> str:
    by_verdict: dict[str, list[str]] = {}
    for difference in differences:
        by_verdict.setdefault(difference.verdict, []).append(difference.region)
    return ", ".join(f"{verdict} in {joined(regions)}" for verdict, regions in by_verdict.items())


def _changes(differences: Sequence[Difference], cases: int) -> str:
    return _listed(differences, lambda difference: change(difference, cases))


def _totals(difference: Difference) -> str:
    before, after = difference.sums
    return f"{amount(before)} → {amount(after)}"


def _listed(differences: Sequence[Difference], text: Callable[[Difference], str]) -> str:
    return "; ".join(f"{difference.region} {text(difference)}" for difference in differences)
