"""The question that two runs are compared for, answered by their numbers: plain text, not yet escaped."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.reporting.compare import COUNTS, METRICS, SHARED_LESIONS, Corrected, Difference, compare
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import boundary_name, count, number
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.intervals import FEWEST_PATIENTS, patient_numbers

LESION_WISE_HD95, VOLUME_HD95 = METRICS[1], METRICS[3]
FOUND, FALSE = COUNTS[0], COUNTS[2]
LEVEL = 0.05
NARROW_BELOW = 20  # cases; by then a percentile interval is about a tenth too narrow (Hesterberg 2015)


def question(reference: RunRecord, run: RunRecord) -> str:
    """What a reader wants to know from this pair of runs."""
    if reference.config.loss.boundary == "none" and run.config.loss.boundary != "none":
        term = boundary_name(run.config)
        return f"Does adding the {term} term give better boundaries (HD95) and more lesions found?"
    return f"Does {run.label} give better boundaries (HD95) and more lesions found than {reference.label}?"


def answer(
    reference: RunRecord, run: RunRecord, cases: Sequence[str], corrected: Corrected | None = None
) -> list[tuple[str, str]]:
    """(what, sentence) for the verdict, then for the numbers it rests on.

    Boundaries are judged twice: by lesion-wise HD95, which holds a penalty for each missed and false lesion, and by the
    HD95 of the lesions that both runs found, which does not. A verdict is given per region where there are at least six
    patients: `better` or `worse` where the interval leaves 0 out, else `no difference shown`. What Wilcoxon's test says
    after Holm's correction (`corrected`, of all runs on the page) stands below it.
    """
    lesion_wise, shared, volume, found, false = (
        compare(metric, reference, run, cases)
        for metric in (LESION_WISE_HD95, SHARED_LESIONS, VOLUME_HD95, FOUND, FALSE)
    )
    if not lesion_wise and not found:
        return [("Answer", "The two runs have no scores on the same cases, so there is nothing to compare.")]
    judged = {
        "boundaries by lesion-wise HD95": lesion_wise,
        "boundaries of the lesions found by both": shared,
        "lesions found": found,
    }
    details = (
        ("After Holm's correction", _significant(run, cases, corrected or {})),
        ("Lesion-wise HD95", _changes(lesion_wise, len(cases))),
        ("HD95, lesions found by both", _changes(shared, len(cases))),
        ("Whole-volume HD95", _changes(volume, len(cases))),
        ("Lesions found", _totals(FOUND.column, found, reference, run, cases)),
        ("", _changes(found, len(cases), per_case=True)),
        ("False lesions", _totals(FALSE.column, false, reference, run, cases)),
    )
    return [("Answer", _verdict(cases, judged)), *((what, text) for what, text in details if text)]


def caveat(reference: RunRecord, run: RunRecord, cases: int) -> str:
    """What the numbers cannot say."""
    narrow = " With this few cases such intervals are too narrow." if cases < NARROW_BELOW else ""
    return (
        f"Differences are {run.label} minus {reference.label} with 95 % intervals; for HD95 negative is better. "
        "Lesion-wise HD95 holds a penalty for each missed and each false lesion, so it moves with detection as well as "
        f"with boundaries.{narrow} Each run is one training: the intervals cover the choice of cases, not the chance "
        "in training, and other seeds may differ by as much."
    )


def _verdict(cases: Sequence[str], judged: dict[str, dict[str, Difference]]) -> str:
    _, patients = patient_numbers(cases)
    if patients < FEWEST_PATIENTS:
        of = "" if patients == len(cases) else f" of {count(patients, 'patient')}"
        return (
            f"Cannot be concluded from {count(len(cases), 'case')}{of}. With fewer than {FEWEST_PATIENTS} pairs, even "
            "a difference that goes the same way in every case is compatible with chance (two-sided sign test above "
            "5 %). The numbers describe these cases only."
        )
    parts = [f"{what}: {_grouped(differences)}" for what, differences in judged.items() if differences]
    return f"On {count(len(cases), 'held-out case')}, {'; '.join(parts)}."


def _significant(run: RunRecord, cases: Sequence[str], corrected: Corrected) -> str:
    """Which of the run's tests stay below 5 %; empty where there are too few patients for that to be possible."""
    own = {key: p for key, p in corrected.items() if key[0] == run.label}
    if not own or patient_numbers(cases)[1] < FEWEST_PATIENTS:
        return ""
    over = f"Wilcoxon's test corrected over {count(len(corrected), 'test')}"
    low = [f"{name} in {region} (p {p_text(p)})" for (_, name, region), p in own.items() if p < LEVEL]
    if not low:
        return f"{over}: no p is below {LEVEL:g}, the smallest is {p_text(min(own.values()))}."
    return f"{over}, p is below {LEVEL:g} for {', '.join(low)}."


def _grouped(differences: dict[str, Difference]) -> str:
    by_verdict: dict[str, list[str]] = {}
    for region, found in differences.items():
        by_verdict.setdefault(found.verdict, []).append(region)
    return ", ".join(f"{verdict} in {' and '.join(regions)}" for verdict, regions in by_verdict.items())


def _changes(differences: dict[str, Difference], cases: int, *, per_case: bool = False) -> str:
    text = "; ".join(f"{region} {change(found, cases)}" for region, found in differences.items())
    return f"Per case {text}" if per_case and text else text


def change(found: Difference, cases: int) -> str:
    """A difference with its interval, as in `−1.20 mm (−2.00 to −0.31)`, and n where it is not all of the `cases`."""
    digits, unit = max(found.metric.digits, 2), f" {found.metric.unit}".rstrip()
    said = []
    if found.interval:
        said.append("\u00a0to\u00a0".join(number(bound, digits, sign=True) for bound in found.interval))
    if found.n != cases:
        said.append(f"n = {found.n}")
    return f"{number(found.difference, digits, sign=True)}{unit}" + (f" ({', '.join(said)})" if said else "")


def _totals(
    column: str, differences: dict[str, Difference], reference: RunRecord, run: RunRecord, cases: Sequence[str]
) -> str:
    """Sums over the cases that both runs have a value for."""
    parts = []
    for region in differences:
        before, after = (record.values(region, column, cases) for record in (reference, run))
        shared = before.keys() & after.keys()
        parts.append(f"{region} {sum(before[case] for case in shared):g} → {sum(after[case] for case in shared):g}")
    return "; ".join(parts)
